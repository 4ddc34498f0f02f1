//! Timestamps in conn-cli's JSON.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

/// The time since 1970 of a UTC timestamp: `2026-11-22T14:25:30.000000+00:00`.
pub(crate) fn parse(text: &str) -> Result<Duration> {
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
