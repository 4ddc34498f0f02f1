//! What is asked of a terminal.

use std::os::fd::AsFd;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::getpgrp,
    termios::{tcgetpgrp, tcgetwinsize},
};

/// The size of a terminal's screen, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// How many lines.
    pub(crate) rows: usize,
    /// How many characters a line has.
    pub(crate) columns: usize,
}

impl Size {
    /// How many lines this takes.
    pub(crate) fn lines(self, text: &str) -> usize {
        let width: usize = text.chars().map(width_of).sum();
        width.div_ceil(self.columns).max(1)
    }
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

/// Whether it is the terminal of this process, and the process is in the foreground there. Else the
/// screen is somebody else's, mostly the shell's.
pub(crate) fn is_ours(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp())
}

/// Whether it takes a line without a stall, as it would not after Ctrl-S.
pub(crate) fn is_writable(terminal: impl AsFd) -> bool {
    let terminal = terminal.as_fd();
    let mut polled = [PollFd::new(&terminal, PollFlags::OUT)];
    let no_wait = Timespec::default();
    poll(&mut polled, Some(&no_wait)).is_ok() && polled[0].revents() == PollFlags::OUT
}

/// The beginning of a line that fits so many columns.
pub(crate) fn cut(line: &str, columns: usize) -> &str {
    let mut width = 0;
    let too_far = line.char_indices().find(|(_, char)| {
        width += width_of(*char);
        width > columns
    });
    too_far.map_or(line, |(end, _)| &line[..end])
}

/// The columns that a character takes at most.
fn width_of(char: char) -> usize {
    if char.is_ascii() { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_between_characters() {
        for (line, columns, expected) in [
            ("12 s", 80, "12 s"),
            ("12 s", 4, "12 s"),
            ("12 s", 3, "12 "),
            ("12 s", 0, ""),
            ("a\u{6c34}b", 3, "a\u{6c34}"),
            ("a\u{6c34}b", 2, "a"),
        ] {
            assert_eq!(cut(line, columns), expected);
        }
    }

    #[test]
    fn long_lines_take_several() {
        for (width, lines) in [(0, 1), (80, 1), (81, 2), (160, 2), (161, 3)] {
            assert_eq!(USUAL.lines(&"a".repeat(width)), lines);
        }
    }

    #[test]
    fn a_file_is_no_terminal() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(size(&file), None);
        assert!(!is_ours(&file));
    }
}
