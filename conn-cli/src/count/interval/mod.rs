//! Counts connections by interval, for one output row per interval.

mod grid;
mod periods;
mod row;
mod steady;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use self::grid::{Grid, millis, timestamp};
pub(crate) use self::periods::Periods;
use self::row::RowCounts;
use crate::model::connection::Host;

/// The shortest interval: connections are reported some 20 ms late.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The most empty intervals with a row of their own. If time jumps by years, as it may in a file,
/// one row stands for the rest of them.
const MAX_EMPTY_ROWS: usize = 10_000;

/// What was counted in one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// Its start, in whole milliseconds.
    pub start: Timestamp,
    /// Whether that is the time since a boot, after the start of 1970.
    pub since_boot: bool,
    /// Its real length: shorter if it is `partial`, shorter or longer across clock changes, and
    /// much longer if it stands for others.
    pub length: Duration,
    /// All connections.
    pub connections: u64,
    /// Those of which only the number is known.
    pub lost: u64,
    /// How many packets the listeners have dropped since the end of the last interval of which that is
    /// known; None if it is not known.
    pub dropped: Option<u64>,
    /// The number of different known clients.
    pub addresses: usize,
    /// The client with the most connections, and their number; the smallest address of several.
    pub busiest: Option<(Host, u64)>,
    /// Whether it was watched only in part.
    pub partial: bool,
    /// How many empty intervals this stands for; 0 if it stands for itself. It may be off by one
    /// across clock changes.
    pub skipped_empty: u64,
    /// How many intervals this stands for in which nothing was recorded, so that there is no count; 0 if
    /// there is one.
    pub not_measured: u64,
}

/// Counts connections in consecutive intervals.
///
/// If an interval's length divides a day, intervals start at multiples of it since local midnight:
/// those of 10 s at :00, :10 and so on, those of 24 h at midnight, also across clock changes.
/// Otherwise they start at multiples of it since the start of 1970 in UTC.
///
/// Only [`Self::roll`] ends the current interval. A connection from before it, because the clock
/// was set back or records are not in order, counts in the current interval. One from after it
/// counts in the next. When the clock is set back, the current interval lasts until the clock has
/// caught up.
#[derive(Clone, Debug)]
pub(crate) struct Intervals {
    grid: Grid,
    /// The start of the current interval, in milliseconds since 1970, and its end.
    start: i64,
    end: i64,
    partial: bool,
    current: RowCounts,
    /// Connections of the next interval, counted before [`Self::roll`] ended the current one.
    next: RowCounts,
}

impl Interval {
    /// Its end.
    fn end(&self) -> Timestamp {
        self.start
            .saturating_add(self.length)
            .unwrap_or(Timestamp::MAX)
    }

    /// Connections per second; 0 if the interval has no length.
    #[must_use]
    pub(crate) fn rate(&self) -> f64 {
        if self.length.is_zero() {
            0.0
        } else {
            self.connections as f64 / self.length.as_secs_f64()
        }
    }
}

impl Intervals {
    /// Starts now, usually in the middle of an interval, which then is partial. The length is a
    /// whole number of milliseconds, and at least [`MIN_INTERVAL`].
    #[must_use]
    pub(crate) fn begin(length: Duration, now: Timestamp, zone: TimeZone) -> Self {
        let mut intervals = Self::containing(length, now, zone);
        let now = millis(now);
        intervals.partial = now > intervals.start;
        intervals.start = now;
        intervals
    }

    /// Starts with the whole interval that contains the first record, since records do not say
    /// when recording started.
    #[must_use]
    pub(crate) fn containing(length: Duration, first: Timestamp, zone: TimeZone) -> Self {
        let grid = Grid::new(length, zone);
        let (start, end) = grid.containing(millis(first));
        Self {
            grid,
            start,
            end,
            partial: false,
            current: RowCounts::default(),
            next: RowCounts::default(),
        }
    }

    /// When the current interval started.
    #[must_use]
    pub(crate) fn start(&self) -> Timestamp {
        timestamp(self.start)
    }

    /// When the current interval ends.
    #[must_use]
    pub(crate) fn end(&self) -> Timestamp {
        timestamp(self.end)
    }

    /// Counts a connection. For records, call [`Self::roll`] before each.
    pub(crate) fn add(&mut self, at: Timestamp, client: &Host) {
        let counts = if millis(at) < self.end {
            &mut self.current
        } else {
            &mut self.next
        };
        counts.add(client, 1);
    }

    /// Counts connections in the current interval of which only the number is known.
    pub(crate) fn add_lost(&mut self, connections: u64) {
        self.current.add_lost(connections);
    }

    /// Ends all intervals that are over at `now`, and returns them, including empty ones. As
    /// connections arrive a little late, `now` should be a little in the past. A connection that
    /// arrives even later counts in the next interval.
    pub(crate) fn roll(&mut self, now: Timestamp) -> Vec<Interval> {
        let now = millis(now);
        let mut ended = Vec::new();
        while now >= self.end {
            let is_empty = self.current.connections() == 0 && self.next.connections() == 0;
            if is_empty && ended.len() > MAX_EMPTY_ROWS {
                let (start, _) = self.grid.containing(now);
                if start > self.end {
                    ended.push(self.skip_to(start));
                    continue;
                }
            }
            let end = self.end;
            ended.push(self.close(end));
        }
        ended
    }

    /// The remaining intervals when watching ends now. The last one is partial, unless it ends
    /// now. It is left out if it has neither a connection nor a length.
    #[must_use]
    pub(crate) fn finish(mut self, now: Timestamp) -> Vec<Interval> {
        let mut ended = self.roll(now);
        let now = millis(now);
        // These are later than `now` if the clock was set back.
        self.current.take(&mut self.next);
        if now > self.start || self.current.connections() > 0 {
            self.partial = true;
            ended.push(self.close(now));
        }
        ended
    }

    /// The last interval as a whole one, since records do not say when recording ended. None if
    /// it has no connections.
    #[must_use]
    pub(crate) fn finish_whole(mut self) -> Option<Interval> {
        self.current.take(&mut self.next);
        let end = self.end;
        (self.current.connections() > 0).then(|| self.close(end))
    }

    /// Ends the current interval at this time and starts the next.
    fn close(&mut self, end: i64) -> Interval {
        let interval = Interval {
            start: timestamp(self.start),
            since_boot: false,
            length: length(self.start, end),
            connections: self.current.connections(),
            lost: self.current.lost(),
            dropped: None,
            addresses: self.current.addresses(),
            busiest: self.current.busiest(),
            partial: self.partial,
            skipped_empty: 0,
            not_measured: 0,
        };
        self.current.clear();
        self.current.take(&mut self.next);
        self.start = end;
        self.end = self.grid.next_boundary(end);
        self.partial = false;
        interval
    }

    /// Ends the current interval at `start`, as one row for all intervals before that.
    fn skip_to(&mut self, start: i64) -> Interval {
        let skipped_empty = self.grid.count_in(start - self.start);
        Interval {
            skipped_empty,
            ..self.close(start)
        }
    }
}

fn length(start: i64, end: i64) -> Duration {
    Duration::from_millis(u64::try_from(end - start).unwrap_or(0))
}
