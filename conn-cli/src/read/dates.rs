//! Completes the times of records that lack a year, a day or a time zone.
//!
//! A record shows its time as it was recorded. But intervals and periods need a moment, so the one that
//! is most likely is assumed, and the report says so. The records of an input are in the order of
//! their times, or nearly so, and none is later than the last change of its file, or than now.

use std::{collections::BTreeMap, fs::File, sync::mpsc, time::Duration};

use jiff::{
    SignedDuration, Timestamp, ToSpan as _,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone},
};
use memchr::memmem;

use super::{
    batch::Batch,
    encoding::Encoding,
    error::{ReadError, Stopped},
    event::Event,
    how::How,
    parse::{
        lines::{Wanted, lines},
        parse,
        scan::month,
    },
    piece::Piece,
    reader,
};
use crate::model::{
    connection::{Lacks, Moment, Recorded, When},
    format::Format,
    read_stats::Incomplete,
};

/// How much earlier than the record before it a record may be, if they lack the day. In a clock change
/// the same hour comes twice, which is no step back.
const DAY_SLACK: SignedDuration = SignedDuration::from_mins(1);

/// The same if they lack the year: a syslog can have records of several machines.
const YEAR_SLACK: SignedDuration = SignedDuration::from_hours(31 * 24);

/// How far a record that lacks the year may be in the future: the other machine may have another time
/// zone.
const YEAR_AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// What is known of an input before it is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputDates {
    /// Its name for messages.
    pub name: String,
    /// When the file was changed last; None if it is no regular file.
    pub changed: Option<Timestamp>,
    /// How many midnights there are between the first connection and the last record, if these lack the
    /// day, beyond those that the time of the file tells.
    pub midnights: i64,
    /// When the runs of conn-cli in it began and ended.
    pub runs: Vec<Stretch>,
}

/// What must be known of inputs before they are read.
#[derive(Clone, Debug)]
pub(crate) struct WantedDates {
    /// The time zone of records without one.
    pub zone: TimeZone,
    /// Whether to look for runs of conn-cli.
    pub runs: bool,
}

/// Completes the times of the records of one input after the other.
#[derive(Debug)]
pub(crate) struct Dates {
    zone: TimeZone,
    /// Whether moments are needed. Otherwise what the times lack is only noted.
    assumes: bool,
    input: InputDates,
    /// The connection before, of this input.
    previous: Option<Timestamp>,
    /// The last record that has a time.
    last: Option<Timestamp>,
    boot: u32,
    since_boot: Option<Duration>,
    incomplete: BTreeMap<Lacks, Incomplete>,
    /// What the times of this input lack, and the first and the last date that was assumed.
    noted: BTreeMap<Lacks, Option<(Date, Date)>>,
    stretches: Vec<Stretch>,
    /// Whether the next record begins a stretch.
    begins_stretch: bool,
}

/// The first and the last moment of the records of an input, or of a run of conn-cli.
pub(crate) type Stretch = (Timestamp, Timestamp);

impl Dates {
    /// `zone`: that of records without one.
    #[must_use]
    pub(crate) fn new(zone: TimeZone, assumes: bool) -> Self {
        Self {
            zone,
            assumes,
            input: InputDates::default(),
            previous: None,
            last: None,
            boot: 0,
            since_boot: None,
            incomplete: BTreeMap::new(),
            noted: BTreeMap::new(),
            stretches: Vec::new(),
            begins_stretch: true,
        }
    }

    /// Starts the next input.
    pub(crate) fn begin(&mut self, mut input: InputDates) {
        self.stretches.append(&mut input.runs);
        self.input = input;
        self.previous = None;
        self.since_boot = None;
        self.boot += 1;
        self.noted.clear();
        self.begins_stretch = true;
    }

    /// What times lack, and what was assumed.
    #[must_use]
    pub(crate) fn incomplete(&self) -> &BTreeMap<Lacks, Incomplete> {
        &self.incomplete
    }

    /// The stretches of time that the records so far are from.
    #[must_use]
    pub(crate) fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Completes the times of a batch.
    pub(crate) fn complete(&mut self, batch: &mut Batch) {
        let [first, last] = &mut batch.ends;
        self.end(first);
        for event in &mut batch.events {
            match event {
                Event::Connection(connection)
                | Event::Resumed(connection)
                | Event::Syn(connection, _)
                | Event::Answer(connection, _)
                | Event::Stage(_, connection) => self.record(&mut connection.time),
                // The next line is of another run, at another time.
                Event::Run(run) => {
                    self.stretches.extend(run.period);
                    self.begins_stretch = true;
                }
                Event::Printed(printed) => self.begins_stretch |= printed.is_summary(),
                Event::Unfinished(_)
                | Event::Failed(_)
                | Event::End(_)
                | Event::Inner
                | Event::UnknownType => (),
            }
        }
        self.end(last);
    }

    /// The end of a batch is in a stretch. It is not the record before others: where batches end depends on
    /// how the input arrives.
    fn end(&mut self, time: &mut When) {
        let state = (self.previous, self.since_boot, self.boot);
        self.record(time);
        (self.previous, self.since_boot, self.boot) = state;
    }

    fn record(&mut self, time: &mut When) {
        if let When::Recorded(recorded) = time {
            let assumed = self.assumes.then(|| self.assume(recorded)).flatten();
            recorded.assumed = assumed;
            self.note(recorded.lacks, assumed);
        }
        let Some(time) = time.timestamp() else {
            return;
        };
        self.previous = Some(time);
        self.last = Some(time);
        match self.stretches.last_mut() {
            Some((first, last)) if !self.begins_stretch => {
                (*first, *last) = (time.min(*first), time.max(*last));
            }
            _ => self.stretches.push((time, time)),
        }
        self.begins_stretch = false;
    }

    fn assume(&mut self, recorded: &Recorded) -> Option<Moment> {
        let text = &*recorded.text;
        let time = match recorded.lacks {
            Lacks::Date => self.with_day(text.parse().ok()?)?,
            Lacks::Year => {
                let (month, day, time) = without_year(text)?;
                self.with_year(month, day, time)?
            }
            Lacks::Zone => self.instant(without_zone(text)?)?,
            Lacks::Boot => return self.since_boot(text.parse().ok()?),
            Lacks::Before => return None,
        };
        Some(Moment::At(time))
    }

    /// The first day on which this time is not before that of the previous record; for the first record,
    /// the last day on which the last record can have been written.
    fn with_day(&mut self, time: Time) -> Option<Timestamp> {
        let latest = self.latest().checked_add(DAY_SLACK).ok()?;
        let Some(previous) = self.previous else {
            let today = self.date(latest);
            let days = [today, today.yesterday().ok()?].into_iter();
            let mut times = days.filter_map(|day| self.instant(day.to_datetime(time)));
            let last = self.date(times.find(|time| *time <= latest)?);
            let first = last.checked_sub(self.input.midnights.days()).ok()?;
            return self.instant(first.to_datetime(time));
        };
        let earliest = previous.checked_sub(DAY_SLACK).ok()?;
        let mut days = self.date(earliest).series(1.day()).take(3);
        days.find_map(|day| {
            let time = self.instant(day.to_datetime(time))?;
            (time >= earliest).then_some(time)
        })
    }

    /// The first year in which this time is not before that of the previous record; for the first record,
    /// and if that is in the future, the last year in which it is not.
    fn with_year(&self, month: i8, day: i8, time: Time) -> Option<Timestamp> {
        let latest = self.latest().checked_add(YEAR_AHEAD).ok()?;
        let in_year = |year: i16| {
            let date = Date::new(year, month, day).ok()?;
            let time = self.instant(date.to_datetime(time))?;
            (time <= latest).then_some(time)
        };
        let this_year = self.date(latest).year();
        if let Some(previous) = self.previous
            && let Ok(earliest) = previous.checked_sub(YEAR_SLACK)
        {
            let mut years = self.date(earliest).year()..=this_year;
            let next = years.find_map(|year| in_year(year).filter(|time| *time >= earliest));
            if next.is_some() {
                return next;
            }
        }
        // Up to eight years are between two of February 29.
        (this_year - 8..=this_year).rev().find_map(in_year)
    }

    fn since_boot(&mut self, seconds: f64) -> Option<Moment> {
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        let with_slack = time.saturating_add(DAY_SLACK.unsigned_abs());
        if self
            .since_boot
            .is_some_and(|previous| with_slack < previous)
        {
            self.boot += 1;
        }
        self.since_boot = Some(time);
        let boot = self.boot;
        Some(Moment::SinceBoot { boot, time })
    }

    /// The time that no record can be after.
    fn latest(&self) -> Timestamp {
        self.input.changed.unwrap_or_else(Timestamp::now)
    }

    fn date(&self, time: Timestamp) -> Date {
        self.zone.to_datetime(time).date()
    }

    /// The moment of this local time. Where the clocks go back it comes twice: the second is meant if the
    /// previous record is already after the first.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let is_fold = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
        let first = ambiguous.compatible().ok()?;
        match self.previous {
            Some(previous) if is_fold && previous > first.saturating_add(DAY_SLACK).ok()? => {
                ambiguous.later().ok()
            }
            _ => Some(first),
        }
    }

    /// How many days after its last change the last record would be.
    fn midnights(mut self) -> Option<i64> {
        self.incomplete.get(&Lacks::Date)?;
        self.previous = None;
        let last = self.zone.to_datetime(self.last?);
        let right = self.with_day(last.time())?;
        let days = self.date(right).until(last.date()).ok()?;
        Some(i64::from(days.get_days()).max(0))
    }

    fn note(&mut self, lacks: Lacks, assumed: Option<Moment>) {
        let date = match assumed {
            Some(Moment::At(time)) => {
                let is_future = time.duration_since(self.latest()) > DAY_SLACK;
                Some((self.date(time), is_future && lacks == Lacks::Date))
            }
            Some(Moment::SinceBoot { .. }) | None => None,
        };
        let incomplete = self.incomplete.entry(lacks).or_default();
        let noted = self.noted.entry(lacks).or_insert_with(|| {
            incomplete.inputs += 1;
            if incomplete.inputs == 1 {
                incomplete.first_input.clone_from(&self.input.name);
            }
            None
        });
        if let Some((date, is_future)) = date {
            let with = |dates: &Option<(Date, Date)>| {
                let (first, last) = dates.unwrap_or((date, date));
                (first.min(date), last.max(date))
            };
            incomplete.dates = Some(with(&incomplete.dates));
            incomplete.is_future |= is_future;
            let (first, last) = with(noted);
            *noted = Some((first, last));
            incomplete.is_long |= lacks == Lacks::Date && last > first.saturating_add(1.year());
        }
    }
}

/// Reads a file that was changed last at this time, to know how many midnights there are between its
/// connections, if they lack the day, and when its runs of conn-cli were, if that is wanted. It reads no
/// further if there is nothing of that. A file that cannot be read has none.
pub(crate) fn scan(
    file: File,
    how: &How,
    changed: Timestamp,
    wanted: &WantedDates,
) -> (i64, Vec<Stretch>) {
    let mut dates = Dates::new(wanted.zone.clone(), true);
    dates.input.changed = Some(changed);
    let mut runs = Vec::new();
    let (_, recycled) = mpsc::channel();
    let how = How {
        wanted: Wanted {
            times: true,
            ..how.wanted.clone()
        },
        ..how.clone()
    };
    let end = reader::read(file, &how, &recycled, &mut |piece| {
        let mut batch = parse(&without_complete_lines(piece), &how.wanted);
        dates.complete(&mut batch);
        runs.extend(batch.events.iter().filter_map(|event| match event {
            Event::Run(run) => run.period,
            _ => None,
        }));
        if batch.lines == 0 {
            return Ok(());
        }
        let has_runs = wanted.runs && batch.format == Format::Json;
        if has_runs || dates.incomplete.contains_key(&Lacks::Date) {
            Ok(())
        } else {
            Err(Stopped)
        }
    });
    let midnights = match end {
        Ok(()) | Err(ReadError::Io(_)) => dates.midnights().unwrap_or(0),
        Err(ReadError::Stopped | ReadError::UnknownFormat(_)) => 0,
    };
    (midnights, runs)
}

/// Leaves out the lines of conn-cli's JSON that do not matter before an input is read, because parsing them
/// takes much longer than finding the others: those of connections, if the time of none lacks the day.
fn without_complete_lines(piece: Piece) -> Piece {
    match piece {
        Piece::Lines(encoding, bytes)
            if encoding == Encoding::plain(Format::Json)
                && memmem::find(&bytes, br#""date""#).is_none() =>
        {
            let summary = memmem::Finder::new(br#""summary""#);
            let mut rest = Vec::new();
            if summary.find(&bytes).is_some() {
                for line in lines(&bytes).filter(|line| summary.find(line).is_some()) {
                    rest.extend_from_slice(line);
                    rest.push(b'\n');
                }
            }
            Piece::Lines(encoding, rest)
        }
        piece => piece,
    }
}

/// `Nov 22 14:25:37.123456`, `Nov22 14:25`
fn without_year(text: &str) -> Option<(i8, i8, Time)> {
    let (name, rest) = text.split_at_checked(3)?;
    let month = month(name.as_bytes())?;
    let (day, time) = rest.trim_start().split_once(' ')?;
    Some((month as i8 + 1, day.parse().ok()?, time.parse().ok()?))
}

/// `2026-11-22 14:25:37.123456`, `2026-11-22T14:25:37`, `Sun 2026-11-22 14:25:37 CET`,
/// `Sun Nov 22 14:25:37 2026`, `Nov 22 14:25:37 2026`
fn without_zone(text: &str) -> Option<DateTime> {
    let text = match text.as_bytes() {
        [b'0'..=b'9', ..] => text,
        _ if month(text.as_bytes()).is_some() => text,
        _ => text.split_once(' ')?.1,
    };
    if text.starts_with(|char: char| char.is_ascii_alphabetic()) {
        let (rest, year) = text.rsplit_once(' ')?;
        let (month, day, time) = without_year(rest)?;
        let date = Date::new(year.parse().ok()?, month, day).ok()?;
        return Some(date.to_datetime(time));
    }
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.get(1..)?.split(' ').next()?;
    let date: Date = date.parse().ok()?;
    Some(date.to_datetime(time.parse().ok()?))
}

#[cfg(test)]
mod tests;
