//! The times that `--since` and `--until` take.

use jiff::{
    Error, SignedDuration, Span, Timestamp, ToSpan as _, Zoned,
    civil::{DateTime, Time},
    tz::TimeZone,
};

use crate::model::period::Period;

/// A time as it was given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    /// `2026-11-26T18:33:24+01:00`, `@1795718004`
    At(Timestamp),
    /// `2026-11-26`, `2026-11-26 18:33`
    Local(DateTime),
    /// `18:33`
    Today(Time),
    /// `today` and `yesterday`: midnight, and how many days ago.
    Midnight(i32),
    /// `now`, `-2h`: relative to now.
    Relative(Span),
}

impl Given {
    /// Parses an argument.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        Self::recognise(text).ok_or(
            "give a date, a time or both, such as 2026-11-26 or '2026-11-26 18:33', or today, yesterday, \
             now, -2h, or @ and seconds since 1970",
        )
    }

    fn recognise(text: &str) -> Option<Self> {
        match text {
            "now" => return Some(Self::Relative(Span::new())),
            "today" => return Some(Self::Midnight(0)),
            "yesterday" => return Some(Self::Midnight(1)),
            _ => (),
        }
        if let Some(seconds) = text.strip_prefix('@') {
            let is_number = seconds.starts_with(|char: char| char.is_ascii_digit());
            let since: SignedDuration = format!("{seconds}s").parse().ok()?;
            let time = Timestamp::UNIX_EPOCH.checked_add(since).ok()?;
            return is_number.then_some(Self::At(time));
        }
        if text.starts_with('-') || text.ends_with("ago") {
            let span: Span = text.parse().ok()?;
            return span.is_negative().then_some(Self::Relative(span));
        }
        if !text.contains('-') {
            let time = text.contains(':').then(|| text.parse());
            return time?.ok().map(Self::Today);
        }
        if let Ok(time) = text.parse() {
            return Some(Self::At(time));
        }
        // A zone in brackets would be ignored.
        let local = (!text.contains('[')).then(|| text.parse());
        local?.ok().map(Self::Local)
    }

    /// The moment. Where the clocks go back, a time that comes twice is the first one.
    fn moment(self, now: &Zoned) -> Result<Timestamp, Error> {
        let zone = now.time_zone().clone();
        let zoned = match self {
            Self::At(time) => return Ok(time),
            Self::Local(local) => local.to_zoned(zone),
            Self::Today(time) => now.date().to_datetime(time).to_zoned(zone),
            Self::Midnight(days) => now.date().checked_sub(days.days())?.to_zoned(zone),
            Self::Relative(span) => now.checked_add(span),
        };
        zoned.map(|zoned| zoned.timestamp())
    }
}

/// The period between these times, in this time zone.
///
/// # Errors
/// If it is empty or not in the range of timestamps.
pub(super) fn period(
    since: Option<Given>,
    until: Option<Given>,
    now: Timestamp,
    zone: TimeZone,
) -> Result<Period, String> {
    let now = now.to_zoned(zone);
    let moment = |option: &str, given: Option<Given>| {
        let moment = given.map(|given| given.moment(&now)).transpose();
        moment.map_err(|error| format!("{option}: {error}"))
    };
    let period = Period {
        since: moment("--since", since)?,
        until: moment("--until", until)?,
    };
    match period {
        Period {
            since: Some(since),
            until: Some(until),
        } if since >= until => Err("--since must be before --until".to_owned()),
        _ => Ok(period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks go forward at 02:00 on 2026-03-29 and back at 03:00 on 2026-10-25.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn since(text: &str, now: &str) -> Option<String> {
        let given = Given::parse(text).ok()?;
        let period = period(Some(given), None, now.parse().unwrap(), berlin()).ok()?;
        Some(period.since?.to_string())
    }

    #[test]
    fn times_are_local_or_have_an_offset() {
        let now = "2026-11-27T00:30:00Z";
        for (text, expected) in [
            ("2026-11-26", "2026-11-25T23:00:00Z"),
            ("2026-11-26 18:33", "2026-11-26T17:33:00Z"),
            ("2026-11-26T18:33:24", "2026-11-26T17:33:24Z"),
            ("2026-11-26 18:33:24.5", "2026-11-26T17:33:24.5Z"),
            ("2026-11-26T18:33:24Z", "2026-11-26T18:33:24Z"),
            ("2026-11-26 18:33:24-08:00", "2026-11-27T02:33:24Z"),
            ("18:33", "2026-11-27T17:33:00Z"),
            ("00:15:01", "2026-11-26T23:15:01Z"),
            ("today", "2026-11-26T23:00:00Z"),
            ("yesterday", "2026-11-25T23:00:00Z"),
            ("now", now),
            ("-2h", "2026-11-26T22:30:00Z"),
            ("-1h30m", "2026-11-26T23:00:00Z"),
            ("2h ago", "2026-11-26T22:30:00Z"),
            ("30 minutes ago", "2026-11-27T00:00:00Z"),
            ("-1d", "2026-11-26T00:30:00Z"),
            ("@1795718004", "2026-11-26T18:33:24Z"),
            ("@1795718004.25", "2026-11-26T18:33:24.25Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(since(text, now), Some(expected.to_string()), "{text}");
        }
    }

    #[test]
    fn clock_changes_do_not_shift_times() {
        // Not in 24 hours: the day had 23, and the other 25.
        for (text, now, expected) in [
            ("-1d", "2026-03-29T10:00:00Z", "2026-03-28T11:00:00Z"),
            ("yesterday", "2026-10-26T12:00:00Z", "2026-10-24T22:00:00Z"),
            ("-24h", "2026-03-29T10:00:00Z", "2026-03-28T10:00:00Z"),
            // This time is left out: the clock shows 03:30.
            (
                "2026-03-29 02:30",
                "2026-11-27T00:00:00Z",
                "2026-03-29T01:30:00Z",
            ),
            // This one comes twice.
            (
                "2026-10-25 02:30",
                "2026-11-27T00:00:00Z",
                "2026-10-25T00:30:00Z",
            ),
        ] {
            assert_eq!(since(text, now).as_deref(), Some(expected), "{text} {now}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "foo",
            "25:00",
            "18:60",
            "12",
            "2026-13-01",
            "2026-02-30",
            "2h",
            "+2h",
            "-2",
            "-",
            "@",
            "@x",
            "@-5",
            "ago",
            "18:33Z",
            "2026-11-26 18:33[Europe/Berlin]",
            "\u{1b}[2J",
            "-99999999y",
        ] {
            assert_eq!(since(text, "2026-11-27T00:30:00Z"), None, "{text}");
        }
    }

    #[test]
    fn an_empty_period_is_refused() {
        let given = |text| Some(Given::parse(text).unwrap());
        let period = |since, until| {
            let now = Timestamp::UNIX_EPOCH;
            period(given(since), given(until), now, TimeZone::UTC)
        };
        assert!(period("-2h", "-1h").is_ok());
        assert!(period("-1h", "-2h").is_err());
        assert!(period("now", "now").is_err());
    }
}
