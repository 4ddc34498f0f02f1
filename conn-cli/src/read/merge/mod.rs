//! Counts the parsed batches in the order of the records: the result does not depend on the
//! threads that parsed them.

use std::{collections::HashMap, mem};

use anyhow::bail;

mod copies;
mod generations;
mod keys;
pub(crate) mod repeats;
pub(crate) mod runs;
#[cfg(test)]
mod tests;
mod text;

use self::{
    repeats::{Repeats, Shown},
    runs::Runs,
    text::OwnText,
};
use super::{
    batch::Batch,
    event::{Accept, Event, FirstParseError, PacketId, Run},
    wrap::Wrapper,
};
use crate::{
    count::{
        ranking::Counts,
        tally::{Room, Tally},
    },
    model::{
        connection::{Connection, Host},
        discrepancies::Discrepancies,
        filter::EndsFilter,
        format::Format,
        group::{GroupKey, Grouping},
        period::Period,
        ports::PortSet,
        read_stats::{InputStats, ReadStats},
        stage::Stage,
    },
};

/// The most unfinished accept calls that are remembered.
const MAX_UNFINISHED: usize = 1 << 18;

/// What to count.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// The server's ports.
    pub ports: PortSet,
    /// The connections to these ports.
    pub filter: EndsFilter,
    /// When the connections were made.
    pub period: Period,
    /// Whether a record that is not understood is an error.
    pub strict: bool,
    /// Whether a repeated SYN counts.
    pub every_packet: bool,
    /// Whether connections without a line of their own are an error.
    pub lines_only: bool,
    /// Whether connections whose client neither a line nor the summary names are an error.
    pub all_addresses: bool,
}

impl MergeOptions {
    /// Whether the options need lines: the summary of a run has no local addresses, and no times.
    fn needs_lines(&self) -> bool {
        self.filter.local.is_some() || !self.period.is_unbounded()
    }

    /// Whether connections in this format are counted one by one: otherwise the summary of a run does it.
    fn counts_each(&self, format: Format) -> bool {
        !is_own(format) || self.needs_lines()
    }

    /// The connections of a run that are wanted; `stats` gets those of which that is not known.
    fn wanted(&self, run: Tally, stats: &mut ReadStats) -> Tally {
        if self.needs_lines() {
            return Tally::default();
        }
        let (mut tally, unknown_port) = run.to_ports(&self.ports);
        if self.filter != EndsFilter::default() {
            let unknown = tally.retain(|key| match key {
                GroupKey::Client(Host::Address(address)) => {
                    Some(self.filter.wants_client(&Host::Address(*address)))
                }
                _ => None,
            });
            add(&mut stats.unknown_client, unknown);
        }
        add(&mut stats.unknown_port, unknown_port);
        tally
    }
}

/// Counts batches.
#[derive(Debug)]
pub struct Merge {
    options: MergeOptions,
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
            if is_own(format) {
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

    /// Adds the lines, packets and parse errors of a batch.
    fn add_stats(&mut self, batch: &Batch) -> anyhow::Result<()> {
        if let Some(recognised) = &batch.recognised {
            let layers = recognised.encoding.wrappers.layers();
            self.input.inside = layers.map(Wrapper::name).collect();
            self.input.tie = recognised.tie;
            self.input.needs_all = batch.format == Format::Ulogd && !recognised.is_given;
        }
        if let Some(first) = &batch.first_not_understood {
            let (what, before) = match batch.packets {
                0 => ("line", self.input.lines),
                _ => ("packet", self.input.packets),
            };
            let mut text = format!(
                "{what} {} of {}: {}",
                before + first.index + 1,
                self.input.name,
                first.parse_error
            );
            if !first.line.is_empty() {
                text += &format!(": '{}'", first.line);
            }
            if self.input.needs_all {
                bail!(
                    "{text}: it is not ulogd's, so another program may have written the other lines, too; \
                     --format ulogd believes them"
                );
            }
            if self.options.strict {
                bail!("{text}");
            }
            self.input
                .first_not_understood
                .get_or_insert_with(|| text.clone());
            self.add_parse_errors(batch.not_understood, Some(text));
        }
        self.stats.forgot_syns |= !self.options.every_packet && self.repeats.is_crowded();
        self.stats.formats.insert(batch.format);
        self.input.format = Some(batch.format);
        self.stats.lines += batch.lines;
        self.stats.packets += batch.packets;
        for (link_type, packets) in &batch.unknown_link_types {
            *self.stats.unknown_link_types.entry(*link_type).or_default() += packets;
        }
        self.input.lines += batch.lines;
        self.input.packets += batch.packets;
        self.input.understood += batch.understood;
        self.input.records += batch.events.len() as u64;
        Ok(())
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
        if self.options.counts_each(format) {
            self.tally.add(&connection.remote, connection.local_port, 1);
        }
        show(connection)
    }

    /// Checks that the port of some of a run's connections is known, if only some ports are wanted.
    fn check_ports(&self, run: &Tally) -> anyhow::Result<()> {
        let is_known = run.each().any(|((_, port), _)| port.is_some());
        if !self.options.ports.is_all() && run.connections() > 0 && !is_known {
            bail!(
                "{}: --port needs the port of each connection, which neither a line nor the summary names",
                self.input.name
            );
        }
        Ok(())
    }

    fn take_run(&mut self, run: &mut Run) -> anyhow::Result<()> {
        let needs_lines = self.options.lines_only || self.options.needs_lines();
        if needs_lines && run.tally.connections() > self.runs.lines() {
            let option = match self.options.period {
                _ if self.options.lines_only => "--count",
                _ if self.options.filter.local.is_some() => "--to",
                Period { since: Some(_), .. } => "--since",
                _ => "--until",
            };
            bail!(
                "{}: {option} needs a line for each connection, but some of {} are only in the \
                 summary",
                self.input.name,
                run.tally.connections()
            );
        }
        if let Some(option) = run.partial
            && self.options.all_addresses
            && !run.has_all_lines(self.runs.lines())
        {
            bail!(
                "{}: the summary does not name all addresses ({option})",
                self.input.name
            );
        }
        let lines = self.runs.lines();
        let tally = self.runs.finish_run(run);
        if run.lines_shown.is_none() {
            self.check_ports(&tally)?;
        }
        let (connections, unknown_port) = (tally.connections(), self.stats.unknown_port);
        self.add_run(tally);
        if run.lines_shown.is_none() {
            let unknown = self.stats.unknown_port - unknown_port;
            let without_line = connections.saturating_sub(lines).min(unknown);
            add(&mut self.stats.without_line, without_line);
        }
        self.discrepancies.add(&run.discrepancies);
        add(&mut self.stats.repeated, run.stats.repeated);
        add(
            &mut self.stats.repeated_by_ports,
            run.stats.repeated_by_ports,
        );
        add(&mut self.stats.duplicates, run.stats.duplicates);
        self.stats.forgot_syns |= run.stats.forgot_syns;
        add(&mut self.stats.inner, run.stats.inner);
        add(&mut self.stats.unknown_type, run.stats.unknown_type);
        add(&mut self.stats.unknown_port, run.stats.unknown_port);
        add(&mut self.stats.unknown_client, run.stats.unknown_client);
        add(&mut self.stats.unknown_time, run.stats.unknown_time);
        let (parse_errors, first) = (run.stats.not_understood, &run.stats.first_not_understood);
        if self.options.strict && parse_errors > 0 {
            let first = first.as_deref().unwrap_or("a record");
            bail!(
                "{}: this run of conn-cli did not understand {first}",
                self.input.name
            );
        }
        self.add_parse_errors(parse_errors, first.clone());
        Ok(())
    }

    /// Adds the connections of a run, filtered.
    fn add_run(&mut self, tally: Tally) {
        let tally = self.options.wanted(tally, &mut self.stats);
        self.tally.add_all(tally);
    }

    /// Adds `count` parse errors; `first` describes the first.
    fn add_parse_errors(&mut self, count: u64, first: Option<String>) {
        add(&mut self.stats.not_understood, count);
        if self.stats.first_not_understood.is_none() {
            self.stats.first_not_understood = first;
        }
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

fn grouped(tally: Tally, by: Grouping) -> Counts {
    let mut counts = Counts::new([Stage::Accepted]).by(by);
    counts.add_tally(Stage::Accepted, tally);
    counts
}

/// Whether this is a format of conn-cli itself, which has the summaries of runs.
fn is_own(format: Format) -> bool {
    matches!(format, Format::Json | Format::Text)
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
