//! The intervals of a run: live ones follow the clock, those of records the records' times.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use super::{Interval, Intervals, steady::SteadyClock};
use crate::model::connection::{Connection, When};

/// How late a connection may arrive and still count in its interval.
const GRACE: Duration = Duration::from_millis(50);

/// Counts connections for `--interval`.
#[derive(Clone, Debug)]
pub(crate) struct Periods {
    length: Duration,
    zone: TimeZone,
    /// Of a live run.
    clock: Option<SteadyClock>,
    /// For records, None before the first one.
    intervals: Option<Intervals>,
    /// Connections that are in no interval, since they have no usable timestamp.
    undated: u64,
    /// Records that count in a later interval than their own, which had already ended.
    early: u64,
    /// Connections that could not be reported, and are already in an interval.
    lost: u64,
}

impl Periods {
    /// The intervals of a live run that began at this time.
    #[must_use]
    pub(crate) fn live(length: Duration, begun: Timestamp, zone: TimeZone) -> Self {
        let intervals = Intervals::begin(length, begun, zone.clone());
        Self {
            clock: Some(SteadyClock::begin(Timestamp::now())),
            intervals: Some(intervals),
            ..Self::for_records(length, zone)
        }
    }

    /// The intervals of records.
    #[must_use]
    pub(crate) fn for_records(length: Duration, zone: TimeZone) -> Self {
        Self {
            length,
            zone,
            clock: None,
            intervals: None,
            undated: 0,
            early: 0,
            lost: 0,
        }
    }

    /// Which connections are not in their interval, as sentences for the diagnostics.
    pub(crate) fn discrepancies(&self) -> impl Iterator<Item = String> {
        let undated = (self.undated > 0).then(|| {
            format!(
                "{} of them are in no interval because they have no usable timestamp",
                self.undated
            )
        });
        let early = (self.early > 0).then(|| {
            format!(
                "{} of them are in a later interval than their own because the records are not \
                 sorted by time",
                self.early
            )
        });
        undated.into_iter().chain(early)
    }

    /// Counts a connection, and returns the intervals that have ended by its time.
    pub(crate) fn add(&mut self, connection: &Connection) -> Vec<Interval> {
        let When::At(time) = connection.time else {
            self.undated += 1;
            return Vec::new();
        };
        // As the steady clock has it, however the wall clock was set meanwhile.
        let time = match self.clock {
            Some(clock) => clock.corrected(time),
            None => time,
        };
        let begin = || Intervals::containing(self.length, time, self.zone.clone());
        let intervals = self.intervals.get_or_insert_with(begin);
        let ended = if self.clock.is_some() {
            // Needed live too: many connections come at once after output has stalled.
            time.checked_sub(GRACE)
                .map_or(Vec::new(), |time| intervals.roll(time))
        } else {
            intervals.roll(time)
        };
        self.early += u64::from(self.clock.is_none() && time < intervals.start());
        intervals.add(time, &connection.remote);
        ended
    }

    /// How long until the current interval of a live run can be shown.
    #[must_use]
    pub(crate) fn left(&self) -> Option<Duration> {
        let now = self.clock?.now();
        let left = self.intervals.as_ref()?.end().duration_since(now);
        Some(Duration::try_from(left).unwrap_or_default() + GRACE)
    }

    /// The intervals of a live run that have ended. `lost` is how many connections the kernel has
    /// counted so far but could not report.
    pub(crate) fn roll(&mut self, lost: u64) -> Vec<Interval> {
        let Some(intervals) = &mut self.intervals else {
            return Vec::new();
        };
        intervals.add_lost(lost.saturating_sub(self.lost));
        self.lost = lost;
        let now = self.clock.map(|clock| clock.now().checked_sub(GRACE));
        match now {
            Some(Ok(now)) => intervals.roll(now),
            Some(Err(_)) | None => Vec::new(),
        }
    }

    /// The last intervals.
    pub(crate) fn finish(&mut self) -> Vec<Interval> {
        let Some(intervals) = self.intervals.take() else {
            return Vec::new();
        };
        match self.clock {
            Some(clock) => intervals.finish(clock.now()),
            None => intervals.finish_whole().into_iter().collect(),
        }
    }
}
