//! Counts connections of clients that have no entry in the maps of totals, in a table of those with the
//! most, see [`count_heavy`].
//!
//! Each processor has a table of its own: the supported kernels have no instruction with which two
//! processors could agree on who changes an entry. A program stays on its processor. But one LSM program
//! can preempt another there, so each set has a counter of programs that are about to change it. Who finds
//! that it is not alone does not: its connection is only counted as skipped. Of two, the second one sees
//! the first, whatever happens between its addition and its look.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use conn_common::{HeavySet, Key, count_heavy, heavy_hash};

use crate::{
    config::setting,
    counters::{atomic_add, atomic_add_one, slot},
};

/// The sets of each processor, one after the other. The user side sets their number.
#[map]
static HEAVY: Array<HeavySet> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Counts a connection, in addition to [`Counters::other`](conn_common::Counters::other).
#[inline(always)]
pub(crate) fn count(key: &Key) {
    let sets = setting(|config| &config.heavy_sets);
    if sets == 0 {
        return;
    }
    let hash = heavy_hash(key, setting(|config| &config.heavy_seed));
    let Some(set) = HEAVY.get_ptr_mut(slot() * sets + (hash & (sets - 1))) else {
        return;
    };
    // SAFETY: the pointer is to a value of the map. Its entries are only changed by programs that are alone,
    // its other fields only by additions.
    unsafe {
        let busy = &raw mut (*set).busy;
        atomic_add_one(busy);
        if busy.read_volatile() == 1 {
            count_heavy(&mut (*set).entries, key);
        } else {
            atomic_add_one(&raw mut (*set).skipped);
        }
        atomic_add(busy, u64::MAX);
    }
}
