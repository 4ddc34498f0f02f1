//! What a run shows: the live lines, counts of them, and the summary at the end.

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
    rc::Rc,
    time::Duration,
};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use tokio::time::sleep;

use super::first::FirstConnections;
use crate::{
    count::{
        interval::{Interval, Periods},
        known::Known,
        over::Overs,
        profile::Profiles,
        ranking::Counts,
        seen::Seen,
        tally::Room,
    },
    model::{
        connection::Connection,
        discrepancies::Discrepancies,
        group::GroupBy,
        options::{Lines, Listing, ShowOptions, Top},
        over::{Over, OverEnd, OverGaps},
        scope::Scope,
        stage::{Stage, WatchedStages},
    },
    output::{Printer, Stdout, diagnostics, over_warnings},
    read::batch::Counted,
    report::{LineCounts, Origin, Report, Verdict},
    system::{
        stderr::{clear_status, say},
        stop::Stop,
        terminal,
    },
    trace::kernel::Reading,
};

/// How often to check whether standard output still has a reader.
pub const TICK: Duration = Duration::from_millis(500);

/// Said once. The other clients are those that came first.
const NO_ROOM_FOR_OVER: &str =
    "note: --over counts no further clients, as --max-clients allows no more";

/// How long the reader of standard output may take before a notice says that conn-cli waits.
const STALL_NOTICE_AFTER: Duration = Duration::from_secs(1);

/// The live lines: what to print, and what was printed.
#[derive(Debug)]
pub struct View {
    /// Where lines go.
    pub stdout: Stdout,
    /// Connections that arrived, at each watched stage.
    pub arrived: u64,
    printer: Printer,
    listing: Listing,
    /// The stage that is counted; None if all connections are at the same one.
    counted: Option<Stage>,
    wants_lines: bool,
    /// With `--new` or `--known`, the clients that are not new.
    known: Option<Known>,
    /// Whether the report is only about new clients, and whether it says who is new.
    reports_only_new: bool,
    names_new: bool,
    /// Lines of connections at the stage that is counted.
    connection_lines: u64,
    /// Lines that `--new` left out.
    left_out: u64,
    periods: Option<Periods>,
    /// Who is over the limit of `--over`, and what it could not do.
    overs: Overs,
    over_gaps: OverGaps,
    profiles: Option<Rc<Profiles>>,
    limit: Option<u64>,
    scope: Scope,
    seen: Seen,
    first: FirstConnections,
}

/// Why a run ended.
#[derive(Debug)]
pub enum End {
    /// It was stopped, or there is no more to show.
    Done,
    /// What a filter selects has ended.
    Target,
    /// Writing to standard output failed: with this error, or because its reader is gone.
    Output(Option<io::Error>),
}

impl View {
    /// A view for these options. `scope`: which connections they select. `live`: in a live run, the
    /// watched stages and the start. `known`: the result of [`Known::for_options`].
    #[must_use]
    pub fn new(
        options: &ShowOptions,
        scope: Scope,
        live: Option<(&WatchedStages, Timestamp)>,
        known: Option<Known>,
    ) -> Self {
        let (stages, started) = live.unzip();
        let zone = if options.utc {
            TimeZone::UTC
        } else {
            TimeZone::system()
        };
        Self {
            printer: Printer::new(options, live, &zone),
            listing: options.listing,
            counted: stages.map(WatchedStages::counted),
            stdout: Stdout::new(),
            wants_lines: options.wants_lines(),
            known,
            reports_only_new: options.reports_only_new(),
            names_new: options.known.is_some()
                && options.lines == Lines::NewClients
                && options.listing.by == GroupBy::Address.into(),
            connection_lines: 0,
            left_out: 0,
            periods: options.interval().map(|length| match started {
                Some(started) => Periods::live(length, started, zone),
                None => Periods::for_records(length, zone),
            }),
            overs: Overs::default(),
            over_gaps: OverGaps::default(),
            profiles: options.long.then(Rc::default),
            arrived: 0,
            limit: options.count,
            scope,
            seen: Seen::default(),
            first: FirstConnections::new(options.listing.by, stages),
        }
    }

    /// With room for the details of so many clients.
    #[must_use]
    pub fn within(mut self, room: Option<Room>) -> Self {
        if let Some(profiles) = &mut self.profiles {
            *profiles = Rc::new(Profiles::within(room));
        }
        self
    }

    /// Whether the limit of `--count` is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit
            .is_some_and(|limit| self.first.connections() >= limit)
    }

    /// Whether connections at the only stage have no part in it, but for their number and their times.
    #[must_use]
    pub(super) fn only_counts(&self) -> bool {
        self.limit.is_none()
            && self.profiles.is_none()
            && self.periods.is_none()
            && !self.wants_lines
    }

    /// Adds connections if it [only counts](Self::only_counts) them.
    pub(super) fn add_counted(&mut self, counted: &Counted) {
        self.arrived += counted.ends.len() as u64;
        self.seen.add_all(&counted.seen);
    }

    /// The connections up to the limit, if it is reached.
    #[must_use]
    pub(super) fn first_ones(&self) -> Option<&FirstConnections> {
        self.is_full().then_some(&self.first)
    }

    /// Whether the summary counts this connection.
    fn counts(&self, connection: &Connection) -> bool {
        self.counted
            .is_none_or(|counted| counted == connection.stage())
    }

    /// Takes what the programs report.
    #[inline]
    pub(super) fn take(&mut self, reading: Reading<'_>) {
        match reading {
            Reading::Connection(connection) => self.show(connection),
            Reading::Over(over) => {
                if !self.is_full() && self.overs.add(&over) {
                    self.show_over(&over);
                }
            }
        }
    }

    /// Whether anybody is over the limit, so that the end of an interval may have lines.
    #[must_use]
    pub(super) fn has_overs(&self) -> bool {
        self.overs.are_any()
    }

    /// Appends the lines of those that were no longer over the limit in this interval.
    pub(super) fn end_over(&mut self, end: OverEnd) {
        for over in self.overs.end(end) {
            self.show_over(&over);
        }
    }

    /// Appends a line of `--over`. Unlike other lines, it may be where there is a status line.
    fn show_over(&mut self, over: &Over) {
        clear_status();
        self.printer.over(self.stdout.buffer(), over);
    }

    /// What `--over` could not do so far, which is said at the end; that it has no more room also now.
    pub(super) fn set_over_gaps(&mut self, gaps: OverGaps) {
        if gaps.not_counted > 0 && self.over_gaps.not_counted == 0 {
            say(NO_ROOM_FOR_OVER);
        }
        self.over_gaps = gaps;
    }

    /// Appends a connection's line, unless the limit is reached.
    #[inline]
    pub fn show(&mut self, connection: &Connection) {
        self.arrived += 1;
        if self.is_full() {
            return;
        }
        if self.counted.is_none() {
            self.seen.add(&connection.time);
        }
        if !self.only_counts() {
            self.show_more(connection);
        }
    }

    /// Shows a connection where it is more than counted.
    fn show_more(&mut self, connection: &Connection) {
        let counts = self.counts(connection);
        if self.limit.is_some() {
            self.first.add(connection, counts);
        }
        if let (true, Some(profiles)) = (counts, &mut self.profiles) {
            // There is no report while connections arrive.
            Rc::make_mut(profiles).add(self.listing.by, connection);
        }
        if let (true, Some(periods)) = (counts, &mut self.periods) {
            let finished = periods.add(connection);
            self.append_rows(&finished);
        }
        if !self.wants_lines {
            return;
        }
        // One line for each new client, at the stage that is counted.
        if let Some(known) = &mut self.known
            && !(counts && known.is_new(&connection.remote))
        {
            self.left_out += 1;
            return;
        }
        self.connection_lines += u64::from(counts);
        self.printer.connection(self.stdout.buffer(), connection);
        self.stdout.count_line();
    }

    /// The time, at most `longest`, until [`Self::roll`] is due or, if standard output can close,
    /// [`Stdout::is_closed`] must be checked.
    #[must_use]
    pub fn patience(&self, longest: Duration) -> Duration {
        let left = self.periods.as_ref().and_then(Periods::left);
        let tick = self.stdout.can_close().then_some(TICK);
        [left, tick]
            .into_iter()
            .flatten()
            .fold(longest, Duration::min)
    }

    /// Whether what was dropped in the current interval must be counted from now on: once for each.
    #[must_use]
    pub(super) fn begin_drop_count(&mut self) -> bool {
        self.periods.as_mut().is_some_and(Periods::begin_drop_count)
    }

    /// How many packets were dropped since the last time, for the row that ends now, if there is one;
    /// None if that is not known.
    pub(super) fn set_dropped(&mut self, packets: Option<u64>) {
        if let Some(periods) = &mut self.periods {
            periods.set_dropped(packets);
        }
    }

    /// Appends the rows of the intervals that are over. `lost`: how many connections the kernel has
    /// counted but could not report so far.
    pub fn roll(&mut self, lost: u64) {
        if let Some(periods) = &mut self.periods {
            let finished = periods.roll(lost);
            self.append_rows(&finished);
        }
    }

    /// Adds the stretches of time of which there are records: see [`Periods::add_recorded`].
    pub(super) fn add_recorded(&mut self, stretches: &[(Timestamp, Timestamp)]) {
        if let Some(periods) = &mut self.periods {
            periods.add_recorded(stretches);
        }
    }

    fn append_rows(&mut self, rows: &[Interval]) {
        for row in rows {
            self.printer.interval(self.stdout.buffer(), row);
        }
    }

    /// Leaves known clients out of the counts, if the report is only about new ones. Returns whether it is.
    pub(super) fn keep_reported(&self, counts: &mut Counts) -> bool {
        if let (true, Some(known)) = (self.reports_only_new, &self.known) {
            counts.retain(|client| !known.lists(client));
        }
        self.reports_only_new
    }

    /// What to say after a total of all connections, if the report is not about all of them.
    pub(super) fn beside_total(&self) -> &'static str {
        if self.reports_only_new {
            ", those of known addresses included"
        } else {
            ""
        }
    }

    /// The report on these counts, which [`Self::keep_reported`] has seen, for this file: if it is a
    /// terminal, what fits its screen.
    #[must_use]
    pub(super) fn report(
        &self,
        counts: Counts,
        discrepancies: Discrepancies,
        origin: Origin,
        file: impl AsFd,
    ) -> Report {
        let profiles = self.profiles.clone();
        let known = self.known.as_ref().filter(|_| self.names_new);
        let report = Report::new(counts, profiles, self.listing, discrepancies, origin, known);
        let mut report = Report {
            only_new: self.reports_only_new,
            scope: self.scope.clone(),
            period: match report.live() {
                Some(live) => Some(live.period),
                None => self.seen.times_of(report.connections),
            },
            ..report
        };
        let screen = terminal::size(file).filter(|_| self.listing.top == Top::Screen);
        if let Some(rows) = screen.and_then(|screen| self.room(&report, screen)) {
            report.fit(rows);
        }
        report
    }

    /// For how many rows of a report a screen has room, if it is the one that shows the messages, too.
    fn room(&self, report: &Report, screen: terminal::Size) -> Option<usize> {
        let messages = if io::stderr().is_terminal() {
            self.messages(report, LineCounts::default())
        } else {
            Vec::new()
        };
        self.printer.room(report, screen, &messages)
    }

    /// What to say after the report.
    fn messages(&self, report: &Report, lines: LineCounts) -> Vec<String> {
        let mut messages = diagnostics(report, self.wants_lines.then_some(lines));
        messages.extend(self.printer.notes(report));
        messages
    }

    /// Shows the totals so far: with `--json` on standard output, else on standard error, where they are
    /// not taken for the results. `lost`: how many connections could not be reported one by one. The
    /// others count as shown, though some have still to arrive.
    pub(super) fn show_totals(&mut self, report: &Report, lost: u64) {
        let lines = self.line_counts(report, report.events().saturating_sub(lost + self.left_out));
        let out = self.stdout.buffer();
        if let Some(text) = self.printer.totals(out, report, lines) {
            say(text);
            for message in self.messages(report, lines) {
                say(message);
            }
        }
    }

    /// Prints the report and the diagnostics, except for the total. Returns whether the count can be trusted.
    ///
    /// # Errors
    /// Why writing to standard output failed, unless its reader is gone.
    pub async fn conclude(
        mut self,
        report: &Report,
        stop: &mut Stop,
        end: End,
    ) -> anyhow::Result<Verdict> {
        let last = self.periods.as_mut().map_or(Vec::new(), Periods::finish);
        self.append_rows(&last);
        let (interrupted, end) = match end {
            End::Done | End::Target => {
                // Lines that are not yet written count as shown: if they are never written, nobody
                // reads this report either.
                let lines = self.line_counts(report, self.arrived - self.left_out);
                tokio::select! {
                    biased;
                    sent = self.send_report(report, lines) => (false, sent.map_or_else(End::output, |()| end)),
                    () = stop.insisted() => (true, end),
                    never = explain_wait() => match never {},
                }
            }
            End::Output(_) => (false, end),
        };
        let lines = self.line_counts(report, self.stdout.lines_sent());
        if let End::Output(Some(_)) = end {
            let summary: String = self.printer.report(report, lines).collect();
            say(summary.trim_end());
        }
        for message in self.messages(report, lines) {
            say(message);
        }
        for discrepancy in self.periods.iter().flat_map(Periods::discrepancies) {
            say(format_args!("warning: {discrepancy}"));
        }
        for warning in over_warnings(self.over_gaps) {
            say(warning);
        }
        match end {
            _ if interrupted => Ok(Verdict::Interrupted),
            End::Output(Some(error)) => Err(error).context("cannot write to standard output"),
            End::Target => Ok(Verdict::TargetEnded),
            End::Output(None) | End::Done => Ok(report.verdict()),
        }
    }

    /// Writes what is pending and the report.
    async fn send_report(&mut self, report: &Report, lines: LineCounts) -> io::Result<()> {
        for part in self.printer.report(report, lines) {
            self.stdout.write(&part).await?;
        }
        self.stdout.send().await
    }

    /// How many lines were shown, and how many requested ones were not.
    fn line_counts(&self, report: &Report, shown: u64) -> LineCounts {
        if !self.wants_lines {
            return LineCounts::default();
        }
        let wanted = report.events().saturating_sub(self.left_out);
        let shown = wanted.min(shown);
        let several = report.earlier_stages().next().is_some();
        LineCounts {
            shown,
            not_shown: wanted - shown,
            connections: several.then_some(self.connection_lines),
        }
    }
}

impl End {
    /// How a run ends after this error of standard output.
    #[must_use]
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Output(None),
            _ => Self::Output(Some(error)),
        }
    }
}

/// Says what conn-cli waits for, if it takes long.
async fn explain_wait() -> Infallible {
    sleep(STALL_NOTICE_AFTER).await;
    say(
        "waiting for the reader of standard output; press Ctrl-C again to stop without writing the rest",
    );
    std::future::pending().await
}
