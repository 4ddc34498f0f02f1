//! A clock that nobody sets.

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Tells the wall clock's time as it was when the run began, plus the time since then, which includes
/// that in suspend.
#[derive(Clone, Copy, Debug)]
pub(super) struct SteadyClock {
    /// The wall clock's time when the kernel booted.
    boot: Timestamp,
}

impl SteadyClock {
    /// The clock that shows `wall` now.
    pub(super) fn begin(wall: Timestamp) -> Self {
        Self {
            boot: wall.saturating_sub(since_boot()).unwrap_or(wall),
        }
    }

    /// The time now.
    pub(super) fn now(self) -> Timestamp {
        self.boot.saturating_add(since_boot()).unwrap_or(self.boot)
    }

    /// The time that this clock had when the wall clock, as it is set now, had `wall`.
    pub(super) fn corrected(self, wall: Timestamp) -> Timestamp {
        let ahead = Timestamp::now().duration_since(self.now());
        wall.saturating_sub(ahead).unwrap_or(wall)
    }
}

fn since_boot() -> SignedDuration {
    let time = clock_gettime(ClockId::Boottime);
    SignedDuration::new(time.tv_sec, time.tv_nsec as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_was_set_is_corrected() {
        let hour = SignedDuration::from_hours(1);
        let now = Timestamp::now();
        // As if the wall clock had been set back by an hour since.
        let clock = SteadyClock::begin(now + hour);
        let corrected = clock.corrected(now);
        let error = corrected.duration_since(now + hour).abs();
        assert!(error < SignedDuration::from_secs(60), "{error:?}");
    }
}
