//! A map of bounded size.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

type RandomState = foldhash::fast::RandomState;

/// Remembers the last entries in two generations: when the younger is full, it replaces the older.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    /// The size of a generation: at least this many entries are remembered, and at most twice as many.
    size: usize,
    young: HashMap<K, V, RandomState>,
    old: HashMap<K, V, RandomState>,
}

impl<K: Copy + Hash + Eq, V> Generations<K, V> {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            young: HashMap::default(),
            old: HashMap::default(),
        }
    }

    /// What is remembered of this key.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self.young.get_mut(key) {
            None => self.old.get_mut(key),
            young => young,
        }
    }

    /// Whether the next entry begins a generation.
    pub(super) fn is_full(&self) -> bool {
        self.young.len() >= self.size
    }

    /// Makes room for an entry. Returns whether others were forgotten.
    pub(super) fn make_room(&mut self) -> bool {
        if !self.is_full() {
            return false;
        }
        let forgets = !self.old.is_empty();
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        forgets
    }

    /// What is remembered of this key, or the place for it, which then is the youngest entry.
    pub(super) fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        if let Some(value) = self.old.remove(&key) {
            self.young.insert(key, value);
        }
        self.young.entry(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entries_are_remembered() {
        let mut map = Generations::new(3);
        for key in 0..1000 {
            let forgets = map.make_room();
            assert_eq!(forgets, key >= 6 && key % 3 == 0, "{key}");
            map.entry(key).or_insert(key);
            for known in (key - 2).max(0)..=key {
                assert_eq!(map.get(&known), Some(&known));
                assert_eq!(map.get_mut(&known).copied(), Some(known));
            }
            assert_eq!(map.get(&(key - 6)), None);
        }
    }

    #[test]
    fn what_is_used_again_stays() {
        let mut map = Generations::new(3);
        for key in 1..100 {
            map.make_room();
            map.entry(key).or_insert(key);
            map.make_room();
            assert_eq!(*map.entry(0).or_insert(7), 7, "{key}");
        }
    }
}
