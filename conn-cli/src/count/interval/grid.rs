//! Where intervals begin and end.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The boundaries between intervals of one length, in milliseconds since 1970.
///
/// If the length divides a day, boundaries are multiples of it since local midnight: intervals of
/// 10 s end at :00, :10 and so on, and those of 24 h at midnight. Clock changes can make an
/// interval longer or shorter. Otherwise boundaries are multiples since the start of 1970 in UTC.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    length: i64,
    /// The zone of midnight; None if midnight does not matter.
    zone: Option<TimeZone>,
}

impl Grid {
    pub(super) fn new(length: Duration, zone: TimeZone) -> Self {
        let length = i64::try_from(length.as_millis()).map_or(i64::MAX, |length| length.max(1));
        // Longer than the whole range of jiff's timestamps.
        let length = length.min(1 << 50);
        Self {
            length,
            zone: (DAY_MS % length == 0).then_some(zone),
        }
    }

    /// How many intervals fit into this time, approximately across clock changes.
    pub(super) fn count_in(&self, millis: i64) -> u64 {
        u64::try_from((millis + self.length / 2) / self.length).unwrap_or(0)
    }

    /// The interval that contains a timestamp: the start is inclusive, the end exclusive.
    pub(super) fn containing(&self, millis: i64) -> (i64, i64) {
        // Starts early enough that the first boundary is not after the timestamp.
        let mut start = millis - 3 * self.length;
        loop {
            let end = self.next_boundary(start);
            if end > millis {
                return (start, end);
            }
            start = end;
        }
    }

    /// The end of the interval that contains a timestamp.
    pub(super) fn next_boundary(&self, millis: i64) -> i64 {
        let end = |offset: i64| millis + self.length - (millis + offset).rem_euclid(self.length);
        let offset = self.offset(millis);
        let usual = end(offset);
        let new_offset = self.offset(usual);
        if new_offset == offset {
            return usual;
        }
        // The clocks change before that end. A boundary in the new local time is valid only
        // after the change.
        let changed = end(new_offset);
        if self.offset(changed) == new_offset {
            changed
        } else {
            changed + self.length
        }
    }

    /// How far local time is ahead of UTC, in milliseconds.
    fn offset(&self, millis: i64) -> i64 {
        let Some(zone) = &self.zone else {
            return 0;
        };
        i64::from(zone.to_offset(timestamp(millis)).seconds()) * 1000
    }
}

/// Milliseconds since 1970, rounded down.
pub(super) fn millis(time: Timestamp) -> i64 {
    let millis = time.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(millis).expect("timestamps up to the year 9999 fit into 64 bits")
}

/// The timestamp, limited to jiff's range.
pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
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

    /// The boundaries after a timestamp, in local time.
    fn boundaries(grid: &Grid, from: &str, number: usize) -> Vec<String> {
        let mut end = at(from);
        let mut next = || {
            end = grid.next_boundary(end);
            end
        };
        let zoned = |end| timestamp(end).to_zoned(berlin());
        let texts = (0..number).map(|_| zoned(next()).strftime("%d %H:%M:%S%:z").to_string());
        texts.collect()
    }

    #[test]
    fn boundaries_are_multiples_since_midnight() {
        let grid = grid(10.0, TimeZone::UTC);
        let (start, end) = grid.containing(at("2026-11-22T14:25:37.482Z"));
        assert_eq!(start, at("2026-11-22T14:25:30Z"));
        assert_eq!(end, at("2026-11-22T14:25:40Z"));
        assert_eq!(grid.containing(end), (end, end + 10_000));
        assert_eq!(grid.containing(end - 1), (start, end));
    }

    #[test]
    fn midnight_is_local() {
        let india = TimeZone::fixed(jiff::tz::Offset::from_seconds(19_800).unwrap());
        let (start, end) = grid(3600.0, india.clone()).containing(at("2026-11-22T14:25:37Z"));
        assert_eq!(start, at("2026-11-22T19:00:00+05:30"));
        assert_eq!(end, at("2026-11-22T20:00:00+05:30"));
        let (start, end) = grid(86_400.0, india).containing(at("2026-11-22T19:00:00Z"));
        assert_eq!(start, at("2026-11-23T00:00:00+05:30"));
        assert_eq!(end, at("2026-11-24T00:00:00+05:30"));
    }

    #[test]
    fn lengths_that_do_not_divide_a_day_count_from_1970() {
        for seconds in [7.0, 7200.5, 172_800.0, 604_800.0] {
            let (start, end) = grid(seconds, berlin()).containing(at("2026-11-22T14:25:37Z"));
            let length = (seconds * 1000.0) as i64;
            assert_eq!((start % length, end - start), (0, length), "{seconds}");
        }
        assert_eq!(grid(7.0, berlin()).containing(-1), (-7000, 0));
    }

    #[test]
    fn day_lasts_from_midnight_to_midnight_across_clock_changes() {
        let day = grid(86_400.0, berlin());
        let (start, end) = day.containing(at("2026-03-29T12:00:00+02:00"));
        assert_eq!(start, at("2026-03-29T00:00:00+01:00"));
        assert_eq!(end - start, 23 * 3_600_000);
        let (start, end) = day.containing(at("2026-10-25T01:00:00+02:00"));
        assert_eq!(start, at("2026-10-25T00:00:00+02:00"));
        assert_eq!(end - start, 25 * 3_600_000);
        assert_eq!(
            day.containing(at("2026-10-25T23:59:59+01:00")),
            (start, end)
        );
    }

    #[test]
    fn boundaries_around_clock_changes() {
        assert_eq!(
            boundaries(&grid(1800.0, berlin()), "2026-10-25T02:00:00+02:00", 4),
            [
                "25 02:30:00+02:00",
                "25 02:00:00+01:00",
                "25 02:30:00+01:00",
                "25 03:00:00+01:00"
            ]
        );
        assert_eq!(
            boundaries(&grid(21_600.0, berlin()), "2026-10-25T00:00:00+02:00", 2),
            ["25 06:00:00+01:00", "25 12:00:00+01:00"]
        );
        assert_eq!(
            boundaries(&grid(7200.0, berlin()), "2026-03-29T00:00:00+01:00", 2),
            ["29 04:00:00+02:00", "29 06:00:00+02:00"]
        );
        assert_eq!(
            boundaries(&grid(600.0, berlin()), "2026-03-29T01:45:00+01:00", 2),
            ["29 01:50:00+01:00", "29 03:00:00+02:00"]
        );
    }

    #[test]
    fn every_timestamp_is_in_its_interval() {
        for hours in [1, 2, 3, 4, 6, 8, 12, 24] {
            let grid = grid(f64::from(hours) * 3600.0, berlin());
            for from in ["2026-03-28T00:00:00Z", "2026-10-24T00:00:00Z"] {
                let from = at(from);
                for minute in 0..72 * 60 {
                    let time = from + minute * 60_000;
                    let (start, end) = grid.containing(time);
                    assert!(start <= time && time < end, "{hours} {time}");
                    assert_eq!(grid.next_boundary(start), end, "{hours} {time}");
                    assert_eq!(grid.next_boundary(time), end, "{hours} {time}");
                    assert_eq!(grid.containing(start), (start, end), "{hours} {time}");
                }
            }
        }
    }

    #[test]
    fn first_and_last_timestamp_have_an_interval() {
        for length in [0.1, 86_400.0, 1e12] {
            for zone in [TimeZone::UTC, berlin()] {
                let grid = grid(length, zone);
                for time in [millis(Timestamp::MIN), millis(Timestamp::MAX)] {
                    let (start, end) = grid.containing(time);
                    assert!(start <= time && time < end);
                }
            }
        }
        let longest = Grid::new(Duration::MAX, TimeZone::UTC);
        let (start, end) = longest.containing(at("2026-11-22T14:25:37Z"));
        assert!(start < end);
    }
}
