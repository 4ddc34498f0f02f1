//! The counts of all clients in the order of the summary, in as little memory as possible: a run can
//! have many clients, and its limit may be just above what counting takes.

mod counts;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeMap};

pub(crate) use self::counts::Counts;
use self::counts::{What, place_of};
use super::tally::{Tally, add};
use crate::model::{group::GroupKey, stage::Stage};

/// The clients of [`Counts`], most connections first. Equal ones are in the order of the connections at
/// the stages before the last, then of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// Sorted, so that what belongs to a client is adjacent.
    counts: Counts,
    /// The index of each client's first entry in `ipv4`, `ipv6` and `others`, one behind the other.
    order: Vec<usize>,
}

/// The sums of clients of [`Counts`] that have no row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many clients.
    pub clients: usize,
    /// Their connections at the last stage.
    pub connections: u64,
    /// How many reached each stage before the last.
    pub earlier: BTreeMap<Stage, u64>,
    /// Their SYNs that were refused.
    pub refused: u64,
}

/// One client's part of [`Counts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client.
    pub key: GroupKey,
    /// All its connections at the last stage.
    pub connections: u64,
    /// Of these, those to each local port that is known, ascending.
    pub ports: BTreeMap<u16, u64>,
    /// How many reached each stage before the last.
    pub earlier: BTreeMap<Stage, u64>,
    /// Its SYNs that were refused.
    pub refused: u64,
}

impl Counts {
    /// The clients in their order.
    #[must_use]
    pub fn ranked(self) -> Ranking {
        self.first_ranked(usize::MAX)
    }

    /// The clients, of which only so many need be in their order, the first ones.
    #[must_use]
    pub fn first_ranked(mut self, first: usize) -> Ranking {
        self.sort();
        let mut order: Vec<usize> = self.first_entries().collect();
        // What is computed again and again is in the memory that a cache of it would take.
        let rank = |first: &usize| (Reverse(self.last_stage_first(*first)), *first);
        let sorted = if first < order.len() {
            order.select_nth_unstable_by_key(first, rank).0
        } else {
            &mut order
        };
        sorted.sort_unstable_by_key(rank);
        Ranking {
            counts: self,
            order,
        }
    }
}

impl Ranking {
    /// How many clients there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The clients, made one by one.
    pub fn clients(&self) -> impl Iterator<Item = Client> {
        self.order.iter().map(|first| self.counts.client(*first))
    }

    /// The clients and their connections at the last stage, which is less than [`Self::clients`] make.
    pub fn counts(&self) -> impl Iterator<Item = (GroupKey, u64)> {
        let counted = self.counts.counted();
        self.order.iter().map(move |first| {
            let connections = self.counts.last_stage_first(*first)[place_of(counted)];
            (self.counts.key(*first), connections)
        })
    }

    /// How many clients have a connection at the last stage.
    #[must_use]
    pub fn connected(&self) -> usize {
        let counted = place_of(self.counts.counted());
        let is_connected = |first: &&usize| self.counts.last_stage_first(**first)[counted] > 0;
        self.order.iter().filter(is_connected).count()
    }

    /// Removes a client, and returns it.
    pub fn remove(&mut self, key: &GroupKey) -> Option<Client> {
        let is_client = |first: &usize| self.counts.key(*first) == *key;
        let position = self.order.iter().position(is_client)?;
        Some(self.counts.client(self.order.remove(position)))
    }

    /// Keeps only this many clients, the first ones, and sums up the others.
    pub fn split_off(&mut self, clients: usize) -> Sums {
        let Self { counts, order } = self;
        let counted = counts.counted();
        let mut sums = Sums {
            earlier: counts.earlier_stages().collect(),
            ..Sums::default()
        };
        for first in order.drain(clients.min(order.len())..) {
            sums.clients += 1;
            for index in counts.of_client(first) {
                let (what, _, connections) = counts.get(index);
                match what {
                    What::Stage(stage) if stage == counted => {
                        add(&mut sums.connections, connections)
                    }
                    What::Stage(stage) => {
                        add(sums.earlier.entry(stage).or_default(), connections);
                    }
                    What::Refused => add(&mut sums.refused, connections),
                }
            }
        }
        sums
    }
}

impl Tally {
    /// The clients, most connections first, ties by address.
    #[must_use]
    pub fn ranked(self) -> Ranking {
        let mut counts = Counts::new([Stage::Accepted]);
        counts.add_tally(Stage::Accepted, self);
        counts.ranked()
    }
}
