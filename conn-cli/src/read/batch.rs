//! The events parsed from one piece.

use std::collections::BTreeMap;

use super::{
    encoding::Recognised,
    event::{Event, FirstParseError, ParseError},
    parse::lines::Form,
};
use crate::{
    count::seen::Seen,
    model::{
        connection::{Connection, Host, When},
        format::Format,
    },
    system::text::quoted,
};

/// The records of a piece, parsed, in their order.
#[derive(Debug)]
pub struct Batch {
    /// The format of the piece.
    pub format: Format,
    /// What the lines from here on were recognised as, in the first batch of them.
    pub recognised: Option<Recognised>,
    /// Connections before all events.
    pub(crate) counted: Counted,
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

/// Connections of which no more is wanted: see [`Wanted::only_counts`](super::parse::lines::Wanted::only_counts).
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// The client and the server's port of each, in their order.
    pub ends: Vec<(Host, Option<u16>)>,
    /// Their times.
    pub seen: Seen,
}

impl Counted {
    #[inline]
    fn add(&mut self, client: Host, local_port: Option<u16>, time: &When) {
        self.seen.add(time);
        self.ends.push((client, local_port));
    }
}

/// Memory for what is in a batch.
#[derive(Debug, Default)]
pub(crate) struct Room {
    events: Vec<Event>,
    ends: Vec<(Host, Option<u16>)>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            recognised: None,
            counted: Counted::default(),
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

    /// The same in this memory.
    pub(crate) fn within(format: Format, room: Room) -> Self {
        let mut batch = Self::new(format);
        (batch.events, batch.counted.ends) = (room.events, room.ends);
        batch
    }

    /// The memory of this batch, for another one. None if it is for more than `most` connections.
    pub(crate) fn into_room(self, most: usize) -> Option<Room> {
        let (mut events, mut ends) = (self.events, self.counted.ends);
        events.clear();
        ends.clear();
        (events.capacity().max(ends.capacity()) <= most).then_some(Room { events, ends })
    }

    /// Adds a connection. If it `only_counts`, only its ends are kept, unless events precede it: these can
    /// change what it counts for. Inlined, so that the compiler leaves out the rest of the connection.
    #[inline(always)]
    pub(crate) fn add(&mut self, connection: Connection, only_counts: bool) {
        if only_counts && self.events.is_empty() {
            let Connection {
                remote,
                local_port,
                time,
                ..
            } = connection;
            self.counted.add(remote, local_port, &time);
        } else {
            self.events.push(Event::Connection(connection));
        }
    }

    /// Takes the only event, if it is a connection, out again and adds it likewise.
    #[inline]
    pub(crate) fn count_only_event(&mut self) {
        if let [Event::Connection(_)] = self.events[..]
            && let Some(Event::Connection(connection)) = self.events.pop()
        {
            self.add(connection, true);
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
