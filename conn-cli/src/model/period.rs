//! The part of the records that is wanted.

use jiff::Timestamp;

use super::connection::When;

/// A period of time, which may be open at either end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub since: Option<Timestamp>,
    /// The first moment after it.
    pub until: Option<Timestamp>,
}

impl Period {
    /// Whether a time is in it; None if that is not known.
    #[must_use]
    pub fn contains(&self, time: &When) -> Option<bool> {
        if self.is_unbounded() {
            return Some(true);
        }
        let time = time.timestamp()?;
        Some(
            self.since.is_none_or(|since| since <= time)
                && self.until.is_none_or(|until| time < until),
        )
    }

    /// Whether every time is in it, also an unknown one.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }
}
