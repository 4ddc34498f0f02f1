//! The events parsed from one piece.

use super::{
    event::{Event, FirstParseError, ParseError},
    parse::lines::Form,
};
use crate::model::{connection::When, format::Format};

/// The records of a piece, parsed, in their order.
#[derive(Debug)]
pub struct Batch {
    /// The format of the piece.
    pub format: Format,
    /// What to count.
    pub events: Vec<Event>,
    /// Number of lines.
    pub lines: u64,
    /// Number of packets.
    pub packets: u64,
    /// How many of these lines only this format has.
    pub own: u64,
    /// How many of these lines and packets were not understood.
    pub not_understood: u64,
    /// The first of them.
    pub first_not_understood: Option<FirstParseError>,
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
            events: Vec::new(),
            lines: 0,
            packets: 0,
            own: 0,
            not_understood: 0,
            first_not_understood: None,
            ends: [When::Unknown, When::Unknown],
        }
    }

    /// Counts a line. Its events are already in [`Self::events`].
    pub fn count_line(&mut self, parsed: Result<Form, ParseError>) {
        self.own += u64::from(parsed == Ok(Form::Own));
        self.note_error(self.lines, parsed.map(|_| ()));
        self.lines += 1;
    }

    /// Counts a packet, likewise.
    pub fn count_packet(&mut self, parsed: Result<(), ParseError>) {
        self.note_error(self.packets, parsed);
        self.packets += 1;
    }

    fn note_error(&mut self, index: u64, parsed: Result<(), ParseError>) {
        if let Err(parse_error) = parsed {
            self.not_understood += 1;
            self.first_not_understood.get_or_insert(FirstParseError {
                index,
                parse_error,
                events_before: self.events.len(),
            });
        }
    }
}
