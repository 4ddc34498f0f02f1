//! Who makes too many connections in an interval of the clock.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::group::GroupKey;

/// The shortest and the longest interval. Those of a day begin at midnight.
const LENGTHS: std::ops::RangeInclusive<u64> = 1..=24 * 60 * 60;

/// How many connections in an interval are not too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    connections: u32,
    seconds: u64,
}

/// One that is over the limit, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// Who.
    pub key: GroupKey,
    /// The limit.
    pub limit: OverLimit,
    /// When that became known.
    pub time: Timestamp,
    /// The number of the interval, one more for each.
    pub interval: u64,
    /// When it began.
    pub start: Timestamp,
    /// How many connections there were in it so far; None if there were not too many until it ended.
    pub connections: Option<u64>,
}

/// An interval that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverEnd {
    /// Its number.
    pub interval: u64,
    /// The limit in it.
    pub limit: OverLimit,
    /// When it began, and when it ended.
    pub period: (Timestamp, Timestamp),
}

/// What could not be counted or told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverGaps {
    /// Connections for which there was no room.
    pub not_counted: u64,
    /// How often one was over the limit in an interval, and there was no room to say so.
    pub not_told: u64,
}

impl OverLimit {
    /// # Errors
    /// If the interval cannot be had.
    pub fn new(connections: u32, length: Duration) -> Result<Self, String> {
        if length.subsec_nanos() != 0 || !LENGTHS.contains(&length.as_secs()) {
            return Err("the time is 1s to 24h, in whole seconds".to_owned());
        }
        Ok(Self {
            connections,
            seconds: length.as_secs(),
        })
    }

    /// The number that is not too many.
    #[must_use]
    pub fn connections(self) -> u32 {
        self.connections
    }

    /// The length in words: `1 m`.
    #[must_use]
    pub fn time(self) -> String {
        let units = [(3600, "h"), (60, "m"), (1, "s")];
        let fits = |(unit, _): &(u64, _)| self.seconds.is_multiple_of(*unit);
        let (unit, name) = units.into_iter().find(fits).unwrap_or((1, "s"));
        format!("{} {name}", self.seconds / unit)
    }

    /// The length of an interval.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// `100 in 1 m`
impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.connections, self.time())
    }
}
