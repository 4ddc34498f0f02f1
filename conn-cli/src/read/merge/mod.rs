//! Puts what was parsed piece by piece together, in the order of the records: whatever threads
//! parsed it, the result is the same.

use std::collections::{BTreeSet, HashMap};

use anyhow::bail;

pub mod repeats;
pub mod runs;
#[cfg(test)]
mod tests;

use self::{repeats::Repeats, runs::Runs};
use super::{
    Format,
    batch::{Accept, Batch, Event, FirstParseError, Run},
};
use crate::{
    connection::{Connection, Host},
    filter::EndsFilter,
    group::GroupKey,
    kernel::Discrepancies,
    ports::PortSet,
    tally::Tally,
};

/// Calls of accept whose end is waited for, at most.
const MOST_UNFINISHED: usize = 1 << 18;

/// What else than connections the records gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// What was read.
    pub formats: BTreeSet<Format>,
    /// How many lines.
    pub lines: u64,
    /// How many packets.
    pub packets: u64,
    /// How many of these were not understood.
    pub not_understood: u64,
    /// The first of them: `line 17 new FILE: this is no line new strace's`.
    pub first_not_understood: Option<String>,
    /// SYNs that are not counted, since they had been sent before.
    pub repeated: u64,
    /// Connections that are not counted, since it is not known to which port they are.
    pub unknown_port: u64,
    /// Connections that are not counted, since it is not known who made them, and some clients
    /// are not wanted.
    pub unknown_client: u64,
}

/// What is asked of the records.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// The server's ports.
    pub ports: PortSet,
    /// Which connections to these.
    pub filter: EndsFilter,
    /// Whether what is not understood is an error.
    pub strict: bool,
    /// Whether a SYN that was sent again counts.
    pub every_packet: bool,
    /// Whether connections without a line of their own are of no use.
    pub lines_only: bool,
}

/// Counts.
#[derive(Debug)]
pub struct Merge {
    options: MergeOptions,
    /// What is sure.
    tally: Tally,
    runs: Runs,
    discrepancies: Discrepancies,
    stats: ReadStats,
    repeats: Repeats,
    unfinished: HashMap<u32, Accept, foldhash::fast::RandomState>,
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
    pub fn new(options: MergeOptions) -> Self {
        Self {
            options,
            tally: Tally::default(),
            runs: Runs::default(),
            discrepancies: Discrepancies::default(),
            stats: ReadStats::default(),
            repeats: Repeats::default(),
            unfinished: HashMap::default(),
            knows_ports: false,
            input: Input::default(),
        }
    }

    /// What follows is of another input.
    pub fn begin(&mut self, name: &str) {
        self.unfinished.clear();
        self.knows_ports = false;
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
        let format = batch.format;
        if let (true, Some(first)) = (self.options.strict, &batch.first_not_understood) {
            // What comes before it is counted and shown, what comes after it is not.
            batch.events.truncate(first.events_before);
        }
        // GroupBy reference: to copy connections takes longer than to count them.
        for (index, event) in batch.events.iter_mut().enumerate() {
            let (connection, packet) = match event {
                Event::Connection(connection) => (connection, None),
                Event::Resumed(connection) => {
                    self.join(connection);
                    (connection, None)
                }
                Event::Failed(tid) => {
                    self.unfinished.remove(tid);
                    continue;
                }
                Event::Syn(connection, sequence) => (connection, Some((Packet::Syn, *sequence))),
                Event::Answer(connection, sequence) => {
                    (connection, Some((Packet::Answer, *sequence)))
                }
                Event::Unfinished(accept) => {
                    self.begin_call(accept);
                    continue;
                }
                Event::Run(run) => {
                    self.take_run(run)?;
                    continue;
                }
            };
            if format == Format::Json {
                self.runs.line(connection);
            }
            let is_new = self.wants(format, connection)?
                && packet
                    .is_none_or(|(packet, sequence)| self.is_new(packet, connection, sequence));
            if is_new && !self.count(format, connection, show) {
                let is_later = |first: &mut FirstParseError| first.events_before > index;
                if batch.first_not_understood.take_if(is_later).is_some() {
                    batch.not_understood = 0;
                }
                break;
            }
        }
        self.add_stats(&batch)
    }

    /// Whether a packet is the first of a connection. An answer is one if its SYN was not
    /// captured, perhaps because a filter let only answers pass.
    fn is_new(&mut self, packet: Packet, connection: &Connection, sequence: u32) -> bool {
        match (self.options.every_packet, packet) {
            (true, Packet::Syn) => {
                self.repeats.is_repeat(connection, sequence);
                true
            }
            // Each of them, as wc -l would.
            (true, Packet::Answer) => !self.repeats.contains(connection, sequence),
            (false, _) => {
                let is_repeat = self.repeats.is_repeat(connection, sequence);
                self.stats.repeated += u64::from(is_repeat && packet == Packet::Syn);
                !is_repeat
            }
        }
    }

    /// Counts what was read, and what of it was not understood.
    fn add_stats(&mut self, batch: &Batch) -> anyhow::Result<()> {
        if let Some(FirstParseError {
            at, parse_error, ..
        }) = batch.first_not_understood
        {
            let name = &self.input.name;
            let first = match batch.packets {
                0 => format!(
                    "line {} of {name}: {parse_error}",
                    self.input.lines + at + 1
                ),
                _ => format!(
                    "packet {} of {name}: {parse_error}",
                    self.input.packets + at + 1
                ),
            };
            if self.options.strict {
                bail!("{first}");
            }
            self.parse_errors(batch.not_understood, Some(first));
        }
        self.stats.formats.insert(batch.format);
        self.stats.lines += batch.lines;
        self.stats.packets += batch.packets;
        self.input.lines += batch.lines;
        self.input.packets += batch.packets;
        Ok(())
    }

    /// The beginning of a call of accept, if it tells anything.
    fn begin_call(&mut self, accept: &Accept) {
        self.unfinished.remove(&accept.tid);
        // Of further threads it is not known to which port they listen.
        if accept.local_port.is_some() && self.unfinished.len() < MOST_UNFINISHED {
            self.unfinished.insert(accept.tid, accept.clone());
        }
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
    fn wants(&mut self, format: Format, connection: &Connection) -> anyhow::Result<bool> {
        self.knows_ports |= connection.local_port.is_some();
        if !self.options.filter.wants(connection) {
            let is_known = matches!(connection.remote, Host::Address(_));
            // Of a run it is counted when the run is complete.
            let counts = !is_known && (format != Format::Json || self.needs_lines());
            self.stats.unknown_client += u64::from(counts);
            return Ok(false);
        }
        match connection.local_port {
            _ if self.options.ports.is_all() => Ok(true),
            Some(port) => Ok(self.options.ports.contains(port)),
            None if format == Format::Strace && !self.knows_ports => bail!(
                "{}: without -yy strace does not show to which port a connection is: leave out \
                 --port, or run strace with -yy",
                self.input.name
            ),
            None => {
                // Of a run it is counted when the run is complete.
                self.stats.unknown_port += u64::from(format != Format::Json);
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
        if format != Format::Json || self.needs_lines() {
            self.tally.add(&connection.remote, connection.local_port, 1);
        }
        show(connection)
    }

    fn take_run(&mut self, run: &Run) -> anyhow::Result<()> {
        let needs_lines = self.options.lines_only || self.needs_lines();
        if needs_lines && run.tally.connections() > self.runs.lines() {
            let option = match self.options.lines_only {
                true => "--count",
                false => "--to",
            };
            bail!(
                "{}: {option} needs a line for each connection, and of some of {} there is only \
                 the summary",
                self.input.name,
                run.tally.connections()
            );
        }
        let tally = self.runs.summary(run);
        self.add_run(tally);
        self.discrepancies.add(&run.discrepancies);
        add(&mut self.stats.repeated, run.stats.repeated);
        add(&mut self.stats.unknown_port, run.stats.unknown_port);
        add(&mut self.stats.unknown_client, run.stats.unknown_client);
        let (parse_errors, first) = (run.stats.not_understood, &run.stats.first_not_understood);
        if self.options.strict && parse_errors > 0 {
            let first = first.as_deref().unwrap_or("a record");
            bail!(
                "{}: in this run it was not understood: {first}",
                self.input.name
            );
        }
        self.parse_errors(parse_errors, first.clone());
        Ok(())
    }

    /// Whether the summaries of runs do not tell what is asked: which local address it was.
    fn needs_lines(&self) -> bool {
        self.options.filter.local.is_some()
    }

    fn add_run(&mut self, tally: Tally) {
        if self.needs_lines() {
            return;
        }
        let (mut tally, unknown_port) = tally.to_ports(&self.options.ports);
        let filter = &self.options.filter;
        if *filter != EndsFilter::default() {
            let unknown = tally.retain(|key| match key {
                GroupKey::Client(Host::Address(address)) => {
                    Some(filter.wants_client(&Host::Address(*address)))
                }
                _ => None,
            });
            add(&mut self.stats.unknown_client, unknown);
        }
        self.tally.add_all(tally);
        add(&mut self.stats.unknown_port, unknown_port);
    }

    /// Adds records that were not understood, and what is said of the first.
    fn parse_errors(&mut self, count: u64, first: Option<String>) {
        add(&mut self.stats.not_understood, count);
        if self.stats.first_not_understood.is_none() {
            self.stats.first_not_understood = first;
        }
    }

    /// What was counted, what could make it wrong, and what else there was.
    #[must_use]
    pub fn finish(mut self) -> (Tally, Discrepancies, ReadStats) {
        let tally = self.runs.end();
        self.add_run(tally);
        (self.tally, self.discrepancies, self.stats)
    }
}

/// Counts may come from a file, which may say anything.
fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}
