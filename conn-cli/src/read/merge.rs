//! Puts what was parsed piece by piece together, in the order of the records: whatever threads
//! parsed it, the result is the same.

use std::collections::{BTreeSet, HashMap};

use anyhow::bail;

use super::{
    Format,
    batch::{Accept, Batch, Event, Run},
    repeats::Repeats,
};
use crate::{
    connection::{Connection, Record, Source},
    kernel::Doubts,
    ports::PortSet,
    tally::Tally,
};

/// Calls of accept whose end is waited for, at most; more threads than this no process has.
const MOST_UNFINISHED: usize = 1 << 16;

/// What else than connections the records gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What was read.
    pub formats: BTreeSet<Format>,
    /// How many lines.
    pub lines: u64,
    /// How many packets.
    pub packets: u64,
    /// How many of these were not understood.
    pub not_understood: u64,
    /// The first of them: `line 17 of FILE: this is no line of strace's`.
    pub first_not_understood: Option<String>,
    /// SYNs that are not counted, since they had been sent before.
    pub repeated: u64,
    /// Connections that are not counted, since it is not known to which port they are.
    pub unknown_port: u64,
}

/// What is asked of the records.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The server's ports.
    pub ports: PortSet,
    /// Whether what is not understood is an error.
    pub strict: bool,
    /// Whether a SYN that was sent again counts.
    pub every_packet: bool,
}

/// Counts.
#[derive(Debug)]
pub struct Merge {
    asked: Asked,
    /// What is sure.
    tally: Tally,
    /// The records of a run of conn-cli whose summary has not come yet: those that count, and
    /// those of which it is not known whether they do.
    run: (Tally, u64),
    doubts: Doubts,
    ledger: Ledger,
    repeats: Repeats,
    /// Whether there was any SYN.
    has_syns: bool,
    unfinished: HashMap<u32, Accept>,
    /// Whether some call of accept was shown with the server's port.
    knows_ports: bool,
    input: Input,
}

/// The packets that tell of a new connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packet {
    Syn,
    Answer,
}

/// The input that is being read.
#[derive(Debug, Default)]
struct Input {
    name: String,
    lines: u64,
    packets: u64,
}

impl Merge {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            tally: Tally::default(),
            run: (Tally::default(), 0),
            doubts: Doubts::default(),
            ledger: Ledger::default(),
            repeats: Repeats::default(),
            has_syns: false,
            unfinished: HashMap::new(),
            knows_ports: false,
            input: Input::default(),
        }
    }

    /// What follows is of another input.
    pub fn begin(&mut self, name: &str) {
        self.end();
        self.input = Input {
            name: name.to_owned(),
            ..Input::default()
        };
    }

    /// Counts a batch, and shows its connections as long as `show` returns true.
    ///
    /// # Errors
    /// What cannot be answered, or what is not understood if that is an error.
    pub fn take(
        &mut self,
        mut batch: Batch,
        show: &mut impl FnMut(&Connection) -> bool,
    ) -> anyhow::Result<()> {
        self.account(&batch)?;
        let format = batch.format;
        // By reference: to copy connections takes longer than to count them.
        for event in &mut batch.events {
            let (connection, packet) = match event {
                Event::Connection(connection) => (connection, None),
                Event::Resumed(connection) => {
                    self.join(connection);
                    (connection, None)
                }
                Event::Syn(connection, sequence) => (connection, Some((Packet::Syn, *sequence))),
                Event::Answer(connection, sequence) => {
                    (connection, Some((Packet::Answer, *sequence)))
                }
                Event::Unfinished(accept) => {
                    if self.unfinished.len() < MOST_UNFINISHED {
                        self.unfinished.insert(accept.tid, accept.clone());
                    }
                    continue;
                }
                Event::Run(run) => {
                    self.take_run(run);
                    continue;
                }
            };
            let is_new = self.is_asked(format, connection)?
                && packet
                    .is_none_or(|(packet, sequence)| self.is_new(packet, connection, sequence));
            if is_new && !self.count(format, connection, show) {
                break;
            }
        }
        Ok(())
    }

    /// Whether a packet is the first of a connection. An answer is one if its SYN was not
    /// captured, perhaps because a filter let only answers pass. If every packet counts, then
    /// answers do as long as there are no SYNs: those of one kind are counted.
    fn is_new(&mut self, packet: Packet, connection: &Connection, sequence: u32) -> bool {
        if self.asked.every_packet {
            self.has_syns |= packet == Packet::Syn;
            return packet == Packet::Syn || !self.has_syns;
        }
        let is_repeat = self.repeats.is_repeat(connection, sequence);
        self.ledger.repeated += u64::from(is_repeat && packet == Packet::Syn);
        !is_repeat
    }

    /// Counts what was read, and what of it was not understood.
    fn account(&mut self, batch: &Batch) -> anyhow::Result<()> {
        if let Some((at, misfit)) = batch.first_not_understood {
            let name = &self.input.name;
            let first = match batch.packets {
                0 => format!("line {} of {name}: {misfit}", self.input.lines + at + 1),
                _ => format!("packet {} of {name}: {misfit}", self.input.packets + at + 1),
            };
            if self.asked.strict {
                bail!("{first}");
            }
            self.misfits(batch.not_understood, Some(first));
        }
        self.ledger.formats.insert(batch.format);
        self.ledger.lines += batch.lines;
        self.ledger.packets += batch.packets;
        self.input.lines += batch.lines;
        self.input.packets += batch.packets;
        Ok(())
    }

    /// The end of a call of accept, with what its beginning told.
    fn join(&mut self, connection: &mut Connection) {
        let tid = connection.process.as_ref().map_or(0, |process| process.tid);
        if let Some(accept) = self.unfinished.remove(&tid)
            && connection.local_port.is_none()
        {
            connection.local = accept.local;
            connection.local_port = accept.local_port;
        }
    }

    /// Whether a connection is to one of the ports.
    fn is_asked(&mut self, format: Format, connection: &Connection) -> anyhow::Result<bool> {
        let is_strace = connection.source == Source::Record(Record::Strace);
        self.knows_ports |= is_strace && connection.local_port.is_some();
        if self.asked.ports.is_all() {
            return Ok(true);
        }
        match connection.local_port {
            Some(port) => Ok(self.asked.ports.contains(port)),
            None if is_strace && !self.knows_ports => bail!(
                "{}: without -yy strace does not show to which port a connection is: leave out \
                 --port, or run strace with -yy",
                self.input.name
            ),
            None => {
                match format {
                    Format::Json => self.run.1 += 1,
                    _ => self.ledger.unknown_port += 1,
                }
                Ok(false)
            }
        }
    }

    /// Counts and shows; false if that was the last one that is to be shown.
    fn count(
        &mut self,
        format: Format,
        connection: &Connection,
        show: &mut impl FnMut(&Connection) -> bool,
    ) -> bool {
        let tally = match format {
            Format::Json => &mut self.run.0,
            _ => &mut self.tally,
        };
        tally.add(&connection.remote, connection.local_port, 1);
        show(connection)
    }

    /// The summary of a run has every connection of the run, its lines need not.
    fn take_run(&mut self, run: &Run) {
        self.run = Default::default();
        for client in &run.clients {
            let mut unknown = client.connections;
            for (&port, &connections) in &client.ports {
                unknown -= connections;
                if self.asked.ports.contains(port) {
                    self.tally.add(&client.host, Some(port), connections);
                }
            }
            match self.asked.ports.is_all() {
                true if unknown > 0 => self.tally.add(&client.host, None, unknown),
                true => (),
                false => {
                    self.ledger.unknown_port = self.ledger.unknown_port.saturating_add(unknown)
                }
            }
        }
        match self.asked.ports.is_all() {
            true => self.tally.add_other(run.other_clients),
            false => {
                self.ledger.unknown_port =
                    self.ledger.unknown_port.saturating_add(run.other_clients)
            }
        }
        self.doubts.add(&run.doubts);
        self.ledger.repeated = self.ledger.repeated.saturating_add(run.ledger.repeated);
        self.ledger.unknown_port = self
            .ledger
            .unknown_port
            .saturating_add(run.ledger.unknown_port);
        self.misfits(
            run.ledger.not_understood,
            run.ledger.first_not_understood.clone(),
        );
    }

    /// Adds records that were not understood, and what is said of the first.
    fn misfits(&mut self, count: u64, first: Option<String>) {
        self.ledger.not_understood = self.ledger.not_understood.saturating_add(count);
        if self.ledger.first_not_understood.is_none() {
            self.ledger.first_not_understood = first;
        }
    }

    /// Whatever was begun in an input has its end there, or none.
    fn end(&mut self) {
        let (tally, unknown_port) = std::mem::take(&mut self.run);
        self.tally.add_all(tally);
        self.ledger.unknown_port += unknown_port;
        self.unfinished.clear();
    }

    /// What was counted, what could make it wrong, and what else there was.
    #[must_use]
    pub fn finish(mut self) -> (Tally, Doubts, Ledger) {
        self.end();
        (self.tally, self.doubts, self.ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Host, When};

    fn connection(client_port: u16) -> Connection {
        Connection {
            time: When::Unknown,
            remote: Host::at([192, 0, 2, 1]),
            remote_port: Some(client_port),
            local: Host::at([192, 0, 2, 9]),
            local_port: Some(80),
            family: None,
            process: None,
            netns: None,
            source: Source::Record(Record::Pcap),
        }
    }

    fn syn(port: u16) -> Event {
        Event::Syn(connection(port), u32::from(port))
    }

    fn answer(port: u16) -> Event {
        Event::Answer(connection(port), u32::from(port))
    }

    /// How many are counted, and how many were sent again.
    fn counted<const N: usize>(every_packet: bool, batches: [Vec<Event>; N]) -> (u64, u64) {
        let mut merge = Merge::new(Asked {
            ports: PortSet::all(),
            strict: true,
            every_packet,
        });
        for events in batches {
            let mut batch = Batch::new(Format::Pcap);
            batch.events = events;
            merge.take(batch, &mut |_| true).unwrap();
        }
        let (tally, _, ledger) = merge.finish();
        (tally.connections(), ledger.repeated)
    }

    #[test]
    fn an_answer_counts_if_its_syn_was_not_captured() {
        assert_eq!(counted(false, [vec![syn(1), answer(1), answer(1)]]), (1, 0));
        assert_eq!(counted(false, [vec![answer(1), answer(2)]]), (2, 0));
        assert_eq!(counted(false, [vec![answer(1), answer(1)]]), (1, 0));
        assert_eq!(
            counted(false, [vec![syn(1)], vec![answer(1), answer(2)]]),
            (2, 0)
        );
    }

    #[test]
    fn a_syn_that_is_sent_again_is_one_before_and_after_its_answer() {
        assert_eq!(
            counted(false, [vec![syn(1), syn(1), answer(1), syn(1)]]),
            (1, 2)
        );
        assert_eq!(counted(false, [vec![answer(1), syn(1)]]), (1, 1));
    }

    #[test]
    fn where_every_packet_counts_those_of_one_kind_do() {
        assert_eq!(counted(true, [vec![syn(1), syn(1), answer(1)]]), (2, 0));
        assert_eq!(
            counted(true, [vec![syn(2), answer(2)], vec![answer(3)]]),
            (1, 0)
        );
        assert_eq!(counted(true, [vec![answer(1), answer(1)]]), (2, 0));
    }
}
