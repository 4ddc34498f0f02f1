//! Looks for connections that wait to be accepted while none arrives: then clients connect, but the server does
//! not accept.

use std::time::Duration;

use tokio::time::Instant;

use crate::{model::queues::Queues, output::waiting, system::stderr::say};

/// How long no connection arrives before the first check for connections that wait to be accepted.
const FIRST_CHECK_AFTER: Duration = Duration::from_secs(2);

/// The longest time between two such checks. The kernel goes through all its listening sockets
/// each time.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest time between two reports of connections that wait, which anybody can cause.
const REPORT_INTERVAL: Duration = Duration::from_mins(1);

/// The time since the last connection.
#[derive(Debug)]
pub(super) struct Silence {
    /// When something arrived last, and when waiting connections were reported last.
    last_arrival: Instant,
    reported: Option<Instant>,
    /// When to check for waiting connections, unless something arrives.
    check_at: Instant,
}

impl Silence {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            last_arrival: now,
            reported: None,
            check_at: now + FIRST_CHECK_AFTER,
        }
    }

    /// Begins again, since something has arrived.
    pub(super) fn end(&mut self, now: Instant) {
        *self = Self {
            reported: self.reported,
            ..Self::begin(now)
        };
    }

    /// How long until the next check.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.check_at.saturating_duration_since(now)
    }

    /// Whether to look now for connections that wait.
    pub(super) fn is_check_due(&mut self, now: Instant) -> bool {
        if now < self.check_at {
            return false;
        }
        self.check_at = now + until_next_check(now - self.last_arrival);
        !self.reported.is_some_and(|reported| {
            reported > self.last_arrival || now - reported < REPORT_INTERVAL
        })
    }

    /// Reports connections that wait, unless something has arrived meanwhile.
    pub(super) fn report(&mut self, queues: &Queues, now: Instant) {
        let silence = now - self.last_arrival;
        if silence < FIRST_CHECK_AFTER {
            return;
        }
        let listeners = queues.listeners.iter().map(|(listener, _)| listener);
        for line in waiting(silence.as_secs(), listeners) {
            say(line);
            self.reported = Some(now);
        }
    }
}

/// The time until the next check for waiting connections, after one in this silence: 1.5 times the
/// silence, at most [`MAX_CHECK_INTERVAL`].
fn until_next_check(silence: Duration) -> Duration {
    (silence * 3 / 2).min(MAX_CHECK_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_become_less_frequent_while_nothing_arrives() {
        let start = Instant::now();
        let mut silence = Silence::begin(start);
        let mut now = start;
        let checks = [(); 5].map(|()| {
            now += silence.left(now);
            assert!(silence.is_check_due(now) && !silence.is_check_due(now));
            (now - start).as_secs_f64()
        });
        assert_eq!(checks, [2.0, 5.0, 12.5, 22.5, 32.5]);
    }

    #[test]
    fn a_report_is_not_repeated_before_something_arrives_and_a_minute_has_passed() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut silence = Silence::begin(start);
        silence.reported = Some(after(2));
        assert!(!silence.is_check_due(after(100)));
        silence.end(after(30));
        assert!(!silence.is_check_due(after(40)));
        assert!(silence.is_check_due(after(62)));
    }
}
