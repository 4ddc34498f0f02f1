//! Tells how far apart records are from times that lack something, faster than completing these times.

use super::scan::{day_after_month, month};
use crate::model::{
    clock::{Clock, Dial},
    connection::{Lacks, When},
};

/// How many days of a year without February 29 are before each month.
const DAYS_BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

const SECONDS_OF_A_DAY: i64 = 86_400;

/// The clock of a record with this time.
#[must_use]
pub(crate) fn clock_of(when: &When) -> Option<Clock> {
    match when {
        When::At(time) => Clock::at(*time),
        When::Recorded(recorded) => clock(recorded.text.as_bytes(), recorded.lacks),
        When::Clock(clock) => Some(*clock),
        When::Unknown => None,
    }
}

/// What is wanted of a time that lacks something if it is not shown.
#[inline]
pub(crate) fn only_clock(text: &[u8], lacks: Lacks) -> When {
    clock(text, lacks).map_or(When::Unknown, When::Clock)
}

/// The clock of the time with which `text` begins; None if it does not tell the second, or is relative to an
/// earlier record.
fn clock(text: &[u8], lacks: Lacks) -> Option<Clock> {
    match lacks {
        Lacks::Date => Clock::new(Dial::Day, time_of_day(text)?),
        Lacks::Year => {
            let (day, time) = month_and_day(text)?;
            Clock::new(Dial::Year, micros(day, time_of_day(time)?))
        }
        Lacks::Zone => {
            let (day, time) = match text.first()? {
                b'0'..=b'9' => date(text)?,
                // The day of the week.
                _ => match text.get(4..)? {
                    text @ [b'0'..=b'9', ..] => date(text)?,
                    text => date_around_time(text)?,
                },
            };
            Clock::new(Dial::Zone, micros(day, time_of_day(time)?))
        }
        Lacks::Boot => {
            let (seconds, rest) = number(text)?;
            let whole = seconds.checked_mul(Clock::SECOND)?;
            Clock::new(Dial::Boot, whole.checked_add(fraction(rest))?)
        }
        Lacks::Before => None,
    }
}

fn micros(days: i64, time: i64) -> i64 {
    days * SECONDS_OF_A_DAY * Clock::SECOND + time
}

/// The microseconds of `14:25:37.123`.
fn time_of_day(text: &[u8]) -> Option<i64> {
    let [h, hh, b':', m, mm, b':', s, ss, rest @ ..] = text else {
        return None;
    };
    let [hours, minutes, seconds] = [two(*h, *hh)?, two(*m, *mm)?, two(*s, *ss)?];
    Some(((hours * 60 + minutes) * 60 + seconds) * Clock::SECOND + fraction(rest))
}

/// The day of the year, from 1, of `Nov 22 ` or `Nov  2 `, and the text after it.
fn month_and_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let before = DAYS_BEFORE[month(text)?];
    let (day, rest) = day_after_month(text)?;
    Some((before + i64::from(day), rest))
}

/// The days from 1970 of `2026-11-22T` or `2026-11-22 `, and the text after it.
fn date(text: &[u8]) -> Option<(i64, &[u8])> {
    let [y, yy, yyy, yyyy, b'-', m, mm, b'-', d, dd, _, rest @ ..] = text else {
        return None;
    };
    let year = two(*y, *yy)? * 100 + two(*yyy, *yyyy)?;
    Some((days(year, two(*m, *mm)?, two(*d, *dd)?), rest))
}

/// The same of `Nov 22 14:25:37 2026`, and the text from the time on.
fn date_around_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (day, time) = day_after_month(text)?;
    let (year, _) = number(time.get("14:25:37 ".len()..)?)?;
    let month = i64::try_from(month(text)?).ok()? + 1;
    (year <= 9999).then_some((days(year, month, day.into()), time))
}

/// The days from 1970-01-01 to this date in the Gregorian calendar, whose years begin in March here so that a
/// leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // (153 * month + 2) / 5 days are before a month counted from March, of 31, 30, 31, 30, 31 days.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}

fn two(tens: u8, units: u8) -> Option<i64> {
    let (tens, units) = (tens.wrapping_sub(b'0'), units.wrapping_sub(b'0'));
    (tens <= 9 && units <= 9).then(|| i64::from(tens * 10 + units))
}

/// The number of at most twelve digits with which `text` begins, and the text after it.
fn number(text: &[u8]) -> Option<(i64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    if digits.is_empty() || digits.len() > 12 {
        return None;
    }
    let add = |number, digit: &u8| number * 10 + i64::from(digit - b'0');
    Some((digits.iter().fold(0, add), rest))
}

/// The whole milliseconds of a decimal fraction, which are enough, in microseconds; 0 if there is none.
fn fraction(text: &[u8]) -> i64 {
    let [b'.' | b',', digits @ ..] = text else {
        return 0;
    };
    let (mut micros, mut unit) = (0, Clock::SECOND / 10);
    for byte in digits.iter().take(3) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        micros += i64::from(digit) * unit;
        unit /= 10;
    }
    micros
}

#[cfg(test)]
mod tests {
    use jiff::civil::DateTime;

    use super::*;

    /// How many microseconds are between two such times.
    fn between(lacks: Lacks, earlier: &str, later: &str) -> Option<i64> {
        let [earlier, later] = [earlier, later].map(|text| clock(text.as_bytes(), lacks));
        later?.since(earlier?)
    }

    #[test]
    fn times_without_date_or_year_go_round() {
        let date = |earlier, later| between(Lacks::Date, earlier, later);
        assert_eq!(date("14:25:37.5", "14:25:38.001999 IP"), Some(501_000));
        assert_eq!(date("23:59:59", "00:00:01"), Some(2_000_000));
        assert_eq!(date("00:00:01", "23:59:59"), Some(-2_000_000));
        assert_eq!(date("14:25", "14:26"), None);
        let year = |earlier, later| between(Lacks::Year, earlier, later);
        assert_eq!(
            year("Nov  9 23:59:59", "Nov 10 00:00:01.25"),
            Some(2_250_000)
        );
        assert_eq!(year("Feb 28 23:59:59", "Mar  1 00:00:00"), Some(1_000_000));
        assert_eq!(year("Apr 30 23:59:59", "May  1 00:00:00"), Some(1_000_000));
        assert_eq!(year("Dec 31 23:59:59", "Jan  1 00:00:00"), Some(1_000_000));
        assert_eq!(year("Nov 9 23:59:59", "Nov 10 00:00:00"), Some(1_000_000));
        assert_eq!(year("Nov22 14:25", "Nov22 14:25"), None);
    }

    #[test]
    fn times_without_a_zone_are_on_the_calendar() {
        for text in [
            "2026-11-22 14:25:37.123456",
            "1970-01-01 00:00:00",
            "1969-12-31 23:59:59",
            "2000-02-29 12:00:00",
            "2024-03-01 00:00:00.5",
            "2100-03-01 00:00:00",
            "9999-12-30 21:59:59",
        ] {
            let time: DateTime = text.parse().unwrap();
            let zone = jiff::tz::TimeZone::UTC;
            let expected = zone.to_timestamp(time).unwrap().as_millisecond() * 1000;
            let begin = "1970-01-01T00:00:00";
            assert_eq!(between(Lacks::Zone, begin, text), Some(expected), "{text}");
            let named = format!("Sun {text} CET");
            assert_eq!(
                between(Lacks::Zone, begin, &named),
                Some(expected),
                "{text}"
            );
        }
        let ctime = ("Sun Nov  1 14:25:37 2026", "2026-11-01T14:25:38");
        assert_eq!(between(Lacks::Zone, ctime.0, ctime.1), Some(1_000_000));
        let short = ctime.0.replace("  ", " ");
        assert_eq!(between(Lacks::Zone, &short, ctime.1), Some(1_000_000));
    }

    #[test]
    fn seconds_since_boot_have_a_clock_and_since_a_record_none() {
        assert_eq!(
            between(Lacks::Boot, "12345.678901", "12346.5"),
            Some(822_000)
        );
        assert_eq!(between(Lacks::Boot, "12345", "9999999999999.0"), None);
        assert_eq!(between(Lacks::Before, "0.000123", "0.000124"), None);
    }

    /// Any bytes have a clock or none.
    #[test]
    fn hostile_times_do_no_harm() {
        for text in [
            "",
            "N",
            "Sun ",
            "99:99:99.9999999999",
            "9999-99-99 99:99:99",
        ] {
            for lacks in [Lacks::Date, Lacks::Year, Lacks::Zone, Lacks::Boot] {
                let _ = between(lacks, text, text);
            }
        }
    }
}
