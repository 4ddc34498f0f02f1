//! What the parsers of lines have in common.

use crate::{
    model::connection::When,
    read::event::{Event, ParseError},
};

/// The optional fields of a record to parse.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The time of the event also where the record has only a part of it, such as no date. A whole one
    /// is always wanted.
    pub times: bool,
}

/// A parser for a line-based format.
pub trait Line {
    /// Parses one line, without its line terminator. Lines come in order, but the first one
    /// may be in the middle of the input.
    ///
    /// # Errors
    /// If the line is not understood.
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), ParseError>;

    /// The time of a line, whatever else is in it, if times are wanted and it has one.
    fn time(&mut self, line: &[u8]) -> When;
}

/// The lines without their terminators, `\n` or `\r\n`.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = match memchr::memchr(b'\n', rest) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = after;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}
