//! The programs' counters, which can be read while they run: a slot for each processor.

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use conn_common::{Counters, HeavySet, Stages, WAIT_STEPS};

use super::{mapping::Mapping, names};

/// The number of slots if the number of processors is not known, as in a container that hides it.
const DEFAULT_SLOTS: u32 = 64;

/// The most slots: each has 4 KiB for the histogram of waits.
const MAX_SLOTS: u32 = 1024;

/// The number of slots: a power of two, so that the number of any processor has one. Processors that share
/// one count right, only more slowly.
pub(super) fn slots() -> u32 {
    let processors = aya::util::nr_cpus().ok();
    let processors = processors.map_or(DEFAULT_SLOTS, |processors| processors as u32);
    processors.next_power_of_two().min(MAX_SLOTS)
}

/// The slots, mapped into conn-cli's memory.
#[derive(Debug)]
pub(super) struct Live {
    counters: Mapping<Counters>,
    waits: Mapping<u64>,
    heavy: Option<Mapping<HeavySet>>,
    slots: usize,
}

impl Live {
    /// Maps the counters.
    ///
    /// # Errors
    /// An error of the system.
    pub(super) fn new(ebpf: &Ebpf) -> anyhow::Result<Self> {
        let array = ebpf.map(names::COUNTERS).context("no such map")?;
        let array = Array::<&MapData, [u8; size_of::<Counters>()]>::try_from(array)?;
        let slots = array.len() as usize;
        let heavy = ebpf.map(names::HEAVY).context("no such map")?;
        let heavy = Array::<&MapData, [u8; size_of::<HeavySet>()]>::try_from(heavy)?;
        // One, if there are none: an array has a value.
        let sets = Some(heavy.len() as usize).filter(|sets| *sets > 1);
        Ok(Self {
            counters: Mapping::new(ebpf, names::COUNTERS, slots)?,
            waits: Mapping::new(ebpf, names::WAITS, slots * WAIT_STEPS)?,
            heavy: { sets.map(|sets| Mapping::new(ebpf, names::HEAVY, sets)) }.transpose()?,
            slots,
        })
    }

    /// The current sums.
    pub(super) fn get(&self) -> Counters {
        self.counters
            .each(|slot| slot)
            .fold(Counters::default(), sum)
    }

    /// [`Counters::lost`] alone, of which there is only one cache line to read in each slot.
    pub(super) fn lost(&self) -> Stages {
        let lost = self.counters.each(|slot| {
            // SAFETY: a pointer to a value, which is not read here.
            unsafe { &raw const (*slot).lost }
        });
        lost.fold(Stages::default(), sum_of_stages)
    }

    /// [`Counters::remembered`] alone.
    pub(super) fn remembered(&self) -> u64 {
        let remembered = self.counters.each(|slot| {
            // SAFETY: as in `lost`.
            unsafe { &raw const (*slot).remembered }
        });
        remembered.sum()
    }

    /// The current histogram of waits.
    pub(super) fn waits(&self) -> Vec<u64> {
        let mut steps = vec![0; WAIT_STEPS];
        for (index, count) in self.waits.each(|count| count).enumerate() {
            steps[index % WAIT_STEPS] += count;
        }
        steps
    }

    /// [`Counters::waits_ns`] alone.
    pub(super) fn waits_ns(&self) -> u64 {
        let waits = self.counters.each(|slot| {
            // SAFETY: as in `lost`.
            unsafe { &raw const (*slot).waits_ns }
        });
        waits.sum()
    }

    /// The tables of heavy clients. To be read before [`Self::get`]: what is counted in them is counted in
    /// [`Counters::other`] before.
    pub(super) fn heavy(&self) -> Vec<Vec<Option<HeavySet>>> {
        let Some(heavy) = &self.heavy else {
            return Vec::new();
        };
        let is_whole = |set: &HeavySet| set.busy == 0;
        let sets: Vec<_> = { heavy.each_at_rest() }
            .map(|set| set.filter(is_whole))
            .collect();
        sets.chunks(sets.len() / self.slots)
            .map(<[_]>::to_vec)
            .collect()
    }
}

/// Each field is named: one that is new does not compile.
fn sum(one: Counters, other: Counters) -> Counters {
    Counters {
        lost: sum_of_stages(one.lost, other.lost),
        second_hook_only: one.second_hook_only + other.second_hook_only,
        unreadable: one.unreadable + other.unreadable,
        unreadable_packets: one.unreadable_packets + other.unreadable_packets,
        other: sum_of_stages(one.other, other.other),
        out_of_memory: sum_of_stages(one.out_of_memory, other.out_of_memory),
        self_tests: sum_of_stages(one.self_tests, other.self_tests),
        of_users: sum_of_stages(one.of_users, other.of_users),
        by_kernel_threads: one.by_kernel_threads + other.by_kernel_threads,
        sums: sum_of_stages(one.sums, other.sums),
        entries: one.entries + other.entries,
        waits_ns: one.waits_ns + other.waits_ns,
        self_test_ns: one.self_test_ns.max(other.self_test_ns),
        longest_wait_ns: one.longest_wait_ns.max(other.longest_wait_ns),
        remembered: one.remembered + other.remembered,
        padding: 0,
    }
}

pub(super) fn sum_of_stages(one: Stages, other: Stages) -> Stages {
    Stages {
        syn: one.syn + other.syn,
        repeated: one.repeated + other.repeated,
        refused: one.refused + other.refused,
        established: one.established + other.established,
        accepted: one.accepted + other.accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot in which each word has its index, and more.
    fn slot(more: u64) -> Counters {
        let words = 0..size_of::<Counters>() as u64 / 8;
        let words: Vec<u64> = words.map(|index| index + more).collect();
        *bytemuck::from_bytes(bytemuck::cast_slice(&words))
    }

    #[test]
    fn slots_are_added_up_and_times_are_the_latest() {
        let added = sum(slot(1), slot(100));
        let words: &[u64] = bytemuck::cast_slice(bytemuck::bytes_of(&added));
        let (counts, rest) = words.split_at(36);
        for (index, word) in (0_u64..).zip(counts) {
            assert_eq!(*word, 2 * index + 101, "word {index}");
        }
        assert_eq!(rest, [136, 137, 177, 0]);
        assert_eq!((added.self_test_ns, added.longest_wait_ns), (136, 137));
        assert_eq!(added, sum(slot(100), slot(1)));
    }

    #[test]
    fn each_processor_has_a_slot() {
        let slots = slots();
        assert!(slots.is_power_of_two() && slots <= MAX_SLOTS, "{slots}");
        let here = std::thread::available_parallelism().unwrap().get();
        assert!(slots as usize >= here.min(MAX_SLOTS as usize), "{slots}");
    }
}
