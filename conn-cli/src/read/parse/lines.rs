//! What the parsers of lines have in common.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;

use crate::{
    model::{
        connection::{Connection, When},
        options::RecordOptions,
    },
    read::event::{Event, ParseError},
};

/// What is wanted of the records.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The time of the event also where the record has only a part of it, such as no date: otherwise only its
    /// clock is wanted ([`only_clock`](super::clock::only_clock)), which tells what a SYN repeats. A whole time is
    /// always wanted.
    pub times: bool,
    /// Records count whatever program wrote them.
    pub any_program: bool,
    /// The prefix that a rule of the firewall writes before its records. None: any that no other message of
    /// the kernel has.
    pub prefix: Option<Arc<str>>,
    /// Packets inside of tunnels count, too.
    pub inner: bool,
    /// Of connections that count in any case, only how many each client made to each port, and when the first
    /// and the last came.
    pub only_counts: bool,
    /// The machines that connections were recorded on.
    pub machines: bool,
}

impl Wanted {
    /// What these options want; `times` as in [`Self::times`].
    #[must_use]
    pub fn new(options: &RecordOptions, times: bool) -> Self {
        Self {
            times,
            any_program: options.any_program,
            prefix: options.prefix.as_deref().map(Arc::from),
            inner: options.inner,
            only_counts: false,
            machines: false,
        }
    }

    /// Also the times of which records have only a part.
    #[must_use]
    pub fn with_times() -> Self {
        Self {
            times: true,
            ..Self::default()
        }
    }
}

/// How certain it is that a line is of the format of its parser, which understood it. The format of an
/// input is the one of which most lines are certainly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// No other format has such lines.
    Own,
    /// Other formats and programs write such lines, too.
    Shared,
}

/// A parser for a line-based format.
pub trait Line {
    /// Parses one line, without its line terminator. Lines come in order, but the first one
    /// may be in the middle of the input.
    ///
    /// # Errors
    /// If the line is not understood: it does not have the form of the format.
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError>;

    /// The connection that a whole line shows and nothing else, if it is like earlier ones and that is quickly
    /// told: otherwise [`Self::line`] parses it.
    #[inline]
    fn usual(&mut self, _line: &[u8]) -> Option<Connection> {
        None
    }

    /// Parses the last line of an input, likewise, if it has no terminator, so that it may be cut.
    ///
    /// # Errors
    /// If the line is not understood, or if what it says depends on what may be missing.
    fn cut_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        self.line(line, events)
    }

    /// The time of a line, whatever else is in it, if times are wanted and it has one.
    fn time(&mut self, line: &[u8]) -> When;

    /// The host that a line names as the one where it was written. Asked of lines that show a connection.
    fn host<'a>(&mut self, _line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        None
    }
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

/// The JSON object in a line.
pub(crate) fn object<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Option<T> {
    // Serde takes an array for an object.
    if line.first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(line).ok()
}
