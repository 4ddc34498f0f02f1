//! What passes between the threads: pieces of the inputs, and the batches parsed from them.

use super::{Format, ReadStats, capture::Packets};
use crate::{
    connection::{Connection, Host},
    kernel::Discrepancies,
    tally::Tally,
};

/// A piece of an input that can be parsed without the rest of it.
#[derive(Debug)]
pub enum Piece {
    /// Whole lines.
    Lines(Format, Vec<u8>),
    /// A line that is too long; its bytes were discarded.
    LongLine(Format),
    /// Packets.
    Packets(Packets),
}

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
    /// How many of these lines and packets were not understood.
    pub not_understood: u64,
    /// The first of them.
    pub first_not_understood: Option<FirstParseError>,
}

/// The first record of a batch that was not understood.
#[derive(Clone, Copy, Debug)]
pub struct FirstParseError {
    /// Its index in the batch.
    pub index: u64,
    /// Why it was not understood.
    pub parse_error: ParseError,
    /// Number of events before it.
    pub events_before: usize,
}

/// Why a record is not understood. Starts with a lower-case letter and ends without a full stop.
pub type ParseError = &'static str;

/// What a record can say.
#[derive(Debug)]
pub enum Event {
    /// A connection.
    Connection(Connection),
    /// A SYN with this sequence number: a connection unless the SYN was sent before.
    Syn(Connection, u32),
    /// The SYN-ACK that answers a SYN with this sequence number, one less than the number that
    /// it acknowledges. Client and server are those of the SYN, so it is the same connection;
    /// it counts if that SYN was not captured.
    Answer(Connection, u32),
    /// The beginning of an accept call; its end is in another line of the same thread.
    Unfinished(Accept),
    /// The end of such a call.
    Resumed(Connection),
    /// The end of such a call in this thread, without a connection.
    Failed(u32),
    /// The summary at the end of one run of conn-cli.
    Run(Box<Run>),
}

/// What the beginning of an accept call shows.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The thread; 0 if the records do not name one.
    pub tid: u32,
    /// The server's address, if strace shows it with the file descriptor.
    pub local: Host,
    /// The server's port, likewise.
    pub local_port: Option<u16>,
}

/// The summary of a run of conn-cli.
#[derive(Debug)]
pub struct Run {
    /// All its connections.
    pub tally: Tally,
    /// How many of them have a line.
    pub lines_shown: u64,
    /// What could make its total wrong.
    pub discrepancies: Discrepancies,
    /// What it did not count, if it was itself a run of `conn-cli read`.
    pub stats: ReadStats,
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
            not_understood: 0,
            first_not_understood: None,
        }
    }

    /// Counts a line. Its events are already in [`Self::events`].
    pub fn count_line(&mut self, parsed: Result<(), ParseError>) {
        self.note_error(self.lines, parsed);
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
