//! Reading records: from the inputs to the summary.

use std::{
    io::{self, IsTerminal as _},
    num::NonZeroUsize,
    path::PathBuf,
    thread::available_parallelism,
    time::Duration,
};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use tokio::time::timeout;

use super::{
    first::FirstConnections,
    view::{End, TICK, View},
};
use crate::{
    count::{known::Known, ranking::Counts, tally::Room},
    model::{
        discrepancies::Discrepancies,
        group::{GroupBy, Grouping},
        options::{Lines, ReadOptions},
        read_stats::InputStats,
        scope::Scope,
        stage::Stage,
    },
    output::{Counted, inputs, total},
    read::{
        dates::{Dates, WantedDates},
        feed::{Feed, FeedItem},
        how::How,
        input,
        merge::{Merge, MergeOptions},
        progress::Progress,
    },
    report::{Origin, Verdict},
    system::{
        memory,
        stderr::say,
        stop::{Stop, TotalsRequests},
    },
};

/// How long to wait for the rest of a pipe after Ctrl-C, which its writer receives too.
const PIPE_END_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of `conn-cli read`.
struct Reading {
    feed: Feed,
    /// None if times are not wanted.
    dates: Option<Dates>,
    merge: Merge,
    view: View,
    by: Grouping,
    progress: Progress,
    inputs: usize,
    failed: usize,
}

/// Reads records as `options` say, until their end or until it is stopped, and prints the summary.
/// Returns whether the count can be trusted.
///
/// # Errors
/// If not all records can be read.
pub async fn read(options: &ReadOptions) -> anyhow::Result<Verdict> {
    let inputs = options.files.clone();
    if inputs.iter().any(|path| input::is_terminal(path)) {
        say("reading from the terminal; name a FILE, or pipe records in");
    }
    let is_live = |path: &PathBuf| input::is_stdin(path) && input::length(path).is_none();
    let has_live_input = inputs.iter().any(is_live);
    let mut stop = Stop::watch()?;
    let mut requests = TotalsRequests::watch()?;
    if let Some(duration) = options.show.duration {
        stop.after(duration);
    }
    let mut reading = Reading::begin(options, inputs)?;
    let ended = loop {
        tokio::select! {
            biased;
            () = stop.wait() => break None,
            () = requests.next() => reading.show_totals(),
            end = reading.follow() => break Some(end?),
        }
    };
    let end = match ended {
        // Ctrl-C ends the rest of the pipeline, too: read what its programs still write.
        None if has_live_input && stop.was_interrupted() => tokio::select! {
            () = stop.insisted() => None,
            end = timeout(PIPE_END_TIMEOUT, reading.follow()) => end.ok().transpose()?,
        },
        ended => ended,
    };
    let end = end.unwrap_or_else(|| {
        reading.progress.end();
        // A live input has no end of its own, but after Ctrl-C its writer should have ended it.
        if stop.was_interrupted() || !has_live_input {
            say("stopped before the end of the records");
        }
        End::Done
    });
    reading.conclude(&mut stop, end).await
}

/// The room for clients, as `--max-clients` says, or else a quarter of the machine's memory for this many
/// inputs that are counted apart.
pub(super) fn room(max_clients: Option<u32>, inputs: u64) -> Option<Room> {
    match max_clients {
        Some(most) => Some(Room::Clients(most as usize)),
        None => memory::size().map(|bytes| Room::Memory(bytes / 4 / inputs)),
    }
}

impl Reading {
    fn begin(options: &ReadOptions, inputs: Vec<PathBuf>) -> anyhow::Result<Self> {
        let cpus = available_parallelism().map_or(1, NonZeroUsize::get);
        let jobs = options.jobs.unwrap_or(cpus);
        let show = &options.show;
        let assumes = show.interval().is_some() || show.long || !options.period.is_unbounded();
        let times = show.lines != Lines::None || assumes;
        // That of the records, with --utc, too.
        let zone = TimeZone::system();
        let shown_zone = if show.utc { &TimeZone::UTC } else { &zone };
        let scope = Scope::for_records(show).within(options.period, shown_zone);
        // On a terminal, the bar would overwrite the lines.
        let bar_fits = show.lines == Lines::None || !io::stdout().is_terminal();
        let bytes = inputs.iter().map(|path| input::length(path)).sum();
        let progress = Progress::new(Some(bytes).filter(|_| bar_fits).flatten());
        let view = View::new(show, scope, None, Known::for_options(show)?);
        let merge = MergeOptions {
            ports: show.ports.clone(),
            filter: show.ends.clone(),
            period: options.period,
            strict: options.records.strict,
            every_packet: options.records.every_packet,
            lines_only: show.count.is_some(),
            all_addresses: false,
            names: show
                .names
                .filter(|names| show.listing.by.what() == GroupBy::Name(names)),
        };
        let mut how = How::new(&options.records, times);
        // The JSON of each connection, or that of the summary, names its machine.
        how.wanted.machines = show.json;
        how.wanted.only_counts = view.only_counts() && merge.want_all() && !show.json;
        Ok(Self {
            view: view.within(room(options.records.max_clients, 1)),
            by: show.listing.by,
            merge: Merge::new(merge).within(room(options.records.max_clients, 1)),
            inputs: inputs.len(),
            failed: 0,
            feed: Feed::start(
                inputs,
                how,
                jobs,
                assumes.then(|| WantedDates {
                    zone: zone.clone(),
                    runs: show.interval().is_some(),
                }),
                progress.bar(),
            )
            .context("cannot start a thread")?,
            dates: times.then(|| Dates::new(zone, assumes)),
            progress,
        })
    }

    /// Counts and shows until the end of the records, until the limit is reached, or until the
    /// reader of standard output is gone. Cancel safe.
    async fn follow(&mut self) -> anyhow::Result<End> {
        loop {
            if let Err(error) = self.view.stdout.send().await {
                return Ok(End::output(error));
            }
            if self.view.is_full() {
                return Ok(End::Done);
            }
            self.progress.show_if_long();
            match timeout(TICK, self.feed.next()).await {
                Ok(None) => return Ok(End::Done),
                Ok(Some(item)) => {
                    if let Err(error) = self.take(item) {
                        // Prints the lines before the error.
                        self.progress.end();
                        let _ = self.view.stdout.send().await;
                        return Err(error);
                    }
                }
                Err(_) if self.view.stdout.is_closed() => return Ok(End::Output(None)),
                Err(_) => (),
            }
        }
    }

    fn take(&mut self, item: FeedItem) -> anyhow::Result<()> {
        match item {
            FeedItem::Begin(input, dates) => {
                self.merge.begin(input);
                if let Some(known) = &mut self.dates {
                    known.begin(dates);
                }
            }
            FeedItem::Batch(mut batch) => {
                let view = &mut self.view;
                if let Some(dates) = &mut self.dates {
                    dates.complete(&mut batch);
                    view.add_recorded(dates.stretches());
                }
                view.add_counted(&batch.counted);
                self.merge.take(&mut batch, &mut |connection| {
                    view.show(connection);
                    !view.is_full()
                })?;
                self.feed.recycle(batch);
            }
            FeedItem::Failed(why) => {
                let message = || say(format_args!("conn-cli: {why}"));
                self.progress.suspend(message);
                self.merge.fail();
                self.failed += 1;
            }
        }
        Ok(())
    }

    /// Shows the totals so far.
    fn show_totals(&mut self) {
        let (mut counts, discrepancies, origin) = self.counts();
        self.view.keep_reported(&mut counts);
        let view = &self.view;
        let report = view.report(counts, discrepancies, origin, io::stderr());
        // Those that records only sum up.
        let without_line = report.connections.saturating_sub(self.view.arrived);
        let view = &mut self.view;
        let show = || view.show_totals(&report, without_line);
        self.progress.suspend(show);
    }

    /// What is counted, or the connections up to the limit of `--count`.
    fn counts(&self) -> (Counts, Discrepancies, Origin) {
        let (counts, discrepancies, stats) = self.merge.so_far(self.by);
        let first = self.view.first_ones();
        let counts = first.map_or(counts, FirstConnections::counts);
        (counts, discrepancies, Origin::Records(stats))
    }

    async fn conclude(mut self, stop: &mut Stop, end: End) -> anyhow::Result<Verdict> {
        self.progress.end();
        if !self.view.is_full() {
            let view = &mut self.view;
            let ended = self.merge.end(&mut |connection| {
                view.show(connection);
                !view.is_full()
            });
            if ended.is_err() {
                // Prints the lines before the error.
                let _ = self.view.stdout.send().await;
            }
            ended?;
        }
        if self.failed == self.inputs && self.merge.is_empty() {
            // That is said already, and there is nothing to sum up.
            return Ok(Verdict::Incomplete);
        }
        let (counts, discrepancies, mut stats) = self.merge.into_counts(self.by);
        let first = self.view.first_ones();
        let mut counts = first.map_or(counts, FirstConnections::counts);
        for line in inputs(&stats) {
            say(line);
        }
        let mut is_understood = true;
        for why in { &stats.inputs }
            .iter()
            .filter_map(InputStats::nothing_understood)
        {
            say(format_args!("conn-cli: {why}"));
            is_understood = false;
        }
        // Said once, at the end.
        if let Some(dates) = &self.dates {
            stats.incomplete.clone_from(dates.incomplete());
        }
        let origin = Origin::Records(stats);
        let counted = Counted {
            number: counts.connections(Stage::Accepted),
            at_least: discrepancies.at_least,
            stage: Stage::Accepted,
        };
        say(total(counted, &origin) + self.view.beside_total());
        self.view.keep_reported(&mut counts);
        let view = &self.view;
        let report = view.report(counts, discrepancies, origin, io::stdout());
        let verdict = self.view.conclude(&report, stop, end).await?;
        Ok(match verdict {
            Verdict::Trusted if self.failed > 0 || !is_understood => Verdict::Incomplete,
            verdict => verdict,
        })
    }
}
