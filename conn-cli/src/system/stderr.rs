//! Messages on standard error.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes one line and ignores errors. `eprintln!` would panic if standard error is closed, and no
/// message is worth losing the summary for.
pub fn say(line: impl Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
