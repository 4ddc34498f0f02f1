//! Times of events as text.

use std::fmt::Write as _;

use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::model::{options::TimeFormat, schema::TimeField};

/// Digits of the fraction of a second: microseconds.
const DIGITS: usize = 6;

/// Writes times in one time zone and one format. Events come in bursts, so the text that stays the
/// same for a second is cached.
#[derive(Debug)]
pub(crate) struct Clock {
    zone: TimeZone,
    format: TimeFormat,
    /// The second of the cached text, rounded down: so it is the second shown before 1970, too.
    second: i64,
    /// The whole text for this second, or the part before the fraction.
    head: String,
    /// The part after the fraction.
    tail: String,
    text: String,
    /// The timestamp that was written last, in microseconds since 1970.
    previous: Option<i64>,
    /// Whether times in a table have the date.
    is_dated: bool,
}

impl Clock {
    /// A clock for this time zone. [`Self::rfc3339`] is the same with every format.
    #[must_use]
    pub(crate) fn new(zone: TimeZone, format: TimeFormat) -> Self {
        Self {
            zone,
            format,
            second: i64::MIN,
            head: String::new(),
            tail: String::new(),
            text: String::new(),
            previous: None,
            is_dated: false,
        }
    }

    /// A clock for the same time zone with a format that JSON has.
    #[must_use]
    pub(crate) fn for_json(self) -> Self {
        let format = match self.format {
            TimeFormat::Epoch => TimeFormat::Epoch,
            TimeFormat::Ctime | TimeFormat::Iso | TimeFormat::Delta | TimeFormat::Short => {
                TimeFormat::Iso
            }
        };
        Self::new(self.zone, format)
    }

    /// The timestamp in the clock's format. With [`TimeFormat::Delta`] that is the time since the
    /// previous call, 0 at the first, and negative where merged sources are not in order.
    pub(crate) fn text(&mut self, time: Timestamp) -> &str {
        let second = second(time);
        match self.format {
            TimeFormat::Ctime => {
                if second != self.second {
                    let zoned = time.to_zoned(self.zone.clone());
                    self.head = zoned.strftime("%a %b %e %H:%M:%S %Y").to_string();
                    self.second = second;
                }
                return &self.head;
            }
            TimeFormat::Iso => {
                if second != self.second {
                    let text = self.rfc3339(time);
                    let (head, tail) = text.split_once('.').unwrap_or((&text, ""));
                    self.head = head.to_owned();
                    self.tail = tail.get(DIGITS..).unwrap_or_default().to_owned();
                    self.second = second;
                }
                let fraction = micros(time) - second * 1_000_000;
                self.text.clear();
                self.text.push_str(&self.head);
                put_fraction(&mut self.text, fraction.unsigned_abs());
                self.text.push_str(&self.tail);
            }
            TimeFormat::Short => {
                if second != self.second {
                    let zoned = time.to_zoned(self.zone.clone());
                    self.head = zoned.strftime("%H:%M:%S").to_string();
                    self.second = second;
                }
                let fraction = micros(time) - second * 1_000_000;
                self.text.clear();
                self.text.push_str(&self.head);
                put_fraction(&mut self.text, fraction.unsigned_abs());
            }
            TimeFormat::Epoch => {
                self.text.clear();
                put_seconds(&mut self.text, micros(time));
            }
            TimeFormat::Delta => {
                let micros = micros(time);
                let previous = self.previous.replace(micros).unwrap_or(micros);
                self.text.clear();
                put_seconds(&mut self.text, micros - previous);
            }
        }
        &self.text
    }

    /// A time in a table: the time of day in seconds, with the date if [`Self::set_span`] has said that
    /// there are times of several days. [`TimeFormat::Iso`] and [`TimeFormat::Epoch`] are as in lines.
    pub(crate) fn in_table(&mut self, time: Timestamp) -> String {
        let format = match (self.format, self.is_dated) {
            (TimeFormat::Iso | TimeFormat::Epoch, _) => return self.text(time).to_owned(),
            (TimeFormat::Ctime | TimeFormat::Short | TimeFormat::Delta, true) => {
                "%Y-%m-%d %H:%M:%S"
            }
            (TimeFormat::Ctime | TimeFormat::Short | TimeFormat::Delta, false) => "%H:%M:%S",
        };
        let zoned = time.to_zoned(self.zone.clone());
        zoned.strftime(format).to_string()
    }

    /// Says which times there are in a table.
    pub(crate) fn set_span(&mut self, first: Timestamp, last: Timestamp) {
        let date = |time: Timestamp| time.to_zoned(self.zone.clone()).date();
        self.is_dated = date(first) != date(last);
    }

    /// The timestamp in JSON, which has a number for [`TimeFormat::Epoch`], else the format of RFC 3339.
    #[must_use]
    pub(crate) fn field(&self, time: Timestamp) -> TimeField<'static> {
        match self.format {
            TimeFormat::Epoch => TimeField::Epoch(epoch(time)),
            TimeFormat::Ctime | TimeFormat::Iso | TimeFormat::Delta | TimeFormat::Short => {
                TimeField::Text(self.rfc3339(time).into())
            }
        }
    }

    /// Like [`Self::field`], from the cached text, by a clock [`Self::for_json`].
    pub(crate) fn cached_field(&mut self, time: Timestamp) -> TimeField<'_> {
        match self.format {
            TimeFormat::Epoch => TimeField::Epoch(epoch(time)),
            TimeFormat::Ctime | TimeFormat::Iso | TimeFormat::Delta | TimeFormat::Short => {
                TimeField::Text(self.text(time).into())
            }
        }
    }

    /// From one time to another: `14:25:35 to 14:25:40`; one of them if both look the same. If they are on
    /// one day, the date is there once if it is `dated`, else not at all.
    #[must_use]
    pub(crate) fn period(&self, (from, to): (Timestamp, Timestamp), dated: bool) -> String {
        let [from, to] = match self.format {
            TimeFormat::Iso | TimeFormat::Epoch => {
                let mut clock = Self::new(self.zone.clone(), self.format);
                [from, to].map(|time| clock.text(time).to_owned())
            }
            TimeFormat::Ctime | TimeFormat::Delta | TimeFormat::Short => {
                let [from, to] = [from, to].map(|time| time.to_zoned(self.zone.clone()));
                let spans_days = from.date() != to.date();
                let text = |time: &Zoned, dated| {
                    let format = if dated {
                        "%Y-%m-%d %H:%M:%S"
                    } else {
                        "%H:%M:%S"
                    };
                    time.strftime(format).to_string()
                };
                if text(&from, true) == text(&to, true) {
                    return text(&from, dated);
                }
                [text(&from, dated || spans_days), text(&to, spans_days)]
            }
        };
        if from == to {
            return from;
        }
        format!("{from} to {to}")
    }

    /// In the format of RFC 3339, in microseconds: `2014-03-17T04:13:03.000000+00:00`.
    #[must_use]
    pub(crate) fn rfc3339(&self, time: Timestamp) -> String {
        let offset = self.zone.to_offset(time);
        format!("{:.DIGITS$}", time.display_with_offset(offset))
    }
}

/// Seconds since 1970, rounded down.
fn second(time: Timestamp) -> i64 {
    // Both parts have the sign of the timestamp.
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}

/// Microseconds since 1970, rounded down like the digits of [`Clock::rfc3339`]: so the deltas of a
/// log add up to the difference of its times.
fn micros(time: Timestamp) -> i64 {
    // Both parts have the sign of the timestamp. Microseconds up to the year 9999 fit an i64.
    time.as_second() * 1_000_000 + i64::from(time.subsec_nanosecond().div_euclid(1000))
}

/// Seconds since 1970. As the nearest number to its microseconds, it is printed with no more digits than
/// these.
fn epoch(time: Timestamp) -> f64 {
    micros(time) as f64 / 1e6
}

fn put_seconds(out: &mut String, micros: i64) {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    put(out, format_args!("{sign}{seconds}"));
    put_fraction(out, fraction);
}

/// Appends the microseconds of a second as a point and [`DIGITS`] digits.
fn put_fraction(out: &mut String, micros: u64) {
    // The leading 1 preserves the zeros after it.
    let mut digits = itoa::Buffer::new();
    let with_zeros = digits.format(micros + 10_u64.pow(DIGITS as u32));
    out.push('.');
    out.push_str(&with_zeros[1..]);
}

/// Appends text.
pub(super) fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Timestamp = Timestamp::constant(1_395_029_583, 123_456_789);

    fn east() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(9))
    }

    fn utc(format: TimeFormat) -> Clock {
        Clock::new(TimeZone::UTC, format)
    }

    #[test]
    fn ctime_matches_the_c_library() {
        let mut clock = utc(TimeFormat::Ctime);
        assert_eq!(clock.text(TIME), "Mon Mar 17 04:13:03 2014");
        let day = Timestamp::from_second(1_394_000_000).unwrap();
        // A day below 10 is padded with a space.
        assert_eq!(clock.text(day), "Wed Mar  5 06:13:20 2014");
        let mut clock = Clock::new(east(), TimeFormat::Ctime);
        assert_eq!(clock.text(TIME), "Mon Mar 17 13:13:03 2014");
    }

    #[test]
    fn cached_text_is_replaced_when_the_second_changes() {
        // Half a second before 1970 and half a second after are in different seconds.
        let mut clock = utc(TimeFormat::Ctime);
        assert_eq!(clock.text(at(500)), "Thu Jan  1 00:00:00 1970");
        assert_eq!(clock.text(at(-500)), "Wed Dec 31 23:59:59 1969");
        assert_eq!(clock.text(at(999)), "Thu Jan  1 00:00:00 1970");
    }

    #[test]
    fn iso_is_rfc3339() {
        for zone in [TimeZone::UTC, east()] {
            let mut clock = Clock::new(zone, TimeFormat::Iso);
            for time in [
                TIME,
                TIME,
                Timestamp::constant(1_395_029_583, 7_000),
                Timestamp::constant(1_395_029_584, 0),
                at(-1),
                at(1),
                Timestamp::MIN,
                Timestamp::MAX,
            ] {
                let rfc3339 = clock.rfc3339(time);
                assert_eq!(clock.text(time), rfc3339);
            }
        }
        let mut clock = Clock::new(east(), TimeFormat::Iso);
        assert_eq!(clock.text(TIME), "2014-03-17T13:13:03.123456+09:00");
    }

    #[test]
    fn iso_offset_changes_with_daylight_saving_time() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut clock = Clock::new(zone, TimeFormat::Iso);
        let change = 1_792_890_000; // 2026-10-25T01:00:00Z
        let before = Timestamp::new(change - 1, 999_999_999).unwrap();
        assert_eq!(clock.text(before), "2026-10-25T02:59:59.999999+02:00");
        let after = Timestamp::from_second(change).unwrap();
        assert_eq!(clock.text(after), "2026-10-25T02:00:00.000000+01:00");
    }

    #[test]
    fn short_is_the_time_of_day() {
        let mut clock = Clock::new(east(), TimeFormat::Short);
        assert_eq!(clock.text(TIME), "13:13:03.123456");
        let mut clock = utc(TimeFormat::Short);
        assert_eq!(clock.text(at(-1)), "23:59:59.999000");
        assert_eq!(clock.text(at(1)), "00:00:00.001000");
    }

    #[test]
    fn epoch_is_seconds_since_1970() {
        let mut clock = Clock::new(east(), TimeFormat::Epoch);
        assert_eq!(clock.text(TIME), "1395029583.123456");
        assert_eq!(clock.text(at(0)), "0.000000");
        assert_eq!(clock.text(at(-1)), "-0.001000");
        assert_eq!(clock.text(at(-1500)), "-1.500000");
    }

    #[test]
    fn delta_is_the_time_since_the_previous_line() {
        let mut clock = utc(TimeFormat::Delta);
        let deltas = [0, 1500, 1500, 1000, 61_000].map(|millis| {
            let time = at(1_395_029_583_000 + millis);
            clock.text(time).to_owned()
        });
        assert_eq!(
            deltas,
            ["0.000000", "1.500000", "0.000000", "-0.500000", "60.000000"]
        );
    }

    #[test]
    fn deltas_add_up_to_the_difference_of_the_times() {
        let mut clock = utc(TimeFormat::Delta);
        let nanos = |nanos: i128| Timestamp::from_nanosecond(nanos).unwrap();
        // Each is 0.6 microseconds after the previous one.
        let deltas = [0, 600, 1200, 1800].map(|time| clock.text(nanos(time)).to_owned());
        assert_eq!(deltas, ["0.000000", "0.000000", "0.000001", "0.000000"]);
    }

    #[test]
    fn a_period_has_a_date_if_it_needs_one() {
        let period = |format, seconds: i64, dated| {
            let to = Timestamp::from_second(TIME.as_second() + seconds).unwrap();
            Clock::new(east(), format).period((TIME, to), dated)
        };
        let ctime = |seconds, dated| period(TimeFormat::Ctime, seconds, dated);
        assert_eq!(ctime(0, true), "2014-03-17 13:13:03");
        assert_eq!(ctime(60, false), "13:13:03 to 13:14:03");
        assert_eq!(ctime(60, true), "2014-03-17 13:13:03 to 13:14:03");
        let days = "2014-03-17 13:13:03 to 2014-03-18 00:13:03";
        assert_eq!(ctime(11 * 3600, false), days);
        assert_eq!(period(TimeFormat::Delta, 11 * 3600, true), days);
        assert_eq!(
            period(TimeFormat::Iso, 1, false),
            "2014-03-17T13:13:03.123456+09:00 to 2014-03-17T13:13:04.000000+09:00"
        );
        assert_eq!(
            period(TimeFormat::Epoch, 1, false),
            "1395029583.123456 to 1395029584.000000"
        );
    }

    #[test]
    fn rfc3339_has_the_offset() {
        let east = Clock::new(east(), TimeFormat::Ctime);
        assert_eq!(east.rfc3339(TIME), "2014-03-17T13:13:03.123456+09:00");
        let utc = utc(TimeFormat::Delta);
        assert_eq!(utc.rfc3339(TIME), "2014-03-17T04:13:03.123456+00:00");
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }
}
