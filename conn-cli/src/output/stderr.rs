//! Messages on standard error.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes one line, if anybody reads it. `eprintln!` would panic when nobody does, and nothing
/// that is said here is worth losing the summary for.
pub fn say(line: impl Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
