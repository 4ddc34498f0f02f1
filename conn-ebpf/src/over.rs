//! Counts the connections of each key in the current interval of the clock, and reports a key once it had
//! too many (`--over`).
//!
//! The supported kernels have no instruction that adds and returns what was there, and none that compares and
//! exchanges. So nothing is ever set to 0: the total only grows, by atomic additions, and an interval has what
//! was added since it began. One word has the number of the interval and the total at its beginning, so that
//! both change at once. Each program looks at the total, then at this word, begins the interval if it is not
//! there yet, and only then adds one:
//!
//! - Of several processors that begin it at once, each has a total without a connection of the new interval,
//!   since that is added after the word is written. They may differ in connections of the interval before
//!   that are added this late; each of these is in one of the two intervals.
//! - After the addition, the total is looked at before the word: as long as that names the same interval, the
//!   total has connections of it only. If it names the next one, it says with how many this one has ended.
//!
//! So a connection counts in one interval: that of its time or, within a turn, the one beside it. What remains
//! is a program that is stopped (another program preempts it, or the hypervisor its processor) while it begins
//! an interval, until the next one has begun on another processor. It then writes the old number, and the next
//! interval lacks the connections before that. And aarch64 may reorder the writes: two processors that begin
//! an interval for one key in the same nanoseconds may count one less. A program that finds out by the clock
//! that it was stopped reports nothing, so that nobody is said to be over the limit who is not.
//!
//! Each program that sees too many reports the key until one of them was able to: so there may be two
//! reports, of which the user side drops one, but not none, as long as connections come.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    helpers::bpf_ktime_get_boot_ns,
    macros::map,
    maps::{Array, HashMap, LpmTrie, lpm_trie},
};
use conn_common::{Address, Key, OverConfig, OverCount, OverCounters, OverEvent, to_v4};

use crate::{
    config::frozen,
    counters::{atomic_add_one, slot},
    maps::{Bounded, EVENTS, insert},
};

/// How it is counted.
#[unsafe(no_mangle)]
static OVER_CONFIG: OverConfig = OverConfig::OFF;

/// The counts. The user side sets the size, and preallocates all entries where it does so for `CLIENTS`.
#[map]
static OVER: HashMap<Key, OverCount> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// The numbers of the names of networks, in the form of [`Address`]; the longest matching prefix decides. The
/// user side sets the size.
#[map]
static OVER_NAMES: LpmTrie<Address, u32> = LpmTrie::with_max_entries(1, 0);

/// A slot for each processor, as `COUNTERS` has.
#[map]
static OVER_COUNTERS: Array<OverCounters> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The value of a new entry.
static NONE: OverCount = OverCount {
    total: 0,
    turn: 0,
    told: 0,
};

/// Counts a connection at a stage, one of the `STAGE_` constants, if connections are counted there.
#[inline(always)]
pub(crate) fn count(key: &Key, stage: u32) {
    if setting(|config| &config.stage) != stage {
        return;
    }
    let key = masked(key);
    match entry(&key) {
        // SAFETY: a pointer to a value of the map, whose entries are never removed.
        Some(entry) => unsafe { count_in(entry, &key) },
        None => add_one(offset_of!(OverCounters, not_counted)),
    }
}

/// # Safety
/// The pointer is to a value of the map.
#[inline(always)]
unsafe fn count_in(entry: *mut OverCount, key: &Key) {
    // SAFETY: the helper only reads the clock.
    let now = number(unsafe { bpf_ktime_get_boot_ns() });
    // SAFETY: the caller guarantees a value of the map, in which a u64 is read and written as a whole. The
    // order is what the head of this file relies on: volatile accesses keep theirs.
    let (begun, last, count) = unsafe {
        let (total, turn) = (&raw mut (*entry).total, &raw mut (*entry).turn);
        let before = total.read_volatile();
        let mut begun = turn.read_volatile();
        // The last interval in which this program can know what it sees: its own, or if another one began it,
        // the next.
        let mut last = (begun >> HALF) + 1;
        // Another processor may have begun the next one in the meantime, which then counts.
        if begun >> HALF < now {
            begun = now << HALF | before & LOWER;
            last = now;
            turn.write_volatile(begun);
        }
        atomic_add_one(total);
        let after = total.read_volatile();
        let later = turn.read_volatile();
        let end = if later >> HALF > begun >> HALF {
            later
        } else {
            after
        };
        (begun, last, end.wrapping_sub(begun) & LOWER)
    };
    if count > u64::from(setting(|config| &config.limit)) {
        // SAFETY: as above.
        unsafe { tell(&raw mut (*entry).told, key, last, (begun >> HALF, count)) };
    }
}

/// Reports that this key had so many connections in this interval, unless that was done, or the interval
/// `last` is over.
///
/// # Safety
/// `told` is that of the key's value in the map.
#[inline(always)]
unsafe fn tell(told: *mut u64, key: &Key, last: u64, (interval, connections): (u64, u64)) {
    // SAFETY: the caller guarantees a u64 of the map.
    let before = unsafe { told.read_volatile() };
    let (delayed, done) = (interval << 1, interval << 1 | 1);
    if before == done {
        return;
    }
    // SAFETY: the helper only reads the clock.
    let time_ns = unsafe { bpf_ktime_get_boot_ns() };
    if number(time_ns) > last {
        return;
    }
    let Some(mut record) = EVENTS.reserve::<OverEvent>(0) else {
        if before != delayed {
            // SAFETY: as above.
            unsafe { told.write_volatile(delayed) };
            add_one(offset_of!(OverCounters, delayed));
        }
        return;
    };
    let event = record.as_mut_ptr();
    // SAFETY: the record has the size and alignment of an OverEvent, and is ours until it is submitted; `told`
    // as above. Each field is written.
    unsafe {
        (*event).key.group[0] = key.group[0];
        (*event).key.group[1] = key.group[1];
        (*event).key.local_port = key.local_port;
        (*event).time_ns = time_ns;
        (*event).interval = interval;
        (*event).connections = connections;
        told.write_volatile(done);
    }
    record.submit(0);
    if before == delayed {
        add_one(offset_of!(OverCounters, told_later));
    }
}

/// The length of an address as a prefix.
const ADDRESS_BITS: u32 = 128;

/// The halves of [`OverCount::turn`]. Seconds since 1970 fit into one until 2106, and a client does not make
/// four billion connections in an interval before it is reported.
const HALF: u32 = 32;
const LOWER: u64 = u32::MAX as u64;

/// The number of the interval at this time of `CLOCK_BOOTTIME`.
#[inline(always)]
fn number(time_ns: u64) -> u64 {
    let since = time_ns.wrapping_add(setting(|config| &config.offset_ns));
    // Not a panic for 0, which the verifier refuses.
    since
        .checked_div(setting(|config| &config.length_ns))
        .unwrap_or(0)
}

/// What a connection with this key is counted by.
#[inline(always)]
fn masked(key: &Key) -> Key {
    let local_port = key.local_port & setting(|config| &config.port_mask);
    if setting(|config| &config.by_name) != 0 {
        let name = OVER_NAMES.get(lpm_trie::Key::new(ADDRESS_BITS, key.group));
        return Key {
            group: [name.map_or(0, |name| u64::from(*name)), 0],
            local_port,
        };
    }
    let [first, second] = if to_v4(key.group).is_some() {
        setting(|config| &config.mask_v4)
    } else {
        setting(|config| &config.mask_v6)
    };
    Key {
        group: [key.group[0] & first, key.group[1] & second],
        local_port,
    }
}

/// The value for this key, inserted if there is none; `None` if there is no room or no memory.
#[inline(always)]
fn entry(key: &Key) -> Option<*mut OverCount> {
    OVER.get_ptr_mut(key).or_else(|| {
        let none: &OverCount = &NONE;
        let _ = insert(&OVER, Bounded::Over, key, none);
        // Also after an error, since another processor may have inserted it first.
        OVER.get_ptr_mut(key)
    })
}

/// Adds one to the running processor's counter at this offset in [`OverCounters`], in bytes.
#[inline(always)]
fn add_one(offset: usize) {
    if let Some(counters) = OVER_COUNTERS.get_ptr_mut(slot()) {
        // SAFETY: `offset` is that of a u64 in OverCounters, which the pointer points to.
        atomic_add_one(unsafe { counters.byte_add(offset) }.cast());
    }
}

#[inline(always)]
fn setting<T: Copy + 'static>(field: impl FnOnce(&'static OverConfig) -> &'static T) -> T {
    frozen(field(&OVER_CONFIG))
}
