//! The intervals of a run: live ones go by the clock, those of records by the records' times.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use super::{Interval, Intervals};
use crate::connection::{Connection, When};

/// How late a connection may arrive and still be in its interval.
const GRACE: Duration = Duration::from_millis(50);

/// Where `--interval` counts.
#[derive(Clone, Debug)]
pub struct Periods {
    length: Duration,
    zone: TimeZone,
    is_live: bool,
    /// Of records they begin with the first one.
    intervals: Option<Intervals>,
    /// Connections that are in no interval, since their time is no moment.
    undated: u64,
    /// Records that are in a later interval than their own, which was over when they came.
    early: u64,
    /// Connections that could not be reported, and are in an interval.
    lost: u64,
}

impl Periods {
    /// Those of a live run that began then.
    #[must_use]
    pub fn live(length: Duration, begun: Timestamp, zone: TimeZone) -> Self {
        let intervals = Intervals::begin(length, begun, zone.clone());
        Self {
            is_live: true,
            intervals: Some(intervals),
            ..Self::for_records(length, zone)
        }
    }

    /// Those of records.
    #[must_use]
    pub fn for_records(length: Duration, zone: TimeZone) -> Self {
        Self {
            length,
            zone,
            is_live: false,
            intervals: None,
            undated: 0,
            early: 0,
            lost: 0,
        }
    }

    /// What is wrong with the intervals.
    pub fn discrepancies(&self) -> impl Iterator<Item = String> {
        let undated = (self.undated > 0).then(|| {
            format!(
                "{} of them are in no interval, since their times are no moments",
                self.undated
            )
        });
        let early = (self.early > 0).then(|| {
            format!(
                "{} of them are in a later interval than their own, since the records are not in \
                 the order of their times",
                self.early
            )
        });
        undated.into_iter().chain(early)
    }

    /// Counts a connection, and gives the intervals that are over by its time.
    pub fn add(&mut self, connection: &Connection) -> Vec<Interval> {
        let When::At(time) = connection.time else {
            self.undated += 1;
            return Vec::new();
        };
        let begin = || Intervals::around(self.length, time, self.zone.clone());
        let intervals = self.intervals.get_or_insert_with(begin);
        let over = match self.is_live {
            // Also live: many come at once when output had stalled.
            true => time
                .checked_sub(GRACE)
                .map_or(Vec::new(), |time| intervals.roll(time)),
            false => intervals.roll(time),
        };
        self.early += u64::from(!self.is_live && time < intervals.start());
        intervals.add(time, &connection.remote);
        over
    }

    /// How long until an interval is over.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let end = self.intervals.as_ref().filter(|_| self.is_live)?.end();
        let left = end.duration_since(Timestamp::now());
        Some(Duration::try_from(left).unwrap_or_default() + GRACE)
    }

    /// The intervals of a live run that are over. `lost`: how many connections the kernel has
    /// counted so far that could not be reported.
    pub fn roll(&mut self, lost: u64) -> Vec<Interval> {
        let Some(intervals) = &mut self.intervals else {
            return Vec::new();
        };
        intervals.add_lost(lost.saturating_sub(self.lost));
        self.lost = lost;
        match Timestamp::now().checked_sub(GRACE) {
            Ok(now) => intervals.roll(now),
            Err(_) => Vec::new(),
        }
    }

    /// The last intervals.
    pub fn finish(&mut self) -> Vec<Interval> {
        match self.intervals.take() {
            Some(intervals) if self.is_live => intervals.finish(Timestamp::now()),
            Some(intervals) => intervals.finish_whole().into_iter().collect(),
            None => Vec::new(),
        }
    }
}
