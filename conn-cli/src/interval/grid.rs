//! Where intervals begin and end.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// The moments between intervals of one length, in milliseconds since 1970.
///
/// If the length divides a day, they are its multiples since local midnight, so that 10 s end
/// at :00, :10 and so on, and 24 h at midnight; where the clocks are changed, an interval may
/// so be longer or shorter. Otherwise they are its multiples since the beginning of 1970 in UTC.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    length: i64,
    /// Whose midnight it is; None if that does not matter.
    zone: Option<TimeZone>,
}

impl Grid {
    pub(super) fn new(length: Duration, zone: TimeZone) -> Self {
        // No moment that jiff knows is so late that it would be passed.
        let length = i64::try_from(length.as_millis()).map_or(i64::MAX, |length| length.max(1));
        let length = length.min(1 << 50);
        Self {
            length,
            zone: (DAY % length == 0).then_some(zone),
        }
    }

    /// How many intervals are as long as this, roughly where the clocks are changed.
    pub(super) fn intervals(&self, millis: i64) -> u64 {
        u64::try_from((millis + self.length / 2) / self.length).unwrap_or(0)
    }

    /// The interval that a moment is in: it may be its beginning, but not its end.
    pub(super) fn around(&self, millis: i64) -> (i64, i64) {
        // From far enough before, so that the first end is one that the moment is not before.
        let mut start = millis - 3 * self.length;
        loop {
            let end = self.after(start);
            if end > millis {
                return (start, end);
            }
            start = end;
        }
    }

    /// The end of the interval that a moment is in.
    pub(super) fn after(&self, millis: i64) -> i64 {
        let end = |offset: i64| millis + self.length - (millis + offset).rem_euclid(self.length);
        let offset = self.offset(millis);
        let usual = end(offset);
        let new_offset = self.offset(usual);
        if new_offset == offset {
            return usual;
        }
        // The clocks are changed before that end. What is an end by the new time is one only
        // after the change.
        let changed = end(new_offset);
        match self.offset(changed) == new_offset {
            true => changed,
            false => changed + self.length,
        }
    }

    /// What local time is ahead of UTC.
    fn offset(&self, millis: i64) -> i64 {
        let Some(zone) = &self.zone else {
            return 0;
        };
        i64::from(zone.to_offset(moment(millis)).seconds()) * 1000
    }
}

/// Rounded down.
pub(super) fn millis(time: Timestamp) -> i64 {
    let millis = time.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(millis).expect("jiff's years, up to 9999, have fewer milliseconds")
}

/// The moment, or the last or first that there is.
pub(super) fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(match millis < 0 {
        true => Timestamp::MIN,
        false => Timestamp::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks go forward at 02:00 on 2026-03-29 and back at 03:00 on 2026-10-25.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn grid(seconds: f64, zone: TimeZone) -> Grid {
        Grid::new(Duration::from_secs_f64(seconds), zone)
    }

    fn at(text: &str) -> i64 {
        millis(text.parse().unwrap())
    }

    /// The ends from one moment on, in local time.
    fn ends(grid: &Grid, from: &str, number: usize) -> Vec<String> {
        let mut end = at(from);
        let mut next = || {
            end = grid.after(end);
            end
        };
        let zoned = |end| moment(end).to_zoned(berlin());
        let ends = (0..number).map(|_| zoned(next()).strftime("%d %H:%M:%S%:z").to_string());
        ends.collect()
    }

    #[test]
    fn multiples_since_midnight() {
        let grid = grid(10.0, TimeZone::UTC);
        let (start, end) = grid.around(at("2026-11-22T14:25:37.482Z"));
        assert_eq!(start, at("2026-11-22T14:25:30Z"));
        assert_eq!(end, at("2026-11-22T14:25:40Z"));
        assert_eq!(grid.around(end), (end, end + 10_000));
        assert_eq!(grid.around(end - 1), (start, end));
    }

    #[test]
    fn midnight_is_local() {
        let india = TimeZone::fixed(jiff::tz::Offset::from_seconds(19_800).unwrap());
        let (start, end) = grid(3600.0, india.clone()).around(at("2026-11-22T14:25:37Z"));
        assert_eq!(start, at("2026-11-22T19:00:00+05:30"));
        assert_eq!(end, at("2026-11-22T20:00:00+05:30"));
        let (start, end) = grid(86_400.0, india).around(at("2026-11-22T19:00:00Z"));
        assert_eq!(start, at("2026-11-23T00:00:00+05:30"));
        assert_eq!(end, at("2026-11-24T00:00:00+05:30"));
    }

    #[test]
    fn what_does_not_divide_a_day_counts_from_1970() {
        for seconds in [7.0, 7200.5, 172_800.0, 604_800.0] {
            let (start, end) = grid(seconds, berlin()).around(at("2026-11-22T14:25:37Z"));
            let length = (seconds * 1000.0) as i64;
            assert_eq!((start % length, end - start), (0, length), "{seconds}");
        }
        assert_eq!(grid(7.0, berlin()).around(-1), (-7000, 0));
    }

    #[test]
    fn a_day_is_from_midnight_to_midnight_whatever_is_done_to_the_clocks() {
        let day = grid(86_400.0, berlin());
        let (start, end) = day.around(at("2026-03-29T12:00:00+02:00"));
        assert_eq!(start, at("2026-03-29T00:00:00+01:00"));
        assert_eq!(end - start, 23 * 3_600_000);
        let (start, end) = day.around(at("2026-10-25T01:00:00+02:00"));
        assert_eq!(start, at("2026-10-25T00:00:00+02:00"));
        assert_eq!(end - start, 25 * 3_600_000);
        assert_eq!(day.around(at("2026-10-25T23:59:59+01:00")), (start, end));
    }

    #[test]
    fn around_a_change_of_the_clocks() {
        assert_eq!(
            ends(&grid(1800.0, berlin()), "2026-10-25T02:00:00+02:00", 4),
            [
                "25 02:30:00+02:00",
                "25 02:00:00+01:00",
                "25 02:30:00+01:00",
                "25 03:00:00+01:00"
            ]
        );
        assert_eq!(
            ends(&grid(21_600.0, berlin()), "2026-10-25T00:00:00+02:00", 2),
            ["25 06:00:00+01:00", "25 12:00:00+01:00"]
        );
        assert_eq!(
            ends(&grid(7200.0, berlin()), "2026-03-29T00:00:00+01:00", 2),
            ["29 04:00:00+02:00", "29 06:00:00+02:00"]
        );
        assert_eq!(
            ends(&grid(600.0, berlin()), "2026-03-29T01:45:00+01:00", 2),
            ["29 01:50:00+01:00", "29 03:00:00+02:00"]
        );
    }

    #[test]
    fn every_moment_is_in_the_interval_around_it() {
        for hours in [1, 2, 3, 4, 6, 8, 12, 24] {
            let grid = grid(f64::from(hours) * 3600.0, berlin());
            for from in ["2026-03-28T00:00:00Z", "2026-10-24T00:00:00Z"] {
                let from = at(from);
                for minute in 0..72 * 60 {
                    let moment = from + minute * 60_000;
                    let (start, end) = grid.around(moment);
                    assert!(start <= moment && moment < end, "{hours} {moment}");
                    assert_eq!(grid.after(start), end, "{hours} {moment}");
                    assert_eq!(grid.after(moment), end, "{hours} {moment}");
                    assert_eq!(grid.around(start), (start, end), "{hours} {moment}");
                }
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        for length in [0.1, 86_400.0, 1e12] {
            for zone in [TimeZone::UTC, berlin()] {
                let grid = grid(length, zone);
                for moment in [millis(Timestamp::MIN), millis(Timestamp::MAX)] {
                    let (start, end) = grid.around(moment);
                    assert!(start <= moment && moment < end);
                }
            }
        }
        let longest = Grid::new(Duration::MAX, TimeZone::UTC);
        let (start, end) = longest.around(at("2026-11-22T14:25:37Z"));
        assert!(start < end);
    }
}
