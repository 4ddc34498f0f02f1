//! What a run shows: the live lines, what is known of them, and the summary that ends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    time::Duration,
};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use tokio::time::sleep;

use crate::{
    cli::ShowArgs,
    connection::{Connection, Hook, Source, Stage},
    interval::{Interval, Periods},
    kernel::{Discrepancies, Reported},
    known::Known,
    output::{Printer, Stdout, diagnostics, say},
    profile::Profiles,
    stop::Stop,
    summary::{Listing, Origin, Summary, Verdict},
    tally::Tally,
};

/// How often it is looked whether anybody still reads.
pub const TICK: Duration = Duration::from_millis(500);

/// How long the reader of standard output may take before it is said that it is waited for.
const STALL_NOTICE_AFTER: Duration = Duration::from_secs(1);

/// The live lines: what is to be printed, and what has been.
#[derive(Debug)]
pub struct View {
    /// Where lines go.
    pub stdout: Stdout,
    /// What came to be shown: connections, at each stage that was watched.
    pub arrived: u64,
    printer: Printer,
    listing: Listing,
    /// The stage that is counted; None if all are the same.
    counted: Option<Stage>,
    wants_lines: bool,
    /// With `--new`, who is not new.
    known: Option<Known>,
    /// Lines of connections at the stage that is counted.
    connection_lines: u64,
    /// Lines that `--new` left out.
    left_out: u64,
    periods: Option<Periods>,
    profiles: Option<Profiles>,
    limit: Option<u64>,
    first: FirstConnections,
}

/// The connections up to the limit of `--count`. With a limit that was reached, the summary
/// is of these and of no other.
#[derive(Clone, Debug, Default)]
pub struct FirstConnections {
    /// Those at the stage that is counted, which the limit is for.
    pub tally: Tally,
    /// Those at other stages.
    pub earlier: BTreeMap<Stage, Tally>,
    /// Those that only the second hook of the pair saw.
    pub second_hook_only: u64,
    /// How many there are in `tally`, which would have to be summed for it.
    counted: u64,
}

/// Why a run ended.
#[derive(Debug)]
pub enum End {
    /// It was asked to, or there is no more to show.
    Done,
    /// Standard output takes no more: its reader is gone, or this error.
    Output(Option<io::Error>),
}

impl View {
    /// As `args` say. `live`: for connections as they come, the stages that are watched, and since
    /// when. `known`: what [`Known::asked`] has read.
    #[must_use]
    pub fn new(
        args: &ShowArgs,
        live: Option<(&BTreeSet<Stage>, Timestamp)>,
        known: Option<Known>,
    ) -> Self {
        let (stages, begun) = live.unzip();
        let zone = match args.utc {
            true => TimeZone::UTC,
            false => TimeZone::system(),
        };
        let counted = stages.and_then(|stages| stages.last().copied());
        Self {
            printer: Printer::new(args, stages, &zone),
            listing: args.listing(),
            counted,
            stdout: Stdout::new(),
            wants_lines: args.wants_lines(),
            known,
            connection_lines: 0,
            left_out: 0,
            periods: args.interval.map(|length| match begun {
                Some(begun) => Periods::live(length, begun, zone),
                None => Periods::for_records(length, zone),
            }),
            profiles: args.long.then(Profiles::default),
            arrived: 0,
            limit: args.count,
            first: FirstConnections::new(stages),
        }
    }

    /// Whether the limit of `--count` is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.first.counted >= limit)
    }

    /// The connections up to the limit, if that is reached.
    #[must_use]
    pub fn first_ones(&self) -> Option<FirstConnections> {
        self.is_full().then(|| self.first.clone())
    }

    /// Which connections the kernel is to report, not only to count. Those at earlier stages
    /// would take the places of others in the ring buffer.
    #[must_use]
    pub fn wants(args: &ShowArgs) -> Reported {
        if args.wants_lines() || args.count.is_some() {
            Reported::All
        } else if args.interval.is_some() || args.long {
            Reported::Last
        } else {
            Reported::None
        }
    }

    /// Whether it matters which task accepts a connection, and in which network namespace.
    #[must_use]
    pub fn wants_details(args: &ShowArgs) -> bool {
        args.json || args.by.needs_task()
    }

    /// Whether a connection is one of those that the summary counts.
    fn counts(&self, connection: &Connection) -> bool {
        self.counted
            .is_none_or(|counted| counted == connection.stage())
    }

    /// Appends a connection's line, unless the limit is reached.
    pub fn show(&mut self, connection: &Connection) {
        let too_late = self.is_full();
        self.arrived += 1;
        if too_late {
            return;
        }
        let counts = self.counts(connection);
        if self.limit.is_some() {
            self.first.add(connection, counts, self.listing);
        }
        if let (true, Some(profiles)) = (counts, &mut self.profiles) {
            profiles.add(self.listing.by, connection);
        }
        if let (true, Some(periods)) = (counts, &mut self.periods) {
            let over = periods.add(connection);
            self.rows(&over);
        }
        if !self.wants_lines {
            return;
        }
        // One line for each, when it has got as far as is counted.
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

    /// How long there may be nothing to do before [`Self::roll`] is due or, if somebody reads, it
    /// is to be looked whether they still do. At most `longest`.
    #[must_use]
    pub fn patience(&self, longest: Duration) -> Duration {
        let left = self.periods.as_ref().and_then(Periods::left);
        let tick = self.stdout.can_close().then_some(TICK);
        [left, tick]
            .into_iter()
            .flatten()
            .fold(longest, Duration::min)
    }

    /// Appends the rows of the intervals that are over. `lost`: how many connections the kernel
    /// has counted so far that could not be reported.
    pub fn roll(&mut self, lost: u64) {
        if let Some(periods) = &mut self.periods {
            let over = periods.roll(lost);
            self.rows(&over);
        }
    }

    fn rows(&mut self, rows: &[Interval]) {
        for row in rows {
            self.printer.interval(self.stdout.buffer(), row);
        }
    }

    /// The summary of what was counted at the last stage, and at those before it.
    #[must_use]
    pub fn summary(
        &self,
        tally: Tally,
        earlier: BTreeMap<Stage, Tally>,
        discrepancies: Discrepancies,
        origin: Origin,
    ) -> Summary {
        let profiles = self.profiles.as_ref();
        Summary::new(
            tally,
            earlier,
            profiles,
            self.listing,
            discrepancies,
            origin,
        )
    }

    /// Prints the summary and says the account. Returns whether the count is to be trusted.
    ///
    /// # Errors
    /// Why standard output takes no more, unless its reader is gone.
    pub async fn conclude(
        &mut self,
        mut summary: Summary,
        stop: &mut Stop,
        end: End,
    ) -> anyhow::Result<Verdict> {
        let last = self.periods.as_mut().map_or(Vec::new(), Periods::finish);
        self.rows(&last);
        let (insisted, end) = match end {
            End::Done => {
                // Of the lines not yet written it is assumed that they will be: otherwise
                // nobody reads this either.
                self.count_lines(&mut summary, self.arrived - self.left_out);
                self.printer.summary(self.stdout.buffer(), &summary);
                tokio::select! {
                    biased;
                    sent = self.stdout.send() => (false, sent.map_or_else(End::output, |()| end)),
                    () = stop.insisted() => (true, end),
                    never = explain_the_wait() => match never {},
                }
            }
            End::Output(_) => (false, end),
        };
        self.count_lines(&mut summary, self.stdout.lines_sent());
        for line in diagnostics(&summary, self.wants_lines) {
            say(line);
        }
        for discrepancy in self.periods.iter().flat_map(Periods::discrepancies) {
            say(format_args!("warning: {discrepancy}"));
        }
        match end {
            // What waits to be written holds a thread, which only this ends.
            _ if insisted => std::process::exit(130),
            End::Output(Some(error)) => Err(error).context("cannot write to standard output"),
            End::Output(None) | End::Done => Ok(summary.verdict()),
        }
    }

    /// Says in the summary how many lines there were, and how many there were not though they
    /// were asked for.
    fn count_lines(&self, summary: &mut Summary, shown: u64) {
        if self.wants_lines {
            let wanted = summary.events().saturating_sub(self.left_out);
            summary.lines_shown = wanted.min(shown);
            summary.lines_not_shown = wanted - summary.lines_shown;
            let several = summary.earlier_stages().next().is_some();
            summary.connection_lines = several.then_some(self.connection_lines);
        }
    }
}

impl FirstConnections {
    /// None yet, at any of these stages.
    fn new(stages: Option<&BTreeSet<Stage>>) -> Self {
        let last = stages.and_then(|stages| stages.last());
        let earlier = stages
            .into_iter()
            .flatten()
            .filter(|stage| Some(*stage) != last);
        Self {
            earlier: earlier.map(|stage| (*stage, Tally::default())).collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, connection: &Connection, counts: bool, listing: Listing) {
        let tally = match counts {
            true => &mut self.tally,
            false => self.earlier.entry(connection.stage()).or_default(),
        };
        tally.add_key(listing.by.key(connection), connection.local_port, 1);
        self.counted += u64::from(counts);
        let by_second_hook = connection.source == Source::Hook(Hook::Kprobe);
        self.second_hook_only += u64::from(by_second_hook);
    }
}

impl End {
    /// The end that an error of standard output is.
    #[must_use]
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Output(None),
            _ => Self::Output(Some(error)),
        }
    }
}

/// Says, if it takes long, what is waited for.
async fn explain_the_wait() -> Infallible {
    sleep(STALL_NOTICE_AFTER).await;
    say("waiting for the reader of standard output; another Ctrl-C ends it without the rest");
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use jiff::Timestamp;

    use super::*;
    use crate::{
        cli::Args,
        connection::{Host, When},
    };

    fn connection(client: u8, hook: Hook) -> Connection {
        Connection {
            time: When::At(Timestamp::UNIX_EPOCH),
            remote: Host::at([192, 0, 2, client]),
            remote_port: Some(40000),
            local: Host::at([192, 0, 2, 100]),
            local_port: Some(80),
            family: None,
            process: None,
            netns: None,
            wait: None,
            source: Source::Hook(hook),
        }
    }

    fn view(args: &[&str]) -> View {
        let args = Args::parse_from([&["conn-cli", "--utc"], args].concat());
        let known = Known::from_args(&args.trace.show).unwrap();
        View::new(
            &args.trace.show,
            Some((&[Stage::Accepted].into(), Timestamp::now())),
            known,
        )
    }

    fn lines(view: &mut View) -> usize {
        let text = String::from_utf8(view.stdout.buffer().clone()).unwrap();
        text.lines().count()
    }

    #[test]
    fn the_limit_cuts_lines_and_summary_alike() {
        let mut view = view(&["--count", "2"]);
        view.show(&connection(1, Hook::Kretprobe));
        assert!(view.first_ones().is_none());
        view.show(&connection(2, Hook::Kprobe));
        view.show(&connection(3, Hook::Kprobe));
        assert_eq!(lines(&mut view), 2);
        assert_eq!(view.arrived, 3);
        let first = view.first_ones().unwrap();
        assert_eq!(first.tally.connections(), 2);
        assert_eq!(first.second_hook_only, 1);
    }

    #[test]
    fn quiet_counts_without_lines() {
        let mut view = view(&["--quiet", "--count", "2"]);
        view.show(&connection(1, Hook::Fentry));
        assert_eq!(lines(&mut view), 0);
        assert_eq!(view.arrived, 1);
    }

    #[test]
    fn details_are_for_those_who_show_them() {
        let wants = |options: &[&str]| {
            let args = Args::parse_from([&["conn-cli"], options].concat());
            View::wants_details(&args.trace.show)
        };
        assert!(wants(&["--json"]));
        assert!(wants(&["--by", "process"]));
        assert!(!wants(&["--long"]));
    }

    #[test]
    fn without_a_limit_everything_is_shown() {
        let mut view = view(&[]);
        for client in 0..100 {
            view.show(&connection(client, Hook::Fentry));
        }
        assert_eq!(lines(&mut view), 100);
        assert!(view.first_ones().is_none());
    }
}
