//! Clients for which the maps of totals had no room, and that made many connections all the same: the
//! programs keep those with the most, see [`conn_common::count_heavy`], in a table on each processor.
//!
//! A client had at least what its entries have counted without their errors. It had at most what they have
//! counted, what was skipped in its sets, and on each processor where it has no entry the least count of its
//! set, if all of that are taken: it may have lost one.

use std::hash::{BuildHasher as _, RandomState};

use conn_common::{HeavySet, Key};

use crate::model::stage::{Stage, WatchedStages};

/// The most sets of a processor: 2,048 entries, in which the least count is about 0.05 % of what is
/// counted. Errors add up over the processors as the connections do, so each needs as many.
const MAX_SETS: u32 = 256;

/// The most memory for the tables of all processors.
const MAX_BYTES: u64 = 12 << 20;

const SET_BYTES: u64 = size_of::<HeavySet>() as u64;

/// What share of all connections a client must have had for a row, and how many: of few, any share is large.
const SHARE: u64 = 1000;
const MIN_CONNECTIONS: u64 = 100;

/// A client in these tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeavyClient {
    /// The client and port.
    pub(super) key: Key,
    /// The least number of connections that it had, since there was no more room.
    pub(super) at_least: u64,
    /// How many more it had at most.
    pub(super) error: u64,
}

/// How many sets each processor has, of so many: a power of two; 0 to have none. Where earlier stages are
/// watched, or only SYNs, the tables of SYN-only clients take most of what there is no room for. `most`: the
/// bytes for all of them.
pub(super) fn sets(stages: &WatchedStages, processors: u32, most: u64) -> u32 {
    if stages.counted() == Stage::Syn || stages.are_several() {
        return 0;
    }
    let sets = most.min(MAX_BYTES) / SET_BYTES / u64::from(processors);
    sets.checked_ilog2()
        .map_or(0, |bits| 1 << bits)
        .min(MAX_SETS)
}

/// The bytes of all of them, if there is enough memory.
pub(super) fn bytes(stages: &WatchedStages, processors: u32) -> u64 {
    u64::from(sets(stages, processors, MAX_BYTES)) * u64::from(processors) * SET_BYTES
}

/// A seed of the hash that nobody knows.
pub(super) fn seed() -> u32 {
    RandomState::new().hash_one(()) as u32
}

/// The clients with a noticeable share of this total. `tables`: the sets of each processor, as many; `None`
/// of those that change too fast.
pub(super) fn clients(
    tables: &[Vec<Option<HeavySet>>],
    total: u64,
) -> impl Iterator<Item = HeavyClient> {
    let sets = tables.first().map_or(0, Vec::len);
    let least = MIN_CONNECTIONS.max(total / SHARE);
    (0..sets)
        .filter_map(move |index| {
            let sets: Option<Vec<HeavySet>> = tables.iter().map(|table| table[index]).collect();
            Some(merged(&sets?))
        })
        .flatten()
        .filter(move |client| client.at_least >= least)
}

/// The clients of a set, of which each processor has its own.
fn merged(sets: &[HeavySet]) -> Vec<HeavyClient> {
    // What a client may have had at most, apart from its entries.
    let elsewhere: u64 = { sets.iter() }.map(|set| set.skipped + least(set)).sum();
    let entries = sets.iter().flat_map(|set| {
        let taken = set.entries.iter().filter(|entry| entry.count > 0);
        taken.map(|entry| (words(&entry.key), entry, least(set)))
    });
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by_key(|(words, ..)| *words);
    let of_clients = entries.chunk_by(|one, next| one.0 == next.0);
    of_clients
        .map(|entries| HeavyClient {
            key: entries[0].1.key,
            at_least: { entries.iter() }
                .map(|(_, entry, _)| entry.count - entry.error)
                .sum(),
            error: { entries.iter() }.fold(elsewhere, |error, (_, entry, least)| {
                (error + entry.error).saturating_sub(*least)
            }),
        })
        .collect()
}

/// How many connections a client without an entry in a set may have had there.
fn least(set: &HeavySet) -> u64 {
    let counts = set.entries.map(|entry| entry.count);
    counts.into_iter().fold(u64::MAX, u64::min)
}

fn words(key: &Key) -> [u64; 3] {
    [key.group[0], key.group[1], key.local_port]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use conn_common::{HEAVY_WAYS, Heavy, count_heavy, from_v4, heavy_hash};

    use super::*;

    fn client(number: u32) -> Key {
        Key {
            group: from_v4(number.to_be()),
            local_port: 80,
        }
    }

    /// Tables that were used like those of the programs.
    struct Tables(Vec<Vec<Option<HeavySet>>>, u32);

    impl Tables {
        fn new(processors: usize, sets: usize) -> Self {
            let table = vec![Some(HeavySet::default()); sets];
            Self(vec![table; processors], seed())
        }

        fn count(&mut self, processor: usize, key: &Key) {
            let table = &mut self.0[processor];
            let index = heavy_hash(key, self.1) as usize & (table.len() - 1);
            count_heavy(&mut table[index].as_mut().unwrap().entries, key);
        }
    }

    /// Numbers that look random, the same ones each time.
    fn random() -> impl FnMut() -> u32 {
        let mut state = 1_u64;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32
        }
    }

    #[test]
    fn a_client_with_a_tenth_of_a_percent_has_a_row_and_no_other_one() {
        const HEAVY: u32 = 5;
        const TOTAL: u64 = 1_000_000;
        let mut random = random();
        let mut tables = Tables::new(4, MAX_SETS as usize);
        let mut counts: HashMap<[u64; 3], u64> = HashMap::new();
        for number in 0..TOTAL as u32 {
            // 0.2 % of each of the five, on all processors; and a million addresses, each seldom.
            let key = match number % 500 {
                few if few < HEAVY => client(few),
                _ => client(1000 + random() % 1_000_000),
            };
            tables.count((random() % 4) as usize, &key);
            *counts.entry(words(&key)).or_default() += 1;
        }
        let mut found: Vec<_> = clients(&tables.0, TOTAL).collect();
        found.sort_unstable_by_key(|client| client.key.group[1].swap_bytes());
        for client in &found {
            let count = counts[&words(&client.key)];
            let bounds = client.at_least..=client.at_least + client.error;
            assert!(bounds.contains(&count), "{count} not in {bounds:?}");
            assert!(client.error <= TOTAL / SHARE, "{bounds:?}");
        }
        let keys: Vec<_> = found.iter().map(|client| words(&client.key)).collect();
        assert_eq!(
            keys,
            (0..HEAVY)
                .map(|few| words(&client(few)))
                .collect::<Vec<_>>()
        );
        let sum: u64 = found.iter().map(|client| client.at_least).sum();
        assert!(sum <= TOTAL);
    }

    #[test]
    fn bounds_hold_for_every_client_of_a_crowded_set() {
        let mut random = random();
        let mut tables = Tables::new(3, 1);
        let mut counts: HashMap<[u64; 3], u64> = HashMap::new();
        for _ in 0..10_000 {
            let (one, other) = (random() % 40, random() % 40);
            let key = client(one * other);
            if random().is_multiple_of(100) {
                tables.0[0][0].as_mut().unwrap().skipped += 1;
            } else {
                tables.count((random() % 3) as usize, &key);
            }
            *counts.entry(words(&key)).or_default() += 1;
        }
        let sets: Vec<_> = tables.0.iter().map(|table| table[0].unwrap()).collect();
        let found = merged(&sets);
        assert!(found.len() >= HEAVY_WAYS, "{}", found.len());
        for client in found {
            let count = counts[&words(&client.key)];
            let bounds = client.at_least..=client.at_least + client.error;
            assert!(bounds.contains(&count), "{count} not in {bounds:?}");
        }
    }

    #[test]
    fn a_few_clients_are_counted_exactly() {
        let mut tables = Tables::new(2, 1);
        for round in 0..1000 {
            for number in 0..HEAVY_WAYS as u32 {
                tables.count(round % 2, &client(number));
            }
        }
        let found: Vec<_> = clients(&tables.0, 8000).collect();
        assert_eq!(found.len(), HEAVY_WAYS);
        // Perhaps these had entries before.
        assert!(found.iter().all(|client| client.at_least == 1000));
        assert!(found.iter().all(|client| client.error == 0));
        // All of them, and then one more.
        tables.count(0, &client(99));
        let entries = tables.0[0][0].unwrap().entries;
        let last = entries.iter().find(|entry| entry.key == client(99));
        let expected = Heavy {
            key: client(99),
            count: 501,
            error: 500,
        };
        assert_eq!(last, Some(&expected));
    }

    #[test]
    fn few_connections_and_sets_that_change_have_no_rows() {
        let mut tables = Tables::new(1, 2);
        for _ in 0..MIN_CONNECTIONS - 1 {
            tables.count(0, &client(1));
        }
        assert_eq!(clients(&tables.0, 99).count(), 0);
        tables.count(0, &client(1));
        assert_eq!(clients(&tables.0, 100).count(), 1);
        assert_eq!(clients(&tables.0, 100_999).count(), 1);
        assert_eq!(clients(&tables.0, 101_000).count(), 0);
        tables.0[0] = vec![None; 2];
        assert_eq!(clients(&tables.0, 100).count(), 0);
    }

    #[test]
    fn addresses_next_to_each_other_are_in_all_sets() {
        for seed in [0, 1, seed()] {
            let mut sets = [0_u32; MAX_SETS as usize];
            for number in 0..MAX_SETS * 64 {
                let hash = heavy_hash(&client(0x0a00_0000 + number), seed);
                sets[(hash & (MAX_SETS - 1)) as usize] += 1;
            }
            let (least, most) = (sets.iter().min().unwrap(), sets.iter().max().unwrap());
            assert!(*least > 24 && *most < 128, "{least} to {most}");
        }
    }

    #[test]
    fn tables_take_little_memory_and_only_what_one_stage_needs() {
        let accepted = WatchedStages::only(Stage::Accepted);
        for (processors, expected) in [(1, 256), (64, 256), (128, 256), (256, 128), (1024, 32)] {
            assert_eq!(
                sets(&accepted, processors, MAX_BYTES),
                expected,
                "{processors}"
            );
        }
        assert_eq!(
            sets(&WatchedStages::only(Stage::Established), 1, MAX_BYTES),
            256
        );
        assert_eq!(sets(&WatchedStages::only(Stage::Syn), 1, MAX_BYTES), 0);
        assert_eq!(sets(&WatchedStages::new(Stage::ALL), 1, MAX_BYTES), 0);
    }
}
