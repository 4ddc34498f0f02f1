//! The counts of all clients in the order of the summary, in as little memory as possible: a run can
//! have many clients, and its limit may be just above what counting takes.

mod counts;
#[cfg(test)]
mod tests;

use std::{cmp::Ordering, collections::BTreeMap};

pub(crate) use self::counts::Counts;
use self::counts::{UNKNOWN, What, place_of};
use super::tally::{Tally, add};
use crate::model::{group::GroupKey, stage::Stage};

/// The clients of [`Counts`], most connections first. Equal ones are in the order of the connections at
/// the stages before the last, then of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// Sorted, so that what belongs to a client is adjacent.
    counts: Counts,
    /// The clients in their order.
    order: Vec<Place>,
    /// Further ones, which have no place: their sums, and how many of them have a connection at the last stage.
    others: Sums,
    others_connected: usize,
}

/// A client's connections at the last stage, and the index of its first entry in `ipv4`, `ipv6` and `others`,
/// one behind the other.
type Place = (u64, usize);

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

    /// The clients, of which only so many have a place, the first ones. That of unknown clients always has
    /// one.
    #[must_use]
    pub fn first_ranked(mut self, first: usize) -> Ranking {
        self.sort();
        let unknown = self.first_entry(&UNKNOWN);
        let counted = place_of(self.counted());
        let mut ranking = Ranking {
            others: self.no_sums(),
            others_connected: 0,
            order: Vec::new(),
            counts: self,
        };
        let mut unknown_place = None;
        let most = first.saturating_mul(2).saturating_add(SPARE);
        for entry in 0..ranking.counts.len() {
            if !ranking.counts.is_first_entry(entry) {
                continue;
            }
            let place = (ranking.counts.last_stage_first(entry)[counted], entry);
            if unknown == Some(entry) {
                unknown_place = Some(place);
                continue;
            }
            ranking.order.push(place);
            if ranking.order.len() == most {
                ranking.keep_first(first);
            }
        }
        ranking.keep_first(first);
        ranking.order.extend(unknown_place);
        ranking.counts.rank(&mut ranking.order);
        ranking
    }

    /// Those of no client.
    fn no_sums(&self) -> Sums {
        Sums {
            earlier: self.earlier_stages().collect(),
            ..Sums::default()
        }
    }

    /// Puts places into their order.
    fn rank(&self, order: &mut [Place]) {
        if self.earlier_stages().next().is_none() {
            // One comparison of all that matters, of millions of clients.
            order.sort_unstable_by_key(|&(connections, first)| {
                u128::from(!connections) << usize::BITS | first as u128
            });
        } else {
            order.sort_unstable_by(|one, other| self.compare(*one, *other));
        }
    }

    fn compare(&self, one: Place, other: Place) -> Ordering {
        let stages = |place: Place| self.last_stage_first(place.1);
        (other.0.cmp(&one.0))
            .then_with(|| stages(other).cmp(&stages(one)))
            .then(one.1.cmp(&other.1))
    }
}

/// How many more places than wanted there are at least before some are given up.
const SPARE: usize = 4096;

impl Ranking {
    /// How many clients there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len() + self.others.clients
    }

    /// The clients that have a place, made one by one.
    pub fn clients(&self) -> impl Iterator<Item = Client> {
        self.order
            .iter()
            .map(|(_, first)| self.counts.client(*first))
    }

    /// The clients and their connections at the last stage, which is less than [`Self::clients`] make.
    pub fn counts(&self) -> impl Iterator<Item = (GroupKey, u64)> {
        let order = self.order.iter();
        order.map(|&(connections, first)| (self.counts.key(first), connections))
    }

    /// If the connections of a client are a lower bound, as others may be among those of unknown clients: how
    /// many more there may be.
    #[must_use]
    pub fn error(&self, key: &GroupKey) -> Option<u64> {
        self.counts.error(key)
    }

    /// Whether there may be such clients.
    #[must_use]
    pub(crate) fn has_errors(&self) -> bool {
        self.counts.has_errors()
    }

    /// How many clients have a connection at the last stage.
    #[must_use]
    pub fn connected(&self) -> usize {
        let order = self.order.iter();
        order.filter(|(connections, _)| *connections > 0).count() + self.others_connected
    }

    /// Removes a client that has a place, and returns it.
    pub fn remove(&mut self, key: &GroupKey) -> Option<Client> {
        let entry = self.counts.first_entry(key)?;
        let position = self.order.iter().position(|(_, first)| *first == entry)?;
        self.order.remove(position);
        Some(self.counts.client(entry))
    }

    /// Keeps only this many clients, the first ones, and sums up the others.
    pub fn split_off(&mut self, clients: usize) -> Sums {
        self.give_up(clients);
        self.others_connected = 0;
        std::mem::replace(&mut self.others, self.counts.no_sums())
    }

    /// Gives up all places but the first ones, in any order.
    fn keep_first(&mut self, first: usize) {
        if first < self.order.len() {
            let Self { counts, order, .. } = self;
            order.select_nth_unstable_by(first, |one, other| counts.compare(*one, *other));
            self.give_up(first);
        }
    }

    /// Adds all clients from this place on to those without one.
    fn give_up(&mut self, first: usize) {
        let Self { counts, order, .. } = self;
        let counted = counts.counted();
        for (connections, first) in order.drain(first.min(order.len())..) {
            self.others_connected += usize::from(connections > 0);
            self.others.clients += 1;
            for index in counts.of_client(first) {
                let (what, _, connections) = counts.get(index);
                match what {
                    What::Stage(stage) if stage == counted => {
                        add(&mut self.others.connections, connections);
                    }
                    What::Stage(stage) => {
                        add(self.others.earlier.entry(stage).or_default(), connections);
                    }
                    What::Refused => add(&mut self.others.refused, connections),
                }
            }
        }
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
