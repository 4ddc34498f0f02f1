//! The ring buffer, and insertion into maps that can become full.

use core::borrow::Borrow;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap, RingBuf},
};

/// The kernel's error if a map has no room; `include/uapi/asm-generic/errno-base.h`.
const E2BIG: i32 = -7;

/// Whether a map has had no room for an entry: an index for each [`Bounded`] map. No map loses entries, so
/// what is full stays full. Written next to never, unlike any counter, so each processor keeps its copy.
#[map]
static FULL: Array<u64> = Array::with_max_entries(4, 0);

/// The [events](conn_common::Event) for the user side, which sets the size in bytes.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// A map that can become full: its index in [`FULL`].
#[derive(Clone, Copy)]
pub(crate) enum Bounded {
    Clients,
    SynClients,
    Names,
    Over,
}

/// Inserts an entry that was not there, unless the map is known to be full: the kernel takes a lock of the
/// whole map to find that out (`kernel/bpf/hashtab.c`, `is_map_full`; with preallocation a lock for each
/// processor), for each connection of each client without an entry.
///
/// # Errors
/// A negative `errno` of the kernel.
#[inline(always)]
pub(crate) fn insert<K, V>(
    map: &HashMap<K, V>,
    which: Bounded,
    key: &K,
    value: impl Borrow<V>,
) -> Result<(), i32> {
    let full = FULL.get_ptr_mut(which as u32).ok_or(E2BIG)?;
    // SAFETY: a pointer to a value of the map; a u64 is read and written as a whole. What is 0 is only ever
    // set to 1.
    unsafe {
        if full.read_volatile() != 0 {
            return Err(E2BIG);
        }
        let inserted = map.insert(key, value, u64::from(BPF_NOEXIST));
        if inserted == Err(E2BIG) {
            full.write_volatile(1);
        }
        inserted
    }
}
