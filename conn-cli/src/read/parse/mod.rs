//! From bytes to events. Each format is a module with a function for one record; all are
//! total: whatever the bytes are, they are an event, or something else that is known, or not
//! understood.

pub mod json;
pub mod kernel_log;
pub mod packet;
pub mod scan;
pub mod services;
pub mod strace;
pub mod tcpdump;

use super::{
    Format,
    batch::{Batch, Event, ParseError, Piece},
};

const TOO_LONG: ParseError = "the line is too long";

/// The longest line that is looked at.
#[must_use]
pub fn longest_line(format: Format) -> usize {
    match format {
        // A summary has all clients in one line.
        Format::Json => 16 * 1024 * 1024,
        _ => 1024 * 1024,
    }
}

/// From where on `lines`, which are whole, belong together with lines that are still to come.
#[must_use]
pub fn hold_back(format: Format, lines: &[u8]) -> usize {
    match format {
        Format::Tcpdump => tcpdump::hold_back(lines),
        Format::Strace => strace::hold_back(lines),
        Format::KernelLog | Format::Json | Format::Pcap => lines.len(),
    }
}

/// What of a record is asked for, since the rest need not be parsed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// When it happened.
    pub times: bool,
}

/// Parses one piece.
#[must_use]
pub fn parse(piece: &Piece, wanted: Wanted) -> Batch {
    match piece {
        &Piece::Lines(format, ref bytes) => match format {
            Format::KernelLog => each_line(format, bytes, kernel_log::Lines::new(wanted)),
            Format::Tcpdump => each_line(format, bytes, tcpdump::Lines::new(wanted)),
            Format::Strace => each_line(format, bytes, strace::Lines::new(wanted)),
            Format::Json => each_line(format, bytes, json::Lines::new(wanted)),
            Format::Pcap => unreachable!("a capture has no lines"),
        },
        &Piece::LongLine(format) => {
            let mut batch = Batch::new(format);
            batch.count_line(Err(TOO_LONG));
            batch
        }
        Piece::Packets(packets) => packet::parse(packets, wanted),
    }
}

/// A format of lines.
pub trait Line {
    /// Parses one line, without its end. Lines come in their order, but not from the first
    /// one on.
    ///
    /// # Errors
    /// Why the line is not understood.
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), ParseError>;
}

fn each_line(format: Format, bytes: &[u8], mut parser: impl Line) -> Batch {
    let mut batch = Batch::new(format);
    for line in lines(bytes) {
        let parsed = match line.len() > longest_line(format) {
            true => Err(TOO_LONG),
            false => parser.line(line, &mut batch.events),
        };
        batch.count_line(parsed);
    }
    batch
}

/// The lines without their ends, `\n` or `\r\n`.
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
