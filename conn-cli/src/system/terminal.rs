//! What is asked of a terminal.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// The size of a terminal's screen, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// How many lines.
    pub(crate) rows: usize,
    /// How many characters a line has.
    pub(crate) columns: usize,
}

/// What terminals have had since the VT100, for a serial line, whose size nobody knows.
const USUAL: Size = Size {
    rows: 24,
    columns: 80,
};

/// The size now; None if it is no terminal.
pub(crate) fn size(file: impl AsFd) -> Option<Size> {
    let size = tcgetwinsize(file).ok()?;
    if size.ws_row == 0 || size.ws_col == 0 {
        return Some(USUAL);
    }
    Some(Size {
        rows: size.ws_row.into(),
        columns: size.ws_col.into(),
    })
}
