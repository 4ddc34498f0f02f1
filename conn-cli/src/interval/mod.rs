//! Connections by the interval that they fall into, for a row of each.

mod grid;

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use self::grid::{Grid, millis, moment};
use crate::{connection::Host, tally::Tally};

/// The shortest interval: connections arrive some 20 ms after they were made.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// Intervals without a connection that have a row of their own. If the time makes a leap of
/// years, as it may in a file, one row stands for the rest of them.
const MOST_EMPTY: usize = 10_000;

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
    /// is a whole number of milliseconds and not less than [`SHORTEST`].
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
            if is_empty && over.len() > MOST_EMPTY {
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
        let mut clients = tally.ranked();
        clients.retain(|client| client.host != Host::Unknown);
        let interval = Interval {
            start: moment(self.start),
            length: length(self.start, end),
            connections,
            lost,
            addresses: clients.len(),
            busiest: clients
                .into_iter()
                .next()
                .map(|client| (client.host, client.connections)),
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

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    /// Milliseconds after 2026-11-22T14:25:30Z.
    fn at(millis: i64) -> Timestamp {
        moment(1_795_357_530_000 + millis)
    }

    fn client(number: u8) -> Host {
        Host::at([192, 0, 2, number])
    }

    fn live(now: i64) -> Intervals {
        Intervals::begin(LENGTH, at(now), TimeZone::UTC)
    }

    fn records(first: i64) -> Intervals {
        Intervals::around(LENGTH, at(first), TimeZone::UTC)
    }

    /// Where each begins, and how many connections it has.
    fn counts(intervals: &[Interval]) -> Vec<(i64, u64)> {
        let since = |interval: &Interval| millis(interval.start) - millis(at(0));
        let counts = intervals
            .iter()
            .map(|interval| (since(interval), interval.connections));
        counts.collect()
    }

    #[test]
    fn the_first_and_the_last_are_partial() {
        let mut intervals = live(7_482);
        intervals.add(at(8_000), &client(1));
        assert_eq!(intervals.roll(at(9_999)), []);
        let first = intervals.roll(at(10_000));
        assert_eq!(counts(&first), [(7_482, 1)]);
        assert_eq!(first[0].length, Duration::from_millis(2_518));
        assert!(first[0].partial);
        intervals.add(at(15_000), &client(1));
        let last = intervals.finish(at(23_200));
        assert_eq!(counts(&last), [(10_000, 1), (20_000, 0)]);
        assert_eq!(last[0].length, LENGTH);
        assert!(!last[0].partial && last[1].partial);
        assert_eq!(last[1].length, Duration::from_millis(3_200));
    }

    #[test]
    fn one_that_is_whole_is_not_partial() {
        let intervals = live(10_000);
        let last = intervals.finish(at(20_000));
        assert_eq!(counts(&last), [(10_000, 0)]);
        assert!(!last[0].partial);
        assert_eq!(live(10_000).finish(at(10_000)), []);
        assert_eq!(live(7_482).finish(at(7_482)), []);
    }

    #[test]
    fn who_made_how_many() {
        let mut intervals = records(0);
        for number in [9, 10, 3, 10, 9, 7] {
            intervals.add(at(1), &client(number));
        }
        intervals.add(at(2), &Host::Unknown);
        intervals.add(at(2), &Host::Unknown);
        intervals.add(at(2), &Host::Unknown);
        intervals.add_lost(12);
        let interval = intervals.finish_whole().unwrap();
        assert_eq!((interval.connections, interval.lost), (21, 12));
        assert_eq!(interval.addresses, 4);
        assert_eq!(interval.busiest, Some((client(9), 2)));
        assert!((interval.rate() - 2.1).abs() < 1e-9);
        assert_eq!(interval.length, LENGTH);
        assert!(!interval.partial);
    }

    #[test]
    fn empty_ones_are_given_too() {
        let mut intervals = records(0);
        intervals.add(at(0), &client(1));
        let over = intervals.roll(at(35_000));
        assert_eq!(counts(&over), [(0, 1), (10_000, 0), (20_000, 0)]);
        assert_eq!(over[1].busiest, None);
        assert_eq!(over[1].rate(), 0.0);
        intervals.add(at(35_000), &client(1));
        let last = intervals.finish_whole().unwrap();
        assert_eq!(counts(&[last]), [(30_000, 1)]);
        assert_eq!(records(0).finish_whole(), None);
    }

    #[test]
    fn a_connection_that_comes_before_the_end_is_told_is_of_the_next() {
        let mut intervals = live(0);
        intervals.add(at(9_999), &client(1));
        intervals.add(at(10_000), &client(2));
        assert_eq!(intervals.roll(at(9_970)), []);
        intervals.add(at(9_999), &client(3));
        let over = intervals.roll(at(10_001));
        assert_eq!(counts(&over), [(0, 2)]);
        assert_eq!(over[0].busiest, Some((client(1), 1)));
        assert_eq!(counts(&intervals.finish(at(20_000))), [(10_000, 1)]);
    }

    #[test]
    fn the_end_comes_with_all_that_is_left() {
        let mut intervals = live(0);
        intervals.add(at(10_010), &client(1));
        let last = intervals.clone().finish(at(10_020));
        assert_eq!(counts(&last), [(0, 0), (10_000, 1)]);
        // The clock was set back meanwhile.
        assert_eq!(counts(&intervals.finish(at(9_000))), [(0, 1)]);
    }

    #[test]
    fn what_is_earlier_is_of_the_current_one() {
        let mut intervals = live(20_000);
        intervals.add(at(19_000), &client(1));
        assert_eq!(intervals.roll(at(-3_600_000)), []);
        intervals.add(at(-3_600_000), &client(1));
        let last = intervals.finish(at(-3_600_000));
        assert_eq!(counts(&last), [(20_000, 2)]);
        assert_eq!((last[0].length, last[0].rate()), (Duration::ZERO, 0.0));
    }

    #[test]
    fn a_leap_of_years_is_one_row() {
        let mut intervals = records(0);
        intervals.add(at(0), &client(1));
        let years = 9 * 365 * 24 * 3_600_000;
        let over = intervals.roll(at(years + 5_000));
        assert_eq!(over.len(), MOST_EMPTY + 2);
        let all = years.unsigned_abs() / 10_000;
        let (last, shown) = over.split_last().unwrap();
        assert_eq!(last.skipped_empty + shown.len() as u64, all);
        assert_eq!(last.start, at(shown.len() as i64 * 10_000));
        assert_eq!(last.start + last.length, at(years));
        assert!(shown.iter().all(|interval| interval.skipped_empty == 0));
        intervals.add(at(years + 5_000), &client(1));
        let last = intervals.finish_whole().unwrap();
        assert_eq!(counts(&[last]), [(years, 1)]);
    }

    #[test]
    fn a_leap_skips_nothing_that_waits() {
        let mut intervals = records(0);
        intervals.add(at(10_000), &client(1));
        intervals.add_lost(1);
        let over = intervals.roll(at(9 * 365 * 24 * 3_600_000));
        assert_eq!(counts(&over[..3]), [(0, 1), (10_000, 1), (20_000, 0)]);
        let sum: u64 = over.iter().map(|interval| interval.connections).sum();
        assert_eq!(sum, 2);
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let mut intervals = Intervals::around(SHORTEST, Timestamp::MIN, TimeZone::UTC);
        intervals.add(Timestamp::MIN, &client(1));
        let over = intervals.roll(Timestamp::MAX);
        assert_eq!(over.len(), MOST_EMPTY + 2);
        intervals.add(Timestamp::MAX, &client(1));
        assert_eq!(intervals.roll(Timestamp::MAX), []);
        assert_eq!(intervals.finish_whole().unwrap().connections, 1);
    }

    #[test]
    fn no_connection_is_counted_twice_or_not_at_all() {
        let mut random = 1_u64;
        for _ in 0..200 {
            let mut intervals = live(5_000);
            let (mut now, mut over, mut added) = (5_000, Vec::new(), 0);
            for _ in 0..200 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let number = (random >> 33) as i64;
                now += number % 4_000 - 500;
                match number / 4_000 % 3 {
                    0 => over.extend(intervals.roll(at(now - 50))),
                    1 => intervals.add(at(now), &client((number % 7) as u8)),
                    _ => intervals.add_lost(1),
                }
                added += u64::from(number / 4_000 % 3 != 0);
            }
            over.extend(intervals.finish(at(now)));
            let sum: u64 = over.iter().map(|interval| interval.connections).sum();
            assert_eq!(sum, added);
            let follow = |pair: &[Interval]| pair[0].start + pair[0].length == pair[1].start;
            assert!(over.windows(2).all(follow));
        }
    }
}
