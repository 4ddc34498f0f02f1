//! Times as JSON has them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The time since 1970 of one in UTC: `2026-11-22T14:25:30.000000+00:00`.
pub(super) fn parse(text: &str) -> Result<Duration> {
    let parsed = || {
        let rest = text.strip_suffix("+00:00")?;
        let (date, time) = rest.split_once('T')?;
        let (time, fraction) = time.split_once('.')?;
        let [year, month, day] = numbers(date, '-')?;
        let [hour, minute, second] = numbers(time, ':')?;
        let micros: u64 = fraction.parse().ok()?;
        // Years from March on: a leap day is the last of its year.
        let (year, month) = match month {
            ..=2 => (year - 1, month + 9),
            _ => (year, month - 3),
        };
        let leap_days = year / 4 - year / 100 + year / 400;
        // To the first of March of the year 0, and from there to 1970.
        let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468;
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
        (fraction.len() == 6).then(|| Duration::from_micros(seconds * 1_000_000 + micros))
    };
    let parsed = parsed().with_context(|| format!("not a time in UTC: {text:?}"))?;
    ensure!(
        parsed > Duration::from_secs(1_600_000_000),
        "{text:?} is long ago"
    );
    Ok(parsed)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text
        .split(separator)
        .map(|part| part.parse().ok())
        .collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (text, micros) in [
            ("2024-02-29T23:59:59.999999+00:00", 1_709_251_199_999_999),
            ("2024-03-01T00:00:00.000000+00:00", 1_709_251_200_000_000),
            ("2026-11-22T14:25:30.000001+00:00", 1_795_357_530_000_001),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_micros(micros));
        }
        assert!(parse("2026-11-22T14:25:30.000001+01:00").is_err());
        assert!(parse("1970-01-01T00:00:00.000000+00:00").is_err());
    }
}
