//! The accept wait as histograms: a classic one, which is exact, and a native one.

use std::collections::BTreeMap;

use conn_common::WAIT_STEP_BITS;

use crate::{count::waits::middle, model::metrics::Waits};

/// The powers of two of nanoseconds at which the classic histogram has bounds: from 16 µs to 17 s.
const POWERS: std::ops::RangeInclusive<usize> = 14..=34;

/// The schema of the native histogram: as many buckets for each power of two as the kernel's has steps.
pub(super) const SCHEMA: i32 = 3;

/// The upper bound of each bucket in seconds, and how many waits are in it.
///
/// Each power of two is where one of the kernel's steps begins. Waits are in whole nanoseconds, and a bound
/// includes itself, so it is a nanosecond less: what is counted is exactly what the bound says.
pub(super) fn classic(waits: &Waits) -> Vec<(f64, u64)> {
    let mut buckets = Vec::new();
    let mut first = 0;
    for power in POWERS {
        let end = power << WAIT_STEP_BITS;
        let bound_ns = (1_u64 << power) - 1;
        // Not times 1e-9, which is not exact.
        buckets.push((bound_ns as f64 / 1e9, waits.steps[first..end].iter().sum()));
        first = end;
    }
    buckets.push((f64::INFINITY, waits.steps[first..].iter().sum()));
    buckets
}

/// The buckets of a native histogram, as spans (where it begins after the end of the one before, and how many
/// buckets) and the difference of each count to the one before. A wait counts at the middle of the kernel's
/// step, which is at most 7 % off.
pub(super) fn native(waits: &Waits) -> (Vec<(i32, u32)>, Vec<i64>) {
    let mut counts = BTreeMap::<i32, i64>::new();
    for (step, &count) in waits.steps.iter().enumerate() {
        let middle = middle(step).as_secs_f64();
        if count > 0 && middle > 0.0 {
            // Bucket i ends with 2^(i / 2^SCHEMA).
            let bucket = (middle.log2() * f64::from(1 << SCHEMA)).ceil() as i32;
            *counts.entry(bucket).or_default() += count as i64;
        }
    }
    let (mut spans, mut deltas) = (Vec::<(i32, u32)>::new(), Vec::new());
    let (mut next, mut before) = (0, 0);
    for (bucket, count) in counts {
        match spans.last_mut() {
            Some(span) if bucket == next => span.1 += 1,
            _ => spans.push((bucket - next, 1)),
        }
        deltas.push(count - before);
        (next, before) = (bucket + 1, count);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use conn_common::WAIT_STEPS;

    use super::*;

    /// The kernel's step of a wait, by its definition.
    fn step(wait_ns: u64) -> usize {
        let exponent = wait_ns.ilog2();
        let eighth = (wait_ns - (1 << exponent)) >> (exponent - WAIT_STEP_BITS);
        ((exponent as usize) << WAIT_STEP_BITS) + eighth as usize
    }

    fn waits(waits_ns: &[u64]) -> Waits {
        let mut steps = vec![0; WAIT_STEPS];
        for wait_ns in waits_ns {
            steps[step(*wait_ns)] += 1;
        }
        Waits {
            steps,
            sum_ns: waits_ns.iter().sum(),
        }
    }

    #[test]
    fn each_wait_is_in_the_bucket_that_its_bound_says() {
        let edges = (3..60).map(|power| 1_u64 << power);
        let all: Vec<u64> = edges
            .flat_map(|edge| [edge, edge + 1, edge * 2 - 1])
            .collect();
        let buckets = classic(&waits(&all));
        assert_eq!(buckets.len(), 22);
        let mut cumulative = 0;
        for (bound, count) in buckets {
            cumulative += count;
            let within = all.iter().filter(|wait| **wait as f64 / 1e9 <= bound);
            assert_eq!(cumulative, within.count() as u64, "{bound}");
        }
        assert_eq!(cumulative, all.len() as u64);
    }

    #[test]
    fn the_first_and_the_last_bound_are_written_exactly() {
        let bounds: Vec<f64> = classic(&waits(&[])).iter().map(|bucket| bucket.0).collect();
        assert_eq!(bounds[0].to_string(), "0.000016383");
        assert_eq!(bounds[20].to_string(), "17.179869183");
    }

    #[test]
    fn native_buckets_have_every_wait_near_its_value() {
        let (spans, deltas) = native(&waits(&[1 << 20, 1 << 20, (1 << 20) + (1 << 17), 1 << 30]));
        let mut counts = Vec::new();
        let (mut bucket, mut count) = (0, 0);
        let mut deltas = deltas.into_iter();
        for (offset, length) in spans {
            bucket += offset;
            for _ in 0..length {
                count += deltas.next().unwrap();
                counts.push(((f64::from(bucket) / 8.0).exp2(), count));
                bucket += 1;
            }
        }
        assert!(deltas.next().is_none());
        let expected = [(1.048_576e-3, 2), (1.179_648e-3, 1), (1.073_741_824, 1)];
        assert_eq!(counts.len(), expected.len(), "{counts:?}");
        for ((bound, count), (wait, waits)) in counts.iter().zip(expected) {
            assert_eq!(*count, waits, "{counts:?}");
            assert!((1.0..1.19).contains(&(bound / wait)), "{bound} for {wait}");
        }
        assert_eq!(native(&waits(&[])), (Vec::new(), Vec::new()));
    }
}
