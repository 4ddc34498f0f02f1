//! The events parsed from one piece.

use std::collections::BTreeMap;

use super::{
    encoding::Recognised,
    event::{Event, FirstParseError, ParseError},
    parse::lines::Form,
};
use crate::{
    model::{connection::When, format::Format},
    system::text::quoted,
};

/// The records of a piece, parsed, in their order.
#[derive(Debug)]
pub struct Batch {
    /// The format of the piece.
    pub format: Format,
    /// What the lines from here on were recognised as, in the first batch of them.
    pub recognised: Option<Recognised>,
    /// What to count.
    pub events: Vec<Event>,
    /// Number of lines.
    pub lines: u64,
    /// Number of packets.
    pub packets: u64,
    /// How many of these lines and packets have the form of the format, and are not empty.
    pub understood: u64,
    /// How many of these lines and packets were not understood.
    pub not_understood: u64,
    /// The first of them.
    pub first_not_understood: Option<FirstParseError>,
    /// How many packets have a link type that is not supported.
    pub unknown_link_types: BTreeMap<u16, u64>,
    /// The times of the first and the last record, as far as they are wanted and known. The records
    /// between them that are no connections have no event.
    pub ends: [When; 2],
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            recognised: None,
            events: Vec::new(),
            lines: 0,
            packets: 0,
            understood: 0,
            not_understood: 0,
            first_not_understood: None,
            unknown_link_types: BTreeMap::new(),
            ends: [When::Unknown, When::Unknown],
        }
    }

    /// Counts a line. Its events are already in [`Self::events`].
    pub fn count_line(&mut self, line: &[u8], parsed: Result<Form, ParseError>) {
        match parsed {
            Ok(Form::Own) => self.understood += 1,
            Ok(Form::Shared) => self.understood += u64::from(!line.trim_ascii().is_empty()),
            Err(parse_error) => self.note_error(self.lines, parse_error, line),
        }
        self.lines += 1;
    }

    /// Counts a packet, likewise.
    pub fn count_packet(&mut self, parsed: Result<(), ParseError>) {
        match parsed {
            Ok(()) => self.understood += 1,
            Err(parse_error) => self.note_error(self.packets, parse_error, b""),
        }
        self.packets += 1;
    }

    fn note_error(&mut self, index: u64, parse_error: ParseError, line: &[u8]) {
        self.not_understood += 1;
        let events_before = self.events.len();
        self.first_not_understood
            .get_or_insert_with(|| FirstParseError {
                index,
                parse_error,
                line: quoted(line),
                events_before,
            });
    }
}
