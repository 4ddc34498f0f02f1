//! How far apart two records are.

use std::num::NonZeroI64;

use jiff::Timestamp;

/// When a record was written, by whatever clock the record has: it may lack the date, the year or the zone.
/// Only the differences between two of them mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock(NonZeroI64);

/// What a clock counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    /// 1970, in UTC.
    Epoch = 1,
    /// 1970, in the unknown zone of the records.
    Zone,
    /// The beginning of a year without February 29.
    Year,
    /// Midnight.
    Day,
    /// A boot.
    Boot,
}

/// The low bits, which are the dial.
const DIAL_BITS: u32 = 3;

const DAY: i64 = 86_400_000_000;

impl Clock {
    /// The second, in microseconds.
    pub(crate) const SECOND: i64 = 1_000_000;

    /// That of a record without one: it is no time before or after any other.
    pub(crate) const UNKNOWN: Self = Self(NonZeroI64::MAX);

    /// So many microseconds on this dial. None for a time beyond thirty thousand years.
    #[must_use]
    pub fn new(dial: Dial, micros: i64) -> Option<Self> {
        let shifted = micros.checked_mul(1 << DIAL_BITS)?;
        NonZeroI64::new(shifted | dial as i64).map(Self)
    }

    /// The clock of a record with a whole time.
    #[must_use]
    pub(crate) fn at(time: Timestamp) -> Option<Self> {
        Self::new(Dial::Epoch, time.as_microsecond())
    }

    /// How many microseconds after `other` this is. None if their clocks have different dials.
    #[must_use]
    pub fn since(self, other: Self) -> Option<i64> {
        let dial = |clock: Self| clock.0.get() & ((1 << DIAL_BITS) - 1);
        if dial(self) != dial(other) {
            return None;
        }
        let since = (self.0.get() >> DIAL_BITS) - (other.0.get() >> DIAL_BITS);
        let round = match dial(self) {
            dial if dial == Dial::Year as i64 => 365 * DAY,
            dial if dial == Dial::Day as i64 => DAY,
            _ => return Some(since),
        };
        // The shorter way around the dial.
        Some((since + round / 2).rem_euclid(round) - round / 2)
    }

    /// The same so many microseconds later.
    #[must_use]
    pub(crate) fn plus(self, micros: i64) -> Self {
        let later = self.0.get().checked_add(micros << DIAL_BITS);
        later.and_then(NonZeroI64::new).map_or(self, Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clocks_of_one_dial_tell_how_far_they_are_apart() {
        let at = |dial, micros| Clock::new(dial, micros).unwrap();
        for dial in [Dial::Epoch, Dial::Zone, Dial::Year, Dial::Day, Dial::Boot] {
            assert_eq!(at(dial, 5).since(at(dial, 5)), Some(0));
            assert_eq!(at(dial, 5).since(at(dial, 7)), Some(-2));
            assert_eq!(at(dial, -7).since(at(dial, -9)), Some(2));
            assert_eq!(at(dial, 5).plus(9).since(at(dial, 5)), Some(9));
        }
        assert_eq!(at(Dial::Day, 5).since(at(Dial::Boot, 5)), None);
        assert_eq!(at(Dial::Day, 1).since(at(Dial::Day, DAY - 1)), Some(2));
        assert_eq!(
            at(Dial::Year, 1).since(at(Dial::Year, 365 * DAY - 1)),
            Some(2)
        );
        assert_eq!(at(Dial::Boot, 1).since(at(Dial::Boot, DAY)), Some(1 - DAY));
        assert_eq!(Clock::new(Dial::Epoch, i64::MAX), None);
    }
}
