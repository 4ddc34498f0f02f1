//! The status line of a run without lines, which shows that it counts.

use std::{
    env,
    io::{self, IsTerminal as _},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::{
    model::{
        exactness::Exactness,
        group::{GroupBy, Grouping},
        options::{Lines, TraceOptions},
    },
    output::{SoFar, status},
    system::stderr,
    trace::kernel::Tracer,
};

const DRAW_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest time between two reads of the totals.
const READ_INTERVAL: Duration = Duration::from_secs(3);

/// How many entries the maps of totals may have to be read: each takes two system calls.
const MAX_ENTRIES: u64 = 1000;

/// The status line, and what it showed.
#[derive(Debug)]
pub(super) struct Status {
    /// When to draw it next; None for never.
    due: Option<Instant>,
    /// Whether each group has one entry in the maps of totals.
    has_entry_each: bool,
    by: Grouping,
    /// The time and the connections when it was drawn last.
    drawn: (Duration, u64),
    clients: Clients,
}

/// What only the maps of totals know, as far as it may be known.
#[derive(Debug, Default)]
struct Clients {
    read: Option<Instant>,
    groups: Option<u64>,
    top: Option<(String, u64)>,
}

impl Status {
    /// The status line for these options, if there is one: in text, on a terminal that can clear a line.
    pub(super) fn new(options: &TraceOptions) -> Self {
        let show = &options.show;
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_wanted = show.lines == Lines::None && !show.json;
        let is_shown = is_wanted && !is_dumb && io::stderr().is_terminal();
        let by = show.listing.by;
        let is_key = !matches!(
            by.what(),
            GroupBy::Network(..) | GroupBy::Name(_) | GroupBy::Port
        );
        Self {
            due: is_shown.then(Instant::now),
            has_entry_each: is_key && show.ports.is_single() && !options.stages.are_several(),
            by,
            drawn: (Duration::ZERO, 0),
            clients: Clients::default(),
        }
    }

    /// Whether there is one.
    pub(super) fn is_shown(&self) -> bool {
        self.due.is_some()
    }

    /// Returns when [`Self::draw`] is due. Cancel safe.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Draws it. `exactness`: that of the run; None if the kernel preempts its own code.
    pub(super) fn draw(&mut self, tracer: &Tracer, exactness: Option<&Exactness>) {
        let sums = tracer.sums();
        self.clients.update(tracer, sums.entries, exactness);
        let (elapsed, connections) = (tracer.elapsed(), sums.connections);
        let (before, counted_before) = self.drawn;
        let seconds = elapsed.saturating_sub(before).as_secs_f64();
        let recent = connections.saturating_sub(counted_before);
        let entries = (self.has_entry_each && !sums.lacks_entries).then_some(sums.entries);
        stderr::status(&status(&SoFar {
            elapsed,
            counted: tracer.stages().counted(),
            connections,
            by: self.by,
            groups: entries.or(self.clients.groups),
            per_second: (recent as f64 / seconds).round() as u64,
            top: self.clients.top.clone(),
        }));
        self.drawn = (elapsed, connections);
        self.due = Some(Instant::now() + DRAW_INTERVAL);
    }
}

impl Clients {
    /// Reads them, if that costs little and nobody misses an accept for it. A system call that reads a map
    /// makes the kernel skip kprobe programs on its CPU, those of other tools too. If the kernel does not
    /// preempt the call, no task accepts there meanwhile. If it does, the line has only what is mapped.
    fn update(&mut self, tracer: &Tracer, entries: u64, exactness: Option<&Exactness>) {
        let Some(exactness) = exactness.filter(|_| entries <= MAX_ENTRIES) else {
            *self = Self::default();
            return;
        };
        let is_recent = |read: Instant| read.elapsed() < READ_INTERVAL;
        if entries == 0 || self.read.is_some_and(is_recent) {
            return;
        }
        self.read = Some(Instant::now());
        let Ok(totals) = tracer.totals_so_far(exactness) else {
            return;
        };
        let ranking = totals.counts.ranked();
        self.groups = Some(ranking.connected() as u64);
        let first = ranking.clients().next();
        self.top = first.map(|client| (client.key.to_string(), client.connections));
    }
}
