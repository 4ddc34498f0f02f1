//! Messages on standard error and, if that is a terminal, a status line below them.

use std::{
    fmt::Display,
    io::{self, StderrLock, Write as _},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use super::terminal;

/// Whether the cursor is behind a status line. Only changed with standard error locked.
static IS_BEHIND_STATUS: AtomicBool = AtomicBool::new(false);

/// Goes to the start of the line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";

/// Writes one line, in place of the status line if there is one, and ignores errors. `eprintln!` would
/// panic if standard error is closed, and no message is worth losing the summary for.
pub fn say(line: impl Display) {
    let line = format!("{line}\n");
    let mut stderr = io::stderr().lock();
    let clear = if takes_status_away(&stderr) {
        CLEAR_LINE
    } else {
        ""
    };
    let _ = stderr.write_all(format!("{clear}{line}").as_bytes());
}

/// Shows this until the next message or status, as much of it as fits a line of the terminal. Shows
/// nothing in the background, or if the terminal takes no output: a status must not delay anything.
pub(crate) fn status(line: &str) {
    let mut stderr = io::stderr().lock();
    let Some(size) = terminal::size(&stderr) else {
        return;
    };
    if !terminal::is_ours(&stderr) || !terminal::is_writable(&stderr) {
        return;
    }
    // In the last column the cursor could be on the next line already.
    let line = terminal::cut(line, size.columns - 1);
    IS_BEHIND_STATUS.store(true, Relaxed);
    let _ = stderr.write_all(format!("{CLEAR_LINE}{line}").as_bytes());
}

/// Clears the status line, so that a line on standard output can take its place.
pub(crate) fn clear_status() {
    let mut stderr = io::stderr().lock();
    if takes_status_away(&stderr) {
        let _ = stderr.write_all(CLEAR_LINE.as_bytes());
    }
}

/// Whether there is a status line to clear, which from now on there is not. In the background the line
/// would be the shell's.
fn takes_status_away(stderr: &StderrLock<'_>) -> bool {
    IS_BEHIND_STATUS.swap(false, Relaxed) && terminal::is_ours(stderr)
}
