//! The self-tests of a run: whether the hooks still see conn-cli's own connections.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    model::self_test::{SelfTestOutcome, SelfTestResult},
    system::stderr::say,
    trace::kernel::Tracer,
};

/// What the self-tests have found so far, and when the next one is due.
#[derive(Debug)]
pub(super) struct SelfTests {
    outcome: SelfTestOutcome,
    interval: Duration,
    /// The last time that all hooks ran.
    passed: Timestamp,
    last: Instant,
}

impl SelfTests {
    /// Begins with what was found when the hooks were attached.
    pub(super) fn begin(first: &SelfTestResult, interval: Duration) -> Self {
        Self {
            outcome: match first {
                SelfTestResult::NotTested(why) => SelfTestOutcome::NotTested(why.clone()),
                SelfTestResult::Passed | SelfTestResult::Silent(..) => SelfTestOutcome::Passed,
            },
            interval,
            passed: Timestamp::now(),
            last: Instant::now(),
        }
    }

    /// What they have found.
    pub(super) fn outcome(&self) -> &SelfTestOutcome {
        &self.outcome
    }

    /// Whether the hooks ran at the last one, and when they last did; None if they are not tested.
    pub(super) fn last(&self) -> Option<(bool, Timestamp)> {
        match self.outcome {
            SelfTestOutcome::Passed => Some((true, self.passed)),
            SelfTestOutcome::Silent { since, .. } => Some((false, since)),
            SelfTestOutcome::NotTested(_) => None,
        }
    }

    /// How long until the next one. Once a hook is silent, the count cannot be trusted from then on,
    /// whether it runs again or not.
    pub(super) fn left(&self) -> Duration {
        if self.outcome == SelfTestOutcome::Passed {
            self.interval.saturating_sub(self.last.elapsed())
        } else {
            Duration::MAX
        }
    }

    /// Sees whether the hooks still run.
    pub(super) fn run(&mut self, tracer: &Tracer) {
        if self.outcome != SelfTestOutcome::Passed {
            return;
        }
        match tracer.self_test() {
            SelfTestResult::Passed => self.passed = Timestamp::now(),
            SelfTestResult::Silent(stage, cause) => {
                self.outcome = SelfTestOutcome::Silent {
                    hook: tracer.hook_of(stage),
                    cause,
                    since: self.passed,
                };
                if let Some(silent) = self.outcome.silent() {
                    say(format_args!("warning: {silent}"));
                }
            }
            SelfTestResult::NotTested(why) => {
                say(format_args!(
                    "not self-tested any more: {why}; whether the hooks still run is not known"
                ));
                self.outcome = SelfTestOutcome::NotTested(why);
            }
        }
        self.last = Instant::now();
    }
}
