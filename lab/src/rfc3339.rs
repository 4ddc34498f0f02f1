//! Timestamps in conn-cli's JSON.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

/// The time since 1970 of a UTC timestamp: `2026-11-22T14:25:30.000000+00:00`.
pub fn parse(text: &str) -> Result<Duration> {
    let parsed = || {
        let (_, fraction) = text.strip_suffix("+00:00")?.split_once('.')?;
        let timestamp: Timestamp = text.parse().ok()?;
        let since = timestamp.duration_since(Timestamp::UNIX_EPOCH);
        Duration::try_from(since)
            .ok()
            .filter(|_| fraction.len() == 6)
    };
    let parsed = parsed().with_context(|| format!("not a UTC timestamp: {text:?}"))?;
    ensure!(
        parsed > Duration::from_secs(1_600_000_000),
        "{text:?} is too early"
    );
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_timestamps() {
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
