//! What is parsed, piece by piece: the only thing that passes between the threads.

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
    /// A line that is too long to be one; it was thrown away.
    LongLine(Format),
    /// Packets.
    Packets(Packets),
}

/// What a piece says, in its order.
#[derive(Debug)]
pub struct Batch {
    /// What it was.
    pub format: Format,
    /// What is to be counted.
    pub events: Vec<Event>,
    /// How many lines it had.
    pub lines: u64,
    /// How many packets it had.
    pub packets: u64,
    /// How many of these were not understood.
    pub not_understood: u64,
    /// The first one.
    pub first_not_understood: Option<FirstParseError>,
}

/// The first record of a batch that is not understood.
#[derive(Clone, Copy, Debug)]
pub struct FirstParseError {
    /// Its number in the batch, from 0.
    pub at: u64,
    /// What is wrong with it.
    pub parse_error: ParseError,
    /// How many events came before it.
    pub events_before: usize,
}

/// Why a record is not understood. Begins with a small letter, ends without a stop.
pub type ParseError = &'static str;

/// Something that counts.
#[derive(Debug)]
pub enum Event {
    /// A connection.
    Connection(Connection),
    /// A SYN with this sequence number: a connection if it is the first such.
    Syn(Connection, u32),
    /// The answer to a SYN with this sequence number, which is one less than what it
    /// acknowledges. Client and server are those of the SYN, and so it is the same connection;
    /// it counts if that SYN was not captured.
    Answer(Connection, u32),
    /// A call of accept that has begun; its end is in another line of the same thread.
    Unfinished(Accept),
    /// The end of such a call.
    Resumed(Connection),
    /// The end of such a call of this thread, which gave no connection.
    Failed(u32),
    /// The summary that ends the records of one run of conn-cli.
    Run(Box<Run>),
}

/// A call of accept, as far as its beginning tells.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The thread; 0 if it is the only one.
    pub tid: u32,
    /// The server's end, if the file descriptor was shown with it.
    pub local: Host,
    /// The server's port.
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
    /// What it had left out, if it had itself read records.
    pub stats: ReadStats,
}

impl Batch {
    /// Nothing yet.
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

    /// Adds a line: what `parsed` says of it has already gone to [`Self::events`].
    pub fn count_line(&mut self, parsed: Result<(), ParseError>) {
        self.note(self.lines, parsed);
        self.lines += 1;
    }

    /// Adds a packet, likewise.
    pub fn count_packet(&mut self, parsed: Result<(), ParseError>) {
        self.note(self.packets, parsed);
        self.packets += 1;
    }

    fn note(&mut self, at: u64, parsed: Result<(), ParseError>) {
        if let Err(parse_error) = parsed {
            self.not_understood += 1;
            self.first_not_understood.get_or_insert(FirstParseError {
                at,
                parse_error,
                events_before: self.events.len(),
            });
        }
    }
}
