//! Whether a SYN that was sent again may have counted as a first one: the programs remember so many SYNs,
//! not all of the time in which one may be sent again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long a SYN may be sent again: after the last of six times, 127 seconds after the first one, the
/// client gives up (`Documentation/networking/ip-sysctl.rst`, `tcp_syn_retries`).
const MEMORY: Duration = Duration::from_secs(127);

/// The least time between two samples.
const INTERVAL: Duration = Duration::from_secs(4);

/// How many free entries a processor takes at once, in whose place others are forgotten
/// (`kernel/bpf/bpf_lru_list.c`, `LOCAL_FREE_TARGET`).
const FREE_ENTRIES: u64 = 128;

/// How many SYNs had been remembered at some moments.
#[derive(Debug)]
pub(super) struct SynMemory {
    /// How many are remembered at least, if so many came.
    room: u64,
    /// Of the last [`MEMORY`], and the last one before that.
    samples: VecDeque<(Instant, u64)>,
    forgot: bool,
}

impl SynMemory {
    /// `entries`: the size of the map. `now`: when the programs began.
    pub(super) fn new(entries: u32, processors: u32, now: Instant) -> Self {
        let entries = u64::from(entries);
        let free = FREE_ENTRIES * u64::from(processors);
        Self {
            room: entries - free.min(entries / 2),
            samples: [(now, 0)].into(),
            forgot: false,
        }
    }

    /// Whether it is time for a sample.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let last = self.samples.back();
        last.is_none_or(|(last, _)| now.saturating_duration_since(*last) >= INTERVAL)
    }

    /// Adds a sample: how many SYNs have been remembered since the beginning.
    pub(super) fn add(&mut self, now: Instant, remembered: u64) {
        self.samples.push_back((now, remembered));
        let is_before = |(time, _): &(Instant, u64)| now.saturating_duration_since(*time) >= MEMORY;
        while self.samples.get(1).is_some_and(is_before) {
            self.samples.pop_front();
        }
        let first = self.samples.front().map_or(0, |(_, first)| *first);
        self.forgot |= remembered.saturating_sub(first) > self.room;
    }

    /// Whether there were more within [`MEMORY`] than are remembered.
    pub(super) fn forgot(&self) -> bool {
        self.forgot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether so many SYNs at these seconds are too many for 10,000 entries.
    fn forgets(samples: &[(u64, u64)]) -> bool {
        let start = Instant::now();
        let mut memory = SynMemory::new(10_000, 1, start);
        for (seconds, remembered) in samples {
            memory.add(start + Duration::from_secs(*seconds), *remembered);
        }
        memory.forgot()
    }

    #[test]
    fn more_than_there_is_room_for_within_two_minutes_are_forgotten() {
        assert!(!forgets(&[]));
        assert!(!forgets(&[(1, 9_872)]));
        assert!(forgets(&[(1, 9_873)]));
        assert!(forgets(&[(60, 5_000), (126, 9_873)]));
        // For good.
        assert!(forgets(&[(1, 9_873), (1_000, 9_873), (2_000, 9_874)]));
        // As many, more slowly.
        let slowly = |per_second: u64| -> Vec<_> {
            (0..1_000)
                .map(|second| (4 * second, 4 * second * per_second))
                .collect()
        };
        assert!(!forgets(&slowly(75)));
        assert!(forgets(&slowly(80)));
        // What came in one moment may have come at the end of the time before it.
        assert!(forgets(&[(100, 0), (200, 5_000), (230, 9_873)]));
        assert!(!forgets(&[(100, 5_000), (227, 5_000), (230, 9_873)]));
    }

    #[test]
    fn samples_are_few_and_processors_take_no_more_than_half() {
        let start = Instant::now();
        let mut memory = SynMemory::new(4096, 64, start);
        assert_eq!(memory.room, 2048);
        let mut samples = 0;
        for second in 0..1000 {
            let now = start + Duration::from_secs(second);
            if memory.is_due(now) {
                memory.add(now, 0);
                samples = samples.max(memory.samples.len());
            }
        }
        assert!((32..=34).contains(&samples), "{samples}");
    }
}
