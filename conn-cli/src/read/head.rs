//! The beginning of an input, from which its format is recognised.

use std::mem;

use super::{
    encoding::{Encoding, Recognised},
    foreign,
    how::How,
    parse::{lines::lines, packet},
    recognise::{Guess, guess},
};
use crate::model::format::Format;

/// How many times as much as [`Head::MAX_LEN`] is looked at where no line is certainly of a format.
const MAX_HEADS: u32 = 16;

/// Up to so many lines, each new one may make the format clear; then whenever their number has doubled, or
/// looking would take more than reading.
const EACH_LINE: usize = 16;

/// The lines that tell what an input is that is not read.
const SAMPLE_LEN: usize = 4096;

/// What the beginning of an input says.
pub(super) enum Look {
    /// More of it is needed.
    More,
    /// It is a capture.
    Capture,
    /// It is not certain yet what all of it is; these first lines can be parsed like this.
    Lines(Encoding, Vec<u8>),
    /// The rest is this.
    All(Encoding),
    /// It has no line that is not empty.
    Empty,
    /// No parser understands it.
    Unknown,
}

/// The beginning of an input.
pub(super) struct Head<'a> {
    how: &'a How,
    bytes: Vec<u8>,
    /// How many bytes of whole lines, and how many lines, were looked at.
    looked_at: (usize, usize),
    /// The number of lines with which to look again.
    next_look: usize,
    heads: u32,
    /// Lines before these that no parser understands.
    skipped: u64,
    first_lines: Vec<u8>,
    provisional: Option<Encoding>,
    tie: Option<Format>,
}

impl<'a> Head<'a> {
    /// The most bytes that are looked at at once.
    pub(super) const MAX_LEN: usize = 64 * 1024;

    pub(super) fn new(how: &'a How) -> Self {
        Self {
            how,
            bytes: Vec::new(),
            looked_at: (0, 0),
            next_look: 1,
            heads: 0,
            skipped: 0,
            first_lines: Vec::new(),
            provisional: None,
            tie: None,
        }
    }

    /// Where to append what was read.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was not emitted yet.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        mem::take(&mut self.bytes)
    }

    /// The first lines of the input.
    pub(super) fn first_lines(&self) -> &[u8] {
        &self.first_lines
    }

    /// What the rest was recognised as.
    pub(super) fn recognised(&self, encoding: Encoding) -> Recognised {
        Recognised {
            encoding,
            tie: self.tie,
            skipped: self.skipped,
            is_given: self.how.format.is_some(),
        }
    }

    /// Looks at what is there. `is_all`: nothing follows.
    pub(super) fn look(&mut self, is_all: bool) -> Look {
        if self.how.format.is_none() && self.heads == 0 && packet::is_capture(&self.bytes) {
            return Look::Capture;
        }
        let is_full = is_all || self.bytes.len() >= Self::MAX_LEN;
        if is_full {
            return self.look_at_all(is_all);
        }
        if self.how.is_file {
            return Look::More;
        }
        self.look_at_new_lines()
    }

    /// Looks after the first lines, after two, and so on, however they arrive.
    fn look_at_new_lines(&mut self) -> Look {
        loop {
            let (end, count) = self.looked_at;
            let Some(newline) = memchr::memchr(b'\n', &self.bytes[end..]) else {
                return Look::More;
            };
            self.looked_at = (end + newline + 1, count + 1);
            if count + 1 < self.next_look {
                continue;
            }
            self.next_look = match count + 1 {
                count if count < EACH_LINE => count + 1,
                count => count * 2,
            };
            let guess = self.guess(self.looked_at.0, false);
            if let Some(guess) = guess.filter(|guess| guess.is_clear()) {
                return self.take(guess);
            }
        }
    }

    fn look_at_all(&mut self, is_all: bool) -> Look {
        let end = match memchr::memrchr(b'\n', &self.bytes) {
            _ if is_all => self.bytes.len(),
            Some(newline) => newline + 1,
            // The summary of a run may be longer.
            None if self.bytes.starts_with(br#"{"type":""#) => {
                return Look::All(Encoding::plain(self.how.format.unwrap_or(Format::Json)));
            }
            None => self.bytes.len(),
        };
        let sample = self.bytes.len().min(SAMPLE_LEN);
        if self.heads == 0 {
            self.first_lines = self.bytes[..sample].to_vec();
        }
        let guess = self.guess(end, true);
        let is_log = guess.is_some_and(|guess| guess.encoding.format == Format::KernelLog);
        let is_foreign = || {
            self.heads == 0
                && self.how.format.is_none()
                && foreign::find(&self.first_lines, is_log).is_some()
        };
        // What strace says when it attaches also precedes the table of strace -c.
        let may_be_table = |guess: &Guess| {
            guess.encoding.format == Format::Strace && guess.finds_nothing() && is_foreign()
        };
        if let Some(guess) = guess.filter(|guess| guess.is_certain() && !may_be_table(guess)) {
            return self.take(guess);
        }
        let is_foreign = is_foreign();
        self.heads += 1;
        if let Some(guess) = guess.filter(|_| !is_foreign) {
            self.provisional = self.provisional.or(Some(guess.encoding));
        }
        let plain = self.how.format.map(Encoding::plain);
        let encoding = self.provisional.or(plain);
        let is_last = is_all || self.heads >= MAX_HEADS;
        match encoding {
            Some(encoding) if is_last => Look::All(encoding),
            Some(encoding) => Look::Lines(encoding, self.drain(end)),
            None if is_foreign => Look::Unknown,
            None => {
                let is_blank = self.bytes[..end].trim_ascii().is_empty();
                if is_all && is_blank && self.skipped == 0 {
                    return Look::Empty;
                }
                if is_last {
                    return Look::Unknown;
                }
                self.skipped += lines(&self.drain(end)).count() as u64;
                Look::More
            }
        }
    }

    /// Takes the lines up to `end` away.
    fn drain(&mut self, end: usize) -> Vec<u8> {
        self.looked_at = (0, 0);
        self.next_look = 1;
        self.bytes.drain(..end).collect()
    }

    fn take(&mut self, guess: Guess) -> Look {
        self.tie = guess.tie;
        Look::All(guess.encoding)
    }

    fn guess(&self, end: usize, is_whole: bool) -> Option<Guess> {
        let lines: Vec<&[u8]> = lines(&self.bytes[..end]).collect();
        let How { format, wanted, .. } = self.how;
        guess(&lines, *format, wanted, is_whole)
    }
}
