//! Connections by the interval that they fall into, for a row of each.

mod grid;
mod periods;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use self::grid::{Grid, millis, moment};
pub use self::periods::Periods;
use crate::{connection::Host, group::GroupKey, tally::Tally};

/// The shortest interval: connections arrive some 20 ms after they were made.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Intervals without a connection that have a row of their own. If the time makes a leap of
/// years, as it may in a file, one row stands for the rest of them.
const MAX_EMPTY_ROWS: usize = 10_000;

/// What was counted in one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Its beginning, in whole milliseconds.
    pub start: Timestamp,
    /// How long it really was: less if it is `partial`, more or less where the clocks were
    /// changed, and much more if it stands for others.
    pub length: Duration,
    /// All connections.
    pub connections: u64,
    /// Of these, the ones of which only the number is known.
    pub lost: u64,
    /// How many clients made those of which it is known who made them.
    pub addresses: usize,
    /// The client with the most connections, and how many; of several the smallest address.
    pub busiest: Option<(Host, u64)>,
    /// Whether it was not watched from its beginning to its end.
    pub partial: bool,
    /// How many intervals without a connection this stands for; 0 if it stands for itself.
    /// Where the clocks were changed on the way it can be one off.
    pub skipped_empty: u64,
}

/// Counts connections by intervals, one after the other.
///
/// If an interval's length divides a day, intervals begin at its multiples since local midnight:
/// those of 10 s at :00, :10 and so on, those of 24 h at midnight, also when the clocks are
/// changed. Otherwise they begin at its multiples since the beginning of 1970 in UTC.
///
/// There is a current interval, which only [`Self::roll`] ends. A connection that is earlier
/// than it, since the clock was set back or records are not in order, counts as one of the
/// current; one that is later waits for the next. When the clock is set back, the current
/// interval lasts until the clock has caught up.
#[derive(Clone, Debug)]
pub struct Intervals {
    grid: Grid,
    /// Of the current interval, in milliseconds since 1970.
    start: i64,
    end: i64,
    partial: bool,
    current: Tally,
    /// What came before [`Self::roll`] ended the interval before.
    next: Tally,
}

impl Interval {
    /// Connections a second; 0 if the interval had no length.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match self.length.is_zero() {
            true => 0.0,
            false => self.connections as f64 / self.length.as_secs_f64(),
        }
    }
}

impl Intervals {
    /// Begins now, so in the middle of an interval: the first one will be partial. The length
    /// is a whole number of milliseconds and not less than [`MIN_INTERVAL`].
    #[must_use]
    pub fn begin(length: Duration, now: Timestamp, zone: TimeZone) -> Self {
        let mut begun = Self::around(length, now, zone);
        let now = millis(now);
        begun.partial = now > begun.start;
        begun.start = now;
        begun
    }

    /// Begins with the whole interval that a moment is in: that of the first record, since
    /// records do not say when their recording began.
    #[must_use]
    pub fn around(length: Duration, first: Timestamp, zone: TimeZone) -> Self {
        let grid = Grid::new(length, zone);
        let (start, end) = grid.around(millis(first));
        Self {
            grid,
            start,
            end,
            partial: false,
            current: Tally::default(),
            next: Tally::default(),
        }
    }

    /// When the current interval began.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        moment(self.start)
    }

    /// When the current interval will be over.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        moment(self.end)
    }

    /// Counts a connection. With records, [`Self::roll`] comes before each.
    pub fn add(&mut self, at: Timestamp, client: &Host) {
        let tally = match millis(at) < self.end {
            true => &mut self.current,
            false => &mut self.next,
        };
        tally.add(client, None, 1);
    }

    /// Counts connections of the current interval of which only the number is known.
    pub fn add_lost(&mut self, connections: u64) {
        self.current.add_other(connections);
    }

    /// Ends all intervals that were over at this time, and gives them, those without a
    /// connection, too. As connections arrive a little late, it should be a little before now;
    /// one that is later still falls into the next interval.
    pub fn roll(&mut self, now: Timestamp) -> Vec<Interval> {
        let now = millis(now);
        let mut over = Vec::new();
        while now >= self.end {
            let is_empty = self.current.connections() == 0 && self.next.connections() == 0;
            if is_empty && over.len() > MAX_EMPTY_ROWS {
                let (start, _) = self.grid.around(now);
                if start > self.end {
                    over.push(self.skip_to(start));
                    continue;
                }
            }
            let end = self.end;
            over.push(self.close(end));
        }
        over
    }

    /// The last intervals, when watching ends now. The last one is partial, unless that is just
    /// when it is over. There is none if nothing has happened since the one before, not even
    /// time.
    #[must_use]
    pub fn finish(mut self, now: Timestamp) -> Vec<Interval> {
        let mut over = self.roll(now);
        let now = millis(now);
        // What was later than now, by a clock that was set back.
        let late = std::mem::take(&mut self.next);
        self.current.add_all(late);
        if now > self.start || self.current.connections() > 0 {
            self.partial = true;
            over.push(self.close(now));
        }
        over
    }

    /// The last interval as a whole one, since records do not say when their recording ended.
    /// None if it has no connections.
    #[must_use]
    pub fn finish_whole(mut self) -> Option<Interval> {
        let late = std::mem::take(&mut self.next);
        self.current.add_all(late);
        let end = self.end;
        (self.current.connections() > 0).then(|| self.close(end))
    }

    /// Ends the current interval at this time and begins the next.
    fn close(&mut self, end: i64) -> Interval {
        let tally = std::mem::replace(&mut self.current, std::mem::take(&mut self.next));
        let (connections, lost) = (tally.connections(), tally.other());
        let ranked = tally.ranked().into_iter();
        let clients: Vec<_> = ranked
            .filter_map(|client| match client.key {
                GroupKey::Client(Host::Unknown) => None,
                GroupKey::Client(host) => Some((host, client.connections)),
                _ => None,
            })
            .collect();
        let interval = Interval {
            start: moment(self.start),
            length: length(self.start, end),
            connections,
            lost,
            addresses: clients.len(),
            busiest: clients.into_iter().next(),
            partial: self.partial,
            skipped_empty: 0,
        };
        self.start = end;
        self.end = self.grid.after(end);
        self.partial = false;
        interval
    }

    /// Leaves out all intervals up to this time.
    fn skip_to(&mut self, start: i64) -> Interval {
        let skipped_empty = self.grid.intervals(start - self.start);
        Interval {
            skipped_empty,
            ..self.close(start)
        }
    }
}

fn length(start: i64, end: i64) -> Duration {
    Duration::from_millis(u64::try_from(end - start).unwrap_or(0))
}
