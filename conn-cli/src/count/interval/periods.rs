//! The intervals of a run: live ones follow the clock, those of records the records' times.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

use super::{Interval, Intervals, steady::SteadyClock};
use crate::model::connection::{Connection, Moment};

/// How late a connection may arrive and still count in its interval.
const GRACE: Duration = Duration::from_millis(50);

/// How long an interval is kept, at most, until it is known what was dropped in it.
const MAX_DROP_COUNT_TIME: Duration = Duration::from_secs(1);

/// Counts connections for `--interval`.
#[derive(Clone, Debug)]
pub(crate) struct Periods {
    length: Duration,
    zone: TimeZone,
    /// Of a live run.
    clock: Option<SteadyClock>,
    /// For records, None before the first one.
    intervals: Option<Intervals>,
    /// The boot since which their times are, if they have no date.
    boot: Option<u32>,
    /// The stretches of time of which there are records: the last moment of each by its first. None
    /// overlaps another, since a stretch is searched for each empty interval.
    recorded: BTreeMap<Timestamp, Timestamp>,
    /// How many stretches these were made of.
    stretches: usize,
    /// Connections that are in no interval, since they have no usable timestamp.
    undated: u64,
    /// Records that count in a later interval than their own, which had already ended.
    early: u64,
    /// Connections that could not be reported, and are already in an interval.
    lost: u64,
    /// Whether what was dropped in the current interval is being counted, or has been.
    counts_dropped: bool,
    /// What listeners have dropped, if that is known, and when it was counted; None once it is in an
    /// interval.
    dropped: Option<(Timestamp, Option<u64>)>,
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
            boot: None,
            recorded: BTreeMap::new(),
            stretches: 0,
            undated: 0,
            early: 0,
            lost: 0,
            counts_dropped: false,
            dropped: None,
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
        let (time, boot) = match connection.time.moment() {
            Some(Moment::At(time)) => (time, None),
            Some(Moment::SinceBoot { boot, time }) => (since_epoch(time), Some(boot)),
            None => {
                self.undated += 1;
                return Vec::new();
            }
        };
        let mut ended = Vec::new();
        if self.boot != boot {
            // These times have nothing to do with those before.
            ended = self.finish();
            self.boot = boot;
        }
        // As the steady clock has it, however the wall clock was set meanwhile.
        let time = match self.clock {
            Some(clock) => clock.corrected(time),
            None => time,
        };
        let zone = || match boot {
            Some(_) => TimeZone::UTC,
            None => self.zone.clone(),
        };
        let begin = || Intervals::containing(self.length, time, zone());
        let grace = self.grace();
        let intervals = self.intervals.get_or_insert_with(begin);
        let mut rolled = if self.clock.is_some() {
            // Needed live too: many connections come at once after output has stalled.
            time.checked_sub(grace)
                .map_or(Vec::new(), |time| intervals.roll(time))
        } else {
            intervals.roll(time)
        };
        self.early += u64::from(self.clock.is_none() && time < intervals.start());
        intervals.add(time, &connection.remote);
        self.add_dropped(&mut rolled);
        self.describe(&mut rolled);
        ended.append(&mut rolled);
        ended
    }

    /// Adds the stretches of time of which there are records, of which only the last may have become longer
    /// since.
    pub(crate) fn add_recorded(&mut self, stretches: &[(Timestamp, Timestamp)]) {
        let kept = self.stretches.saturating_sub(1).min(stretches.len());
        self.stretches = stretches.len();
        for &(mut first, mut last) in &stretches[kept..] {
            // The clock was set back in the course of the run.
            if first > last {
                continue;
            }
            while let Some((&start, &end)) = self.recorded.range(..=last).next_back()
                && end >= first
            {
                self.recorded.remove(&start);
                (first, last) = (first.min(start), last.max(end));
            }
            self.recorded.insert(first, last);
        }
    }

    /// Whether there are records of this time, of which `end` is no part.
    fn is_recorded(&self, start: Timestamp, end: Timestamp) -> bool {
        let last_before = self.recorded.range(..end).next_back();
        last_before.is_some_and(|(_, last)| *last >= start)
    }

    /// Marks the intervals of which there are no records, as one for all in a row; and those since boot.
    fn describe(&self, intervals: &mut Vec<Interval>) {
        if self.clock.is_some() {
            return;
        }
        if self.boot.is_some() {
            for interval in intervals {
                interval.since_boot = true;
            }
            return;
        }
        for interval in &mut *intervals {
            let end = interval.start.saturating_add(interval.length);
            let end = end.unwrap_or(Timestamp::MAX);
            if interval.connections == 0 && !self.is_recorded(interval.start, end) {
                interval.not_measured = interval.skipped_empty.max(1);
            }
        }
        intervals.dedup_by(|next, interval| {
            let are_both = next.not_measured > 0 && interval.not_measured > 0;
            if are_both {
                interval.length += next.length;
                interval.not_measured += next.not_measured;
            }
            are_both
        });
    }

    /// How long until the current interval of a live run can be shown, or what was dropped in it must be
    /// counted.
    #[must_use]
    pub(crate) fn left(&self) -> Option<Duration> {
        let now = self.clock?.now();
        let left = self.intervals.as_ref()?.end().duration_since(now);
        let left = Duration::try_from(left).unwrap_or_default();
        let grace = if self.counts_dropped {
            self.grace()
        } else {
            Duration::ZERO
        };
        Some(left + grace)
    }

    /// How long after its end an interval is kept.
    fn grace(&self) -> Duration {
        if self.counts_dropped && self.dropped.is_none() {
            // Connections after the next interval would count in it.
            MAX_DROP_COUNT_TIME.min(self.length / 2).max(GRACE)
        } else {
            GRACE
        }
    }

    /// Whether the current interval of a live run is over, and what was dropped in it must be counted from
    /// now on: once for each interval.
    #[must_use]
    pub(crate) fn begin_drop_count(&mut self) -> bool {
        let (Some(clock), Some(intervals)) = (self.clock, &self.intervals) else {
            return false;
        };
        let is_due = !self.counts_dropped && clock.now() >= intervals.end();
        self.counts_dropped |= is_due;
        is_due
    }

    /// How many packets the listeners have dropped since the last call, which is to be made after
    /// [`Self::begin_drop_count`], and before [`Self::finish`]; None if that is not known.
    pub(crate) fn set_dropped(&mut self, packets: Option<u64>) {
        let Some(clock) = self.clock else { return };
        // What was counted a moment ago is of the interval that then ended, and not yet shown.
        let before = self.dropped.and_then(|(_, packets)| packets);
        let packets = match (before, packets) {
            (Some(before), Some(packets)) => Some(before + packets),
            (before, packets) => before.or(packets),
        };
        self.dropped = Some((clock.now(), packets));
    }

    /// Puts what was dropped into the last of these intervals that was over when it was counted, or else
    /// into the first, in which it was counted.
    fn add_dropped(&mut self, ended: &mut [Interval]) {
        if ended.is_empty() {
            return;
        }
        self.counts_dropped = false;
        if let Some((counted, packets)) = self.dropped.take() {
            let was_over = ended.iter().rposition(|one| one.end() <= counted);
            ended[was_over.unwrap_or_default()].dropped = packets;
        }
    }

    /// The intervals of a live run that have ended. `lost` is how many connections the kernel has
    /// counted so far but could not report.
    pub(crate) fn roll(&mut self, lost: u64) -> Vec<Interval> {
        let grace = self.grace();
        let Some(intervals) = &mut self.intervals else {
            return Vec::new();
        };
        intervals.add_lost(lost.saturating_sub(self.lost));
        self.lost = lost;
        let now = self.clock.map(|clock| clock.now().checked_sub(grace));
        let mut ended = match now {
            Some(Ok(now)) => intervals.roll(now),
            Some(Err(_)) | None => Vec::new(),
        };
        self.add_dropped(&mut ended);
        ended
    }

    /// The last intervals.
    pub(crate) fn finish(&mut self) -> Vec<Interval> {
        let Some(intervals) = self.intervals.take() else {
            return Vec::new();
        };
        let mut ended: Vec<_> = match self.clock {
            Some(clock) => intervals.finish(clock.now()),
            None => intervals.finish_whole().into_iter().collect(),
        };
        self.add_dropped(&mut ended);
        self.describe(&mut ended);
        ended
    }
}

/// The time since boot, as one since the start of 1970.
fn since_epoch(time: Duration) -> Timestamp {
    Timestamp::UNIX_EPOCH
        .saturating_add(time)
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::interval::millis;

    #[test]
    fn drops_are_in_the_last_interval_that_was_over_when_they_were_counted() {
        let second = Duration::from_secs(1);
        let at = |seconds| Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut periods = Periods::for_records(second, TimeZone::UTC);
        let mut counted = |seconds, packets, ended| {
            periods.dropped = periods.dropped.or(Some((at(seconds), packets)));
            let mut intervals = Intervals::begin(second, at(0), TimeZone::UTC).roll(at(ended));
            periods.add_dropped(&mut intervals);
            let dropped: Vec<_> = intervals.iter().map(|interval| interval.dropped).collect();
            (dropped, periods.dropped.is_some())
        };
        assert_eq!(counted(1, Some(7), 0), (vec![], true));
        assert_eq!(counted(1, Some(7), 1), (vec![Some(7)], false));
        // Several end at once, after output has stalled.
        assert_eq!(counted(2, Some(8), 3), (vec![None, Some(8), None], false));
        assert_eq!(counted(3, None, 2), (vec![None, None], false));
    }

    #[test]
    fn recorded_stretches_are_merged() {
        let at = |seconds| Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut periods = Periods::for_records(Duration::from_secs(1), TimeZone::UTC);
        let mut stretches = Vec::new();
        // In any order; the last one is longer the second time. One has no length, one a wrong clock.
        for (first, last) in [
            (50, 60),
            (10, 20),
            (15, 15),
            (15, 25),
            (24, 30),
            (45, 70),
            (99, 90),
        ] {
            stretches.push((at(first), at(first)));
            periods.add_recorded(&stretches);
            stretches.last_mut().unwrap().1 = at(last);
            periods.add_recorded(&stretches);
        }
        for second in 0..100 {
            let expected = (10..=30).contains(&second) || (45..=70).contains(&second);
            let is_recorded = periods.is_recorded(at(second), at(second + 1));
            assert_eq!(is_recorded, expected || second == 99, "{second}");
        }
        // What is searched is no longer than the number of gaps.
        assert_eq!(periods.recorded.len(), 3, "{:?}", periods.recorded);
    }

    #[test]
    fn drops_until_the_end_are_in_the_last_interval() {
        let hour = Duration::from_hours(1);
        let mut periods = Periods::live(hour, Timestamp::now(), TimeZone::UTC);
        assert!(!periods.begin_drop_count());
        periods.set_dropped(Some(3));
        periods.set_dropped(Some(4));
        // The clock has a resolution of milliseconds, and an interval without a length is no interval.
        while periods.intervals.as_ref().is_some_and(|intervals| {
            millis(periods.clock.unwrap().now()) <= millis(intervals.start())
        }) {}
        let ended = periods.finish();
        assert_eq!(ended.last().unwrap().dropped, Some(7), "{ended:?}");
    }

    #[test]
    fn a_late_count_of_drops_is_in_the_next_interval() {
        let second = |number| Timestamp::from_second(number).unwrap();
        let length = Duration::from_secs(1);
        let mut periods = Periods::for_records(length, TimeZone::UTC);
        let mut put = |counted, until| {
            let mut ended = Intervals::begin(length, second(10), TimeZone::UTC).roll(until);
            periods.dropped = Some((counted, Some(7)));
            periods.add_dropped(&mut ended);
            assert_eq!(periods.dropped, None);
            let dropped = ended.into_iter().map(|interval| interval.dropped);
            dropped.collect::<Vec<_>>()
        };
        assert_eq!(put(second(11), second(11)), [Some(7)]);
        assert_eq!(put(second(11), second(13)), [Some(7), None, None]);
        assert_eq!(put(second(12), second(13)), [None, Some(7), None]);
        assert_eq!(put(second(10), second(12)), [Some(7), None]);
    }
}
