//! Counts connections by the label of their port and the name of the client's network, and those of each of
//! the first clients, where the user side can read them while the programs run.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_NOEXIST},
    macros::map,
    maps::{Array, HashMap, Queue},
};
use conn_common::{Address, FirstClient, Stages};

use crate::{
    config::{is_on, setting},
    counters::{atomic_add_one, slot},
    socket::Ends,
    stage::Stage,
};

/// In each slot, the values of each port label, one for each name. The user side sets their number.
#[map]
static SERIES: Array<Stages> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The number of each port's label, see [`conn_common::PORT_LABEL_WORDS`]. The user side sets the size.
#[map]
static PORT_LABELS: Array<u64> = Array::with_max_entries(1, 0);

/// The first clients, behind a value for each processor, which counts all others. The user side sets the size.
#[map]
static FIRST_CLIENTS: Array<FirstClient> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The index of each first client in [`FIRST_CLIENTS`]. The user side sets the size.
#[map]
static FIRST_INDICES: HashMap<Address, u32> = HashMap::with_max_entries(1, 0);

/// The indices that no client has. There are some more than clients, so that the last ones get theirs even if
/// several processors have taken one for the same client. The user side sets the size, and fills it.
#[map]
static FREE_INDICES: Queue<u32> = Queue::with_max_entries(1, 0);

/// 0 until [`FIRST_INDICES`] is full. No client loses its index, so it stays full.
#[map]
static FIRST_ARE_ALL: Array<u64> = Array::with_max_entries(1, 0);

/// The kernel's error if a map has no room; `include/uapi/asm-generic/errno-base.h`.
const E2BIG: i32 = -7;

/// Counts a connection, if somebody wants to know. `offset`: that of the stage's counter in [`Stages`].
#[inline(always)]
pub(crate) fn count(ends: &Ends, stage: Stage, offset: usize) {
    let series = setting(|config| &config.series);
    if series != 0 {
        let word = u32::from(ends.local_port) / 8;
        // SAFETY: a pointer to a value of the map, which nobody changes while a program runs.
        let word = PORT_LABELS.get_ptr(word).map_or(0, |word| unsafe { *word });
        let label = (word >> (ends.local_port % 8 * 8)) as u8;
        let first = (slot() & setting(|config| &config.series_slot_mask)) * series;
        let of_port = u32::from(label) * setting(|config| &config.series_names);
        if let Some(stages) = SERIES.get_ptr_mut(first + of_port + ends.network_name) {
            // SAFETY: `offset` is that of a u64 in Stages, which the pointer points to.
            atomic_add_one(unsafe { stages.byte_add(offset) }.cast());
        }
    }
    if is_on(|config| &config.first_clients) {
        let index = first_client(&ends.remote_address, stage).unwrap_or(slot());
        if let Some(client) = FIRST_CLIENTS.get_ptr_mut(index) {
            let offset = offset_of!(FirstClient, stages) + offset;
            // SAFETY: as above.
            atomic_add_one(unsafe { client.byte_add(offset) }.cast());
        }
    }
}

/// The index of a client in [`FIRST_CLIENTS`], if it is one of the first.
#[inline(always)]
fn first_client(address: &Address, stage: Stage) -> Option<u32> {
    if let Some(index) = FIRST_INDICES.get_ptr(address) {
        // SAFETY: a pointer to a value of the map. No entry is ever changed.
        return Some(unsafe { *index });
    }
    let is_client = matches!(stage, Stage::Established | Stage::Accepted)
        || is_on(|config| &config.first_by_syn);
    let are_all = FIRST_ARE_ALL.get_ptr_mut(0)?;
    // SAFETY: a pointer to a value of the map; a u64 is read and written as a whole. What is 0 is only ever
    // set to 1.
    if !is_client || unsafe { are_all.read_volatile() } != 0 {
        return None;
    }
    let index = FREE_INDICES.pop().ok()??;
    // Before anybody can find it. The index is ours alone.
    let client = FIRST_CLIENTS.get_ptr_mut(index)?;
    // SAFETY: a pointer to a value of the map.
    unsafe { (*client).address = *address };
    if let Err(error) = FIRST_INDICES.insert(address, index, u64::from(BPF_NOEXIST)) {
        let _ = FREE_INDICES.push(index, 0);
        if error == E2BIG {
            // SAFETY: as above.
            unsafe { are_all.write_volatile(1) };
        }
    }
    // Looked up even after an error, since another CPU may have inserted it first.
    // SAFETY: as above.
    FIRST_INDICES
        .get_ptr(address)
        .map(|index| unsafe { *index })
}
