//! What a record can say.

use jiff::Timestamp;

use crate::{
    count::tally::Tally,
    model::{
        connection::{Connection, Host},
        discrepancies::Discrepancies,
        machine::Machine,
        printed::summary,
        read_stats::ReadStats,
        stage::Stage,
    },
};

/// The first record of a batch that was not understood.
#[derive(Clone, Debug)]
pub struct FirstParseError {
    /// Its index in the batch.
    pub index: u64,
    /// Why it was not understood.
    pub parse_error: ParseError,
    /// The beginning of the line, safe to show; empty for a packet.
    pub line: String,
    /// Number of events before it.
    pub events_before: usize,
}

/// Why a record is not understood. Starts with a lower-case letter and ends without a full stop.
pub(crate) type ParseError = &'static str;

/// What a record can say.
#[derive(Debug)]
pub enum Event {
    /// A connection.
    Connection(Connection),
    /// A SYN: a connection unless the SYN was sent before.
    Syn(Connection, PacketId),
    /// The SYN-ACK that answers a SYN with this sequence number, one less than the number that
    /// it acknowledges, or another sign of such an answer. Client and server are those of the SYN, so it
    /// is the same connection; it counts if that SYN was not captured.
    Answer(Connection, PacketId),
    /// A SYN inside of a tunnel, which does not count unless that is wanted.
    Inner,
    /// A RST or FIN between these ends, in either direction: a SYN that follows begins a new connection.
    End(Connection),
    /// The beginning of an accept call; its end is in another line of the same thread.
    Unfinished(Accept),
    /// The end of such a call.
    Resumed(Connection),
    /// The end of such a call in this thread, without a connection.
    Failed(u32),
    /// The summary at the end of one run of conn-cli.
    Run(Box<Run>),
    /// A line of conn-cli's text of a connection at a stage; the run can have counted a later one.
    Stage(Stage, Connection),
    /// Another line of that text, which has a meaning only together with others.
    Printed(Printed),
    /// A JSON object of a type that this conn-cli does not know.
    UnknownType,
}

impl Event {
    /// The connection or the packet that the record shows.
    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Connection(connection)
            | Self::Syn(connection, _)
            | Self::Answer(connection, _)
            | Self::End(connection)
            | Self::Stage(_, connection)
            | Self::Resumed(connection) => Some(connection),
            Self::Unfinished(_)
            | Self::Failed(_)
            | Self::Run(_)
            | Self::Printed(_)
            | Self::Inner
            | Self::UnknownType => None,
        }
    }
}

/// What tells a SYN from other SYNs between the same ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketId {
    /// The sequence number of the SYN.
    pub sequence: Option<u32>,
    /// The id field of its IPv4 header.
    pub ip_id: Option<u16>,
}

impl PacketId {
    /// That of a SYN of which only the sequence number is known.
    #[must_use]
    pub fn sequence(number: u32) -> Self {
        Self {
            sequence: Some(number),
            ip_id: None,
        }
    }
}

/// A line of conn-cli's text that is no connection.
#[derive(Debug)]
pub struct Printed {
    /// Its index in the batch.
    pub number: u64,
    /// What it says.
    pub text: Box<str>,
}

impl Printed {
    /// Whether it is the heading of the summary, with which a run ends.
    pub(crate) fn is_summary(&self) -> bool {
        summary::heading(&self.text) == Some(summary::Heading::Summary)
    }
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
    /// When it began and when it ended, if that is known.
    pub period: Option<(Timestamp, Timestamp)>,
    /// The machine of all its connections, if it says so.
    pub machine: Option<Machine>,
    /// All its connections.
    pub tally: Tally,
    /// The option by which the tally does not name all addresses, if there is one.
    pub partial: Option<&'static str>,
    /// How many of them have a line; None if the summary does not say.
    pub lines_shown: Option<u64>,
    /// What could make its total wrong.
    pub discrepancies: Discrepancies,
    /// What it did not count, if it was itself a run of `conn-cli read`.
    pub stats: ReadStats,
}

impl Run {
    /// A run of which a text says only these counts.
    #[must_use]
    pub(crate) fn printed(tally: Tally) -> Self {
        Self {
            period: None,
            machine: None,
            tally,
            partial: None,
            lines_shown: None,
            discrepancies: Discrepancies::default(),
            stats: ReadStats::default(),
        }
    }

    /// Whether so many lines before its summary name the client of each connection.
    #[must_use]
    pub(crate) fn has_all_lines(&self, lines: u64) -> bool {
        let connections = self.tally.connections();
        let lines_shown = self.lines_shown.unwrap_or(connections);
        // With none, it is not known what `--known` has left out.
        lines_shown > 0 && lines_shown == connections && lines >= lines_shown
    }
}
