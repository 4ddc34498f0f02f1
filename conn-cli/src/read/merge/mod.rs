//! Counts the parsed batches in the order of the records: the result does not depend on the
//! threads that parsed them.

use std::{collections::HashMap, mem};

use anyhow::bail;

mod copies;
mod generations;
mod keys;
mod options;
pub(crate) mod repeats;
pub(crate) mod runs;
mod stats;
mod summary;
#[cfg(test)]
mod tests;
mod text;

pub use self::options::MergeOptions;
use self::{
    repeats::{Repeats, Shown},
    runs::Runs,
    text::OwnText,
};
use super::{
    batch::Batch,
    event::{Accept, Event, FirstParseError, PacketId},
};
use crate::{
    count::{
        ranking::Counts,
        tally::{Room, Tally},
    },
    model::{
        connection::{Connection, Host},
        discrepancies::Discrepancies,
        format::Format,
        group::{GroupKey, Grouping},
        names::NetworkNames,
        read_stats::{InputStats, ReadStats},
        stage::Stage,
    },
};

/// The most unfinished accept calls that are remembered.
const MAX_UNFINISHED: usize = 1 << 18;

/// Counts batches.
#[derive(Debug)]
pub struct Merge {
    options: MergeOptions,
    /// Whether they want all connections.
    wants_all: bool,
    /// Final counts; the lines of the current run are in `runs`.
    tally: Tally,
    runs: Runs,
    text: OwnText,
    discrepancies: Discrepancies,
    stats: ReadStats,
    repeats: Repeats,
    unfinished: HashMap<u32, Accept, foldhash::fast::RandomState>,
    /// Whether a connection of the input had the server's port.
    knows_ports: bool,
    input: InputStats,
}

/// The packets that show a new connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packet {
    Syn,
    Answer,
}

impl Merge {
    /// Starts with no connections.
    #[must_use]
    pub fn new(options: MergeOptions) -> Self {
        Self {
            wants_all: options.want_all(),
            options,
            tally: Tally::default(),
            runs: Runs::default(),
            text: OwnText::default(),
            discrepancies: Discrepancies::default(),
            stats: ReadStats::default(),
            repeats: Repeats::default(),
            unfinished: HashMap::default(),
            knows_ports: false,
            input: InputStats::default(),
        }
    }

    /// The same with this room for clients.
    #[must_use]
    pub fn within(self, room: Option<Room>) -> Self {
        Self {
            tally: Tally::within(room),
            runs: Runs::within(room),
            text: OwnText::within(room),
            ..self
        }
    }

    /// Starts the next input.
    pub fn begin(&mut self, input: InputStats) {
        self.unfinished.clear();
        self.knows_ports = false;
        let before = mem::replace(&mut self.input, input);
        add_input(&mut self.stats, before);
    }

    /// Notes that this input is not read to its end.
    pub(crate) fn fail(&mut self) {
        self.input.failed = true;
    }

    /// Counts a batch, and shows its connections as long as `show` returns true. What it has of events is of no
    /// use afterwards.
    ///
    /// # Errors
    /// If the records cannot answer the options, or with `strict` are not understood.
    pub fn take(
        &mut self,
        batch: &mut Batch,
        show: &mut impl FnMut(&Connection) -> bool,
    ) -> anyhow::Result<()> {
        let format = batch.format;
        let refusal = match format {
            Format::Text => self.text.arrange(batch),
            _ => None,
        };
        if let (true, Some(first)) = (self.options.strict, &batch.first_not_understood) {
            // Counts and shows only what precedes the error.
            batch.events.truncate(first.events_before);
        }
        for (client, local_port) in &batch.counted.ends {
            self.stats.machines.add(None);
            add_to(&mut self.tally, &self.options, client, *local_port);
        }
        // By reference: copying connections takes longer than counting them.
        for (index, event) in batch.events.iter_mut().enumerate() {
            let (connection, packet) = match event {
                Event::Connection(connection) => (connection, None),
                Event::Resumed(connection) => {
                    self.finish_call(connection);
                    (connection, None)
                }
                Event::Failed(tid) => {
                    self.unfinished.remove(tid);
                    continue;
                }
                Event::Syn(connection, id) => (connection, Some((Packet::Syn, *id))),
                Event::Answer(connection, id) => (connection, Some((Packet::Answer, *id))),
                Event::End(connection) => {
                    self.repeats.end(connection);
                    continue;
                }
                // Text is arranged, and has other events now.
                Event::Stage(..) | Event::Printed(_) => continue,
                Event::Unfinished(accept) => {
                    self.begin_call(accept);
                    continue;
                }
                Event::Inner => {
                    self.stats.inner += 1;
                    continue;
                }
                Event::UnknownType => {
                    self.stats.unknown_type += 1;
                    continue;
                }
                Event::Run(run) => {
                    self.take_run(run)?;
                    continue;
                }
            };
            if format.is_own() {
                self.runs.add_line(connection);
            }
            let is_within = self.options.period.contains(&connection.time);
            // Also outside of the period: it may be sent again within.
            let is_new = self.wants(format, connection)?
                && packet.is_none_or(|(packet, id)| {
                    let shown = self.shown(packet, connection, id);
                    if is_within == Some(true) {
                        shown.add_to(&mut self.stats);
                    }
                    shown == Shown::New
                });
            self.stats.unknown_time += u64::from(is_new && is_within.is_none());
            if is_new && is_within == Some(true) && !self.count(format, connection, show) {
                let is_later = |first: &mut FirstParseError| first.events_before > index;
                if batch.first_not_understood.take_if(is_later).is_some() {
                    batch.not_understood = 0;
                }
                break;
            }
        }
        self.add_stats(batch)?;
        match refusal {
            Some(why) => bail!("{}: {why}", self.input.name),
            None => Ok(()),
        }
    }

    /// Counts and shows what only the end of the last input completes.
    ///
    /// # Errors
    /// If that cannot answer the options.
    pub fn end(&mut self, show: &mut impl FnMut(&Connection) -> bool) -> anyhow::Result<()> {
        let mut batch = Batch::new(Format::Text);
        batch.events = self.text.end();
        if !batch.events.is_empty() {
            let format = self.input.format;
            self.take(&mut batch, show)?;
            self.input.format = format;
        }
        if self.stats.formats.contains(&Format::Text) {
            self.check_ports(self.runs.open())?;
        }
        Ok(())
    }

    /// What a packet shows. An answer shows a new connection if its SYN was not captured, for example because a
    /// capture filter passed only answers.
    fn shown(&mut self, packet: Packet, connection: &Connection, id: PacketId) -> Shown {
        match (self.options.every_packet, packet) {
            (false, Packet::Syn) => self.repeats.syn(connection, id),
            (false, Packet::Answer) => self.repeats.answer(connection, id),
            (true, Packet::Syn) => {
                self.repeats.syn(connection, id);
                Shown::New
            }
            // Every answer without a SYN counts, as `wc -l` would count it.
            (true, Packet::Answer) if self.repeats.knows(connection, id) => Shown::Known,
            (true, Packet::Answer) => Shown::New,
        }
    }

    /// Remembers the beginning of an accept call if it shows the port.
    fn begin_call(&mut self, accept: &Accept) {
        self.unfinished.remove(&accept.tid);
        // Beyond the limit, the port stays unknown.
        if accept.local_port.is_some() && self.unfinished.len() < MAX_UNFINISHED {
            self.unfinished.insert(accept.tid, accept.clone());
        }
    }

    /// Completes the end of an accept call with the address and port from its beginning.
    #[inline(always)]
    fn finish_call(&mut self, connection: &mut Connection) {
        let tid = connection.process.as_ref();
        let tid = tid.and_then(|process| process.tid).unwrap_or(0);
        if let Some(accept) = self.unfinished.remove(&tid)
            && connection.local_port.is_none()
        {
            connection.local = accept.local;
            connection.local_port = accept.local_port;
        }
    }

    /// Whether a connection is to one of the ports and passes the filter.
    fn wants(&mut self, format: Format, connection: &Connection) -> anyhow::Result<bool> {
        if self.wants_all {
            return Ok(true);
        }
        self.knows_ports |= connection.local_port.is_some();
        if format == Format::Text
            && self.options.filter.local.is_some()
            && connection.local == Host::Unknown
        {
            bail!(
                "{}: --to needs the local address, which only the lines of --long have",
                self.input.name
            );
        }
        if !self.options.filter.wants(connection) {
            let is_known = matches!(connection.remote, Host::Address(_));
            // Unless lines are needed, the summary of a run counts these.
            let counts = !is_known && self.options.counts_each(format);
            self.stats.unknown_client += u64::from(counts);
            return Ok(false);
        }
        match connection.local_port {
            _ if self.options.ports.is_all() => Ok(true),
            Some(port) => Ok(self.options.ports.contains(port)),
            None if format == Format::Strace && !self.knows_ports => bail!(
                "{}: strace without -yy does not show the port of a connection: leave out \
                 --port, or run strace with -yy",
                self.input.name
            ),
            None => {
                // The summary of a run counts these.
                self.stats.unknown_port += u64::from(self.options.counts_each(format));
                Ok(false)
            }
        }
    }

    /// Counts and shows a connection; returns false if `show` wants no more.
    fn count(
        &mut self,
        format: Format,
        connection: &Connection,
        show: &mut impl FnMut(&Connection) -> bool,
    ) -> bool {
        self.stats.machines.add(connection.machine.as_ref());
        if self.options.counts_each(format) {
            let client = &connection.remote;
            add_to(
                &mut self.tally,
                &self.options,
                client,
                connection.local_port,
            );
        }
        show(connection)
    }

    /// Whether there was no record yet.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.stats.formats.is_empty()
    }

    /// What is counted so far, by group; what could make it wrong, and the statistics. The lines of a run
    /// whose summary may still come count.
    #[must_use]
    pub(crate) fn so_far(&self, by: Grouping) -> (Counts, Discrepancies, ReadStats) {
        let mut stats = self.stats.clone();
        add_input(&mut stats, self.input.clone());
        let open = self.options.wanted(self.runs.open().clone(), &mut stats);
        let mut tally = self.tally.clone();
        tally.add_all(open);
        stats.turned_away = tally.turned_away();
        (grouped(tally, by), self.discrepancies, stats)
    }

    /// What is counted in the end, likewise. What counting took is released as soon as it can be.
    #[must_use]
    pub(crate) fn into_counts(self, by: Grouping) -> (Counts, Discrepancies, ReadStats) {
        let (tally, discrepancies, stats) = self.finish();
        (grouped(tally, by), discrepancies, stats)
    }

    /// The counts, what could make them wrong, and the statistics.
    #[must_use]
    pub fn finish(mut self) -> (Tally, Discrepancies, ReadStats) {
        let tally = self.runs.finish();
        self.add_run(tally);
        add_input(&mut self.stats, self.input);
        self.stats.turned_away = self.tally.turned_away();
        (self.tally, self.discrepancies, self.stats)
    }
}

/// Counts a connection, by what can be in the rows.
fn add_to(tally: &mut Tally, options: &MergeOptions, client: &Host, local_port: Option<u16>) {
    match NetworkNames::of(options.names, client) {
        Some(name) => tally.add_key(GroupKey::Name(name), local_port, 1),
        None => tally.add(client, local_port, 1),
    }
}

fn grouped(tally: Tally, by: Grouping) -> Counts {
    let mut counts = Counts::new([Stage::Accepted]).by(by);
    counts.add_tally(Stage::Accepted, tally);
    counts
}

/// Adds an input, unless it is that before the first.
fn add_input(stats: &mut ReadStats, input: InputStats) {
    stats
        .inputs
        .extend((!input.name.is_empty()).then_some(input));
}

/// Adds with saturation: counts from a file can have any value.
fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}
