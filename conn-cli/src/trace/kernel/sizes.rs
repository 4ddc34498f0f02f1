//! How large the ring buffer and the tables of clients are, unless options say so.

use conn_common::{Counters, Key, OverCount, Stages, WAIT_STEPS};

use super::{KernelTypes, SeriesSettings, counters, heavy};
use crate::model::{
    group::{GroupBy, Grouping},
    stage::{Stage, WatchedStages},
};

/// The bytes that the tables of clients take together when they are full. The other maps do not grow with the
/// clients.
const TABLES: u64 = 64 << 20;

/// The fewest clients that little memory leaves room for.
const MIN_CLIENTS: u32 = 1024;

/// The most clients that `--max-clients` takes.
const MAX_CLIENTS: u32 = 16_777_216;

/// The smallest ring buffer: a page.
const MIN_BUFFER: u32 = 4096;

/// The minimum size of the map of SYNs, in which retransmitted SYNs are recognised.
const MIN_SYNS: u32 = 4096;

/// The sizes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The bytes of the ring buffer.
    pub buffer: u32,
    /// The maximum number of entries of each map of totals.
    pub max_clients: u32,
    /// The most bytes of the tables of clients beyond these with the most connections.
    pub(super) heavy: u64,
    /// Whether one of them is less than it would be with more memory.
    pub is_reduced: bool,
}

/// Which tables a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// SYNs are watched, so that there are those of `SYN_CLIENTS` and `SYNS`.
    has_syns: bool,
    /// Processes have names.
    has_names: bool,
    /// There is `OVER`.
    has_over: bool,
    /// The kernel allocates the entries of `CLIENTS` and `OVER` when they come.
    allocates_on_demand: bool,
    /// The bytes of what is counted, whatever the number of clients.
    counters: u64,
    /// Those of the tables of clients beyond that number, if there is enough memory.
    heavy: u64,
}

impl Tables {
    /// Those of a run.
    #[must_use]
    pub fn new(
        stages: &WatchedStages,
        (by, has_over): (Grouping, bool),
        types: &KernelTypes,
        series: &SeriesSettings,
    ) -> Self {
        let slots = counters::slots();
        Self {
            counters: u64::from(slots) * COUNTERS + series.bytes(),
            heavy: heavy::bytes(stages, slots),
            has_syns: stages.contains(Stage::Syn),
            has_over,
            has_names: by.what() == GroupBy::Process,
            allocates_on_demand: types.allocates_on_demand,
        }
    }

    /// The bytes that those with an entry for each client take when they are full, with so many.
    #[must_use]
    fn bytes(self, max_clients: u32) -> u64 {
        let client = entry(size_of::<Key>(), size_of::<Stages>());
        let allocated = |entry: u64| {
            if self.allocates_on_demand {
                // Each entry, with a pointer for the list of free ones, is an object of a cache, whose sizes are
                // powers of two from here on (`kernel/bpf/memalloc.c`), and to which the accounting for
                // cgroups adds a pointer (`mm/slab.h`, `struct slabobj_ext`).
                (entry + POINTER).next_power_of_two() + POINTER
            } else {
                entry
            }
        };
        let mut bytes = table(allocated(client), max_clients);
        if self.has_over {
            let count = entry(size_of::<Key>(), size_of::<OverCount>());
            bytes += table(allocated(count), max_clients);
        }
        if self.has_syns {
            bytes += table(client, max_clients);
            bytes += table(entry(SYN_ID, size_of::<u32>()), syns(max_clients));
        }
        if self.has_names {
            bytes += table(entry(size_of::<u32>(), NAME), max_clients);
        }
        bytes
    }

    /// The most clients for which these bytes suffice.
    fn clients_within(self, bytes: u64) -> u32 {
        let (mut fits, mut too_many) = (MIN_CLIENTS, MAX_CLIENTS + 1);
        while too_many - fits > 1 {
            let middle = fits.midpoint(too_many);
            if self.bytes(middle) <= bytes {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        fits
    }
}

/// The keys of `SYNS`, and the values of `NAMES`.
const SYN_ID: usize = 40;
const NAME: usize = 16;

const POINTER: u64 = 8;

/// The bytes of `COUNTERS` and `WAITS` for each processor.
const COUNTERS: u64 = (size_of::<Counters>() + WAIT_STEPS * 8) as u64;

/// The bytes of an entry of a hash map: `struct htab_elem` of `kernel/bpf/hashtab.c`, and a key and a value in
/// whole words.
const fn entry(key: usize, value: usize) -> u64 {
    const ELEMENT: usize = 48;
    (ELEMENT + key.next_multiple_of(8) + value.next_multiple_of(8)) as u64
}

/// The bytes of a full hash map. It has a `struct bucket` for each entry, and up to a power of two.
fn table(entry: u64, entries: u32) -> u64 {
    const BUCKET: u64 = 16;
    u64::from(entries) * entry + u64::from(entries).next_power_of_two() * BUCKET
}

/// The size of the map of SYNs, with so many clients.
pub(super) fn syns(max_clients: u32) -> u32 {
    max_clients.max(MIN_SYNS)
}

/// The sizes for a machine with these processors, of which `buffer` and `max_clients` are given. What is not
/// given is chosen so that all takes at most a quarter of `memory`, the bytes that this process can have.
#[must_use]
pub fn choose(
    (buffer, max_clients): (Option<u32>, Option<u32>),
    tables: Tables,
    processors: usize,
    memory: Option<u64>,
) -> Sizes {
    let within = |quarter: u64| {
        let buffer = buffer.unwrap_or_else(|| {
            let half = u32::try_from(quarter / 2)
                .unwrap_or(u32::MAX)
                .max(MIN_BUFFER);
            default_buffer(processors).min(1 << half.ilog2())
        });
        let rest = quarter.saturating_sub(buffer.into()).min(TABLES);
        let heavy = tables.heavy.min(rest / 8);
        let rest = rest.saturating_sub(tables.counters + heavy);
        let max_clients = max_clients.unwrap_or_else(|| tables.clients_within(rest));
        (buffer, max_clients, heavy)
    };
    let most = within(u64::MAX);
    let (buffer, max_clients, heavy) = memory.map_or(most, |memory| within(memory / 4));
    Sizes {
        buffer,
        max_clients,
        heavy,
        is_reduced: (buffer, max_clients) != (most.0, most.1),
    }
}

/// The bytes of the ring buffer for so many processors, each of which may write to it: enough for a fifth of a
/// second of the 200,000 connections a second of a machine with more than four.
fn default_buffer(processors: usize) -> u32 {
    match processors {
        0..=4 => 512 << 10,
        5..=32 => 4 << 20,
        33.. => 16 << 20,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conn_common::Event;

    use super::*;
    use crate::trace::kernel::ring::{HEADER, MAX_PAUSE, pause};

    const PLAIN: Tables = Tables {
        has_syns: false,
        has_names: false,
        has_over: false,
        allocates_on_demand: true,
        counters: 0,
        heavy: 0,
    };
    const WITH_SYNS: Tables = Tables {
        has_syns: true,
        ..PLAIN
    };
    const PREALLOCATED: Tables = Tables {
        allocates_on_demand: false,
        ..PLAIN
    };
    const WITH_NAMES: Tables = Tables {
        has_names: true,
        ..PLAIN
    };
    const WITH_OVER: Tables = Tables {
        has_over: true,
        ..PLAIN
    };
    /// What 64 processors have.
    const MANY_PROCESSORS: Tables = Tables {
        counters: 64 * COUNTERS,
        heavy: 64 * 84 * 1024,
        ..PLAIN
    };
    const NONE_GIVEN: (Option<u32>, Option<u32>) = (None, None);

    /// What the kernel charged a cgroup for full maps of 65,536 entries, on Linux 6.18.
    #[test]
    fn a_client_takes_what_the_kernel_charges() {
        const CLIENTS: u64 = 65_536;
        let bytes = |tables: Tables| tables.bytes(CLIENTS as u32) / CLIENTS;
        assert_eq!(bytes(PLAIN), 152);
        assert_eq!(bytes(PREALLOCATED), 128);
        assert_eq!(bytes(WITH_SYNS), 152 + 128 + 112);
        assert_eq!(bytes(WITH_NAMES), 152 + 88);
        assert_eq!(bytes(WITH_OVER), 152 + 152);
    }

    #[test]
    fn the_default_is_what_64_mib_hold() {
        for (tables, clients) in [
            (PLAIN, 431_766),
            (PREALLOCATED, 524_288),
            (WITH_NAMES, 262_144),
            (WITH_SYNS, 158_505),
            (MANY_PROCESSORS, 389_210),
        ] {
            let sizes = choose(NONE_GIVEN, tables, 4, Some(8 << 30));
            assert_eq!((sizes.max_clients, sizes.is_reduced), (clients, false));
            let room = TABLES - tables.counters - tables.heavy;
            assert!(tables.bytes(clients) <= room && tables.bytes(clients + 1) > room);
        }
    }

    #[test]
    fn little_memory_leaves_three_quarters() {
        for mib in [6, 8, 20, 64, 200, 1000] {
            for tables in [PLAIN, PREALLOCATED, WITH_SYNS, WITH_NAMES, MANY_PROCESSORS] {
                for processors in [1, 5, 64] {
                    let memory: u64 = mib << 20;
                    let sizes = choose(NONE_GIVEN, tables, processors, Some(memory));
                    let taken = u64::from(sizes.buffer)
                        + tables.counters
                        + sizes.heavy
                        + tables.bytes(sizes.max_clients);
                    assert!(taken <= memory / 4, "{mib} {tables:?} {sizes:?}");
                    assert!(sizes.buffer.is_power_of_two());
                    assert_eq!(sizes.is_reduced, mib <= 200);
                }
            }
        }
        let least = choose(NONE_GIVEN, WITH_SYNS, 64, Some(1));
        assert_eq!((least.buffer, least.max_clients), (MIN_BUFFER, MIN_CLIENTS));
    }

    #[test]
    fn what_is_given_is_not_reduced() {
        let memory = Some(6 << 20);
        let both = (Some(1 << 24), Some(1_000_000));
        let sizes = choose(both, PLAIN, 1, memory);
        assert_eq!((Some(sizes.buffer), Some(sizes.max_clients)), both);
        assert!(!sizes.is_reduced);
        let clients = choose((None, both.1), PLAIN, 1, memory);
        assert_eq!((clients.buffer, clients.is_reduced), (512 << 10, false));
        let buffer = choose((both.0, None), PLAIN, 1, memory);
        assert_eq!((buffer.max_clients, buffer.is_reduced), (MIN_CLIENTS, true));
    }

    /// How long the buffer of so many processors lasts, at this rate.
    fn lasts(processors: usize, a_second: u64) -> Duration {
        let a_record = (size_of::<Event>() + HEADER) as u64;
        let records = u64::from(default_buffer(processors)) / a_record;
        Duration::from_millis(records * 1000 / a_second)
    }

    #[test]
    fn the_buffer_is_read_before_it_is_half_full() {
        // A line for each connection, and with --funnel one for each of its stages.
        for (processors, lines, funnel) in [(4, 25, 8), (5, 201, 67), (32, 201, 67), (33, 806, 268)]
        {
            for (a_second, lasts_ms) in [(200_000, lines), (600_000, funnel)] {
                assert_eq!(lasts(processors, a_second).as_millis(), lasts_ms);
                let buffer = default_buffer(processors);
                // The first look is after a pause of the time that there is at most, if the rate was low.
                let mut slept = MAX_PAUSE;
                for look in 0..10 {
                    let records = (slept.as_secs_f64() * a_second as f64) as usize;
                    let a_record = size_of::<Event>() + HEADER;
                    let is_first_of_small = look == 0 && processors <= 4;
                    // But for the one that makes it so.
                    let is_half_full = (records - 1) * a_record >= buffer as usize / 2;
                    assert!(is_first_of_small || !is_half_full, "{records} in {slept:?}");
                    slept = pause(records, slept, buffer);
                }
            }
        }
    }
}
