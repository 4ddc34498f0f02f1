//! How long connections waited for the server to accept them.

use std::time::Duration;

use conn_common::{WAIT_STEP_BITS, WAIT_STEPS};

/// A histogram of waits, in steps of an eighth of a power of two, and the longest of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The count of each step, as [`conn_common::WAIT_STEPS`] defines them.
    steps: Vec<u64>,
    longest: Duration,
}

/// Quantiles of the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// The number of connections whose wait is known.
    pub known: u64,
    /// Half of them waited no longer.
    pub p50: Duration,
    /// 90 % of them waited no longer.
    pub p90: Duration,
    /// 99 % of them waited no longer.
    pub p99: Duration,
    /// None waited longer. The quantiles are within 7 %.
    pub longest: Duration,
}

impl Waits {
    /// Takes the kernel's histogram and longest wait. A concurrent update may have overwritten a
    /// longer one (`conn-ebpf`, `count_wait`), so the result is at least the last step in use.
    #[must_use]
    pub fn new(steps: Vec<u64>, longest: Duration) -> Self {
        let last = steps.iter().rposition(|&count| count > 0);
        let least = last.map_or(Duration::ZERO, |step| bounds(step).0);
        Self {
            steps,
            longest: longest.max(least),
        }
    }

    /// None if no wait is known.
    #[must_use]
    pub fn quantiles(&self) -> Option<Quantiles> {
        let known = self.known();
        (known > 0).then(|| Quantiles {
            known,
            p50: self.quantile(known, 50),
            p90: self.quantile(known, 90),
            p99: self.quantile(known, 99),
            longest: self.longest,
        })
    }

    fn known(&self) -> u64 {
        self.steps.iter().sum()
    }

    /// The wait that this percentage of the waits do not exceed.
    fn quantile(&self, known: u64, percent: u64) -> Duration {
        let wanted = (u128::from(known) * u128::from(percent)).div_ceil(100);
        let mut counted = 0;
        let is_reached = |count: &u64| {
            counted += u128::from(*count);
            counted >= wanted
        };
        match self.steps.iter().position(is_reached) {
            Some(step) => middle(step).min(self.longest),
            None => self.longest,
        }
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self::new(vec![0; WAIT_STEPS], Duration::ZERO)
    }
}

/// The middle of a step of the histogram.
pub(crate) fn middle(step: usize) -> Duration {
    let (low, width) = bounds(step);
    low.saturating_add(width / 2)
}

/// Where a step of the histogram begins, and how wide it is.
fn bounds(step: usize) -> (Duration, Duration) {
    let (exponent, eighth) = (step >> WAIT_STEP_BITS, step & ((1 << WAIT_STEP_BITS) - 1));
    // The eBPF programs put shorter waits into the first step that has a width.
    let Some(width) = exponent.checked_sub(WAIT_STEP_BITS as usize) else {
        return (Duration::ZERO, Duration::ZERO);
    };
    let low = (1_u64 << exponent) + ((eighth as u64) << width);
    (Duration::from_nanos(low), Duration::from_nanos(1 << width))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step of a wait by definition, without the eBPF programs' arithmetic.
    fn step(wait: Duration) -> usize {
        let ns = wait.as_nanos() as f64;
        let exponent = ns.log2().floor();
        let eighth = ((ns / exponent.exp2() - 1.0) * 8.0).floor();
        ((exponent as usize) << 3) + eighth as usize
    }

    fn waits(counts: &[(u64, u64)]) -> Waits {
        let mut waits = Waits::default();
        for &(ms, count) in counts {
            let wait = Duration::from_millis(ms);
            waits.steps[step(wait)] += count;
            waits.longest = waits.longest.max(wait);
        }
        waits
    }

    fn is_about(duration: Duration, ms: f64) -> bool {
        (duration.as_secs_f64() * 1000.0 / ms - 1.0).abs() < 0.07
    }

    #[test]
    fn quantiles_are_within_seven_percent() {
        let quantiles = waits(&[(50, 89), (200, 10), (3000, 1)])
            .quantiles()
            .unwrap();
        assert_eq!(quantiles.known, 100);
        assert!(is_about(quantiles.p50, 50.0), "{quantiles:?}");
        assert!(is_about(quantiles.p90, 200.0), "{quantiles:?}");
        assert!(is_about(quantiles.p99, 200.0), "{quantiles:?}");
        assert_eq!(quantiles.longest, Duration::from_secs(3));
        for ms in [1, 7, 63, 64, 65, 999, 86_400_000] {
            let one = waits(&[(ms, 1)]).quantiles().unwrap();
            assert!(is_about(one.p50, ms as f64), "{ms} ms: {one:?}");
            assert!(one.p99 <= one.longest);
        }
    }

    #[test]
    fn longest_wait_is_not_below_the_histogram() {
        let mut steps = vec![0; WAIT_STEPS];
        let second = Duration::from_secs(1);
        steps[step(second)] = 1;
        let waits = |longest| Waits::new(steps.clone(), longest).quantiles().unwrap();
        let overwritten = waits(Duration::from_millis(3));
        assert!(is_about(overwritten.longest, 1000.0), "{overwritten:?}");
        assert!(overwritten.p50 <= overwritten.longest);
        assert_eq!(waits(second).longest, second);
    }

    #[test]
    fn no_waits_have_no_quantiles() {
        assert_eq!(Waits::default().quantiles(), None);
    }

    #[test]
    fn first_and_last_step_have_a_middle() {
        assert_eq!(middle(0), Duration::ZERO);
        assert_eq!(middle(WAIT_STEPS - 1).as_nanos() >> 63, 1);
    }
}
