//! What is counted besides the connections of each client: once for each processor, so that no two of
//! them write to the same cache line.
//!
//! The user side maps these arrays into its memory and adds up the slots: reading a map by a system call
//! would make the kernel skip programs meanwhile, and an array with a value for each processor
//! (`BPF_MAP_TYPE_PERCPU_ARRAY`) cannot be mapped. Nothing relies on a processor's having its slot alone:
//! additions are atomic, since one LSM program can preempt another.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE, helpers::generated::bpf_get_smp_processor_id, macros::map,
    maps::Array,
};
use conn_common::{Counters, WAIT_STEP_BITS, WAIT_STEPS};

use crate::config::setting;

/// A slot for each processor. The user side sets their number, a power of two.
#[map]
static COUNTERS: Array<Counters> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The histograms of waits, [`WAIT_STEPS`] entries for each slot of [`COUNTERS`].
#[map]
static WAITS: Array<u64> = Array::with_max_entries(WAIT_STEPS as u32, BPF_F_MMAPABLE);

/// The running processor's slot, the same all the time that a program runs
/// (`kernel/bpf/trampoline.c`, `__bpf_prog_enter`: it does not migrate).
#[inline(always)]
pub(crate) fn slot() -> u32 {
    // SAFETY: the helper only tells the number of the processor.
    let processor = unsafe { bpf_get_smp_processor_id() };
    processor & setting(|config| &config.slot_mask)
}

/// The running processor's counters. Never `None`: each slot has some.
#[inline(always)]
pub(crate) fn own() -> Option<*mut Counters> {
    COUNTERS.get_ptr_mut(slot())
}

/// Adds one to the counter at this offset in [`Counters`], in bytes.
#[inline(always)]
pub(crate) fn add_one(offset: usize) {
    if let Some(counters) = own() {
        // SAFETY: `offset` is that of a u64 in Counters, which the pointer points to.
        atomic_add_one(unsafe { counters.byte_add(offset) }.cast());
    }
}

/// Counts how long a connection waited.
#[inline(always)]
pub(crate) fn wait(wait_ns: u64) {
    let slot = slot();
    if let Some(count) = WAITS.get_ptr_mut(slot * WAIT_STEPS as u32 + wait_entry(wait_ns)) {
        atomic_add_one(count);
    }
    if let Some(counters) = COUNTERS.get_ptr_mut(slot) {
        // SAFETY: a pointer to a value of the map.
        atomic_add(unsafe { &raw mut (*counters).waits_ns }, wait_ns);
        // The supported kernels have no atomic maximum. An LSM program that is preempted here can
        // overwrite what another on this CPU wrote meanwhile. The user side never reports less than
        // the histogram shows.
        // SAFETY: a pointer to a value of the map; a u64 is read and written as a whole.
        unsafe {
            let longest = &raw mut (*counters).longest_wait_ns;
            if longest.read_volatile() < wait_ns {
                longest.write_volatile(wait_ns);
            }
        }
    }
}

/// The index of a wait's entry in the histogram of a slot.
#[inline(always)]
fn wait_entry(wait_ns: u64) -> u32 {
    // Shorter waits have no steps of their own, and are negligible.
    let wait = wait_ns | 1 << WAIT_STEP_BITS;
    // Without a branch: each would double the paths that the verifier follows.
    let exponent = 63 - wait.leading_zeros();
    let step = (wait >> (exponent - WAIT_STEP_BITS)) as u32 & ((1 << WAIT_STEP_BITS) - 1);
    exponent << WAIT_STEP_BITS | step
}

#[inline(always)]
pub(crate) fn atomic_add_one(value: *mut u64) {
    atomic_add(value, 1);
}

/// Adds with the instruction `BPF_XADD`, which every supported kernel has. The compiler offers
/// no atomic addition for this target, and one that fetches the old value needs Linux 5.12.
#[inline(always)]
pub(crate) fn atomic_add(value: *mut u64, addend: u64) {
    // SAFETY: the callers pass pointers into map values, which are aligned to 8 bytes, are never
    // freed while a program runs, and are only changed by additions.
    #[cfg(target_arch = "bpf")]
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) value, in(reg) addend);
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = (value, addend);
}
