//! The counts of all clients in the order of the summary, in as little memory as possible: a run can
//! have many clients, and its limit may be just above what counting takes.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr};

use super::tally::{Tally, add, packed, unpacked};
use crate::model::{connection::Host, group::GroupKey, stage::Stage};

/// How many connections of each client reached each watched stage, in any order. A client and port may
/// be added several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All connections at each watched stage, and those of them that are of unknown clients.
    totals: BTreeMap<Stage, (u64, u64)>,
    /// All refused SYNs, and those of them that are of unknown clients.
    refused: (u64, u64),
    /// Those of IPv4 clients, which are nearly all: the entries, see [`packed_entry`].
    ipv4: Vec<(u64, u64)>,
    others: Vec<(Entry, u64)>,
}

/// A client, what is counted of it and the local port, if that is known: entries are in this order.
type Entry = (GroupKey, What, Option<u16>);

/// What is counted of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Connections that reached a stage.
    Stage(Stage),
    /// SYNs that TCP answered with a reset.
    Refused,
}

/// The clients of [`Counts`], most connections first. Equal ones are in the order of the connections at
/// the stages before the last, then of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// Sorted, so that what belongs to a client is adjacent.
    counts: Counts,
    /// The index of each client's first entry in `ipv4`, or in `others` behind that.
    order: Vec<usize>,
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
    /// Counts at these stages, of which the last is what a client is ranked by.
    pub fn new(stages: impl IntoIterator<Item = Stage>) -> Self {
        Self {
            totals: stages.into_iter().map(|stage| (stage, (0, 0))).collect(),
            refused: (0, 0),
            ipv4: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Adds connections to the total of a stage, but to no client.
    pub fn add_total(&mut self, stage: Stage, connections: u64) {
        add(&mut self.totals.entry(stage).or_default().0, connections);
    }

    /// Adds connections at a stage whose individual clients are not known.
    pub fn add_other(&mut self, stage: Stage, connections: u64) {
        self.add_total(stage, connections);
        add(&mut self.totals.entry(stage).or_default().1, connections);
    }

    /// Adds SYNs to the total of refused ones, but to no client.
    pub fn add_refused_total(&mut self, syns: u64) {
        add(&mut self.refused.0, syns);
    }

    /// Adds refused SYNs whose individual clients are not known.
    pub fn add_other_refused(&mut self, syns: u64) {
        self.add_refused_total(syns);
        add(&mut self.refused.1, syns);
    }

    /// Adds connections of one client or group to one local port.
    pub fn add(&mut self, stage: Stage, key: GroupKey, port: Option<u16>, connections: u64) {
        self.add_total(stage, connections);
        self.push(What::Stage(stage), key, port, connections);
    }

    /// Adds SYNs of one client or group to one local port that were refused.
    pub fn add_refused(&mut self, key: GroupKey, port: Option<u16>, syns: u64) {
        self.add_refused_total(syns);
        self.push(What::Refused, key, port, syns);
    }

    fn push(&mut self, what: What, key: GroupKey, port: Option<u16>, connections: u64) {
        if let GroupKey::Client(Host::Address(IpAddr::V4(address))) = key {
            let packed = packed_entry(packed(address, port), what);
            self.ipv4.push((packed, connections));
        } else {
            if self.others.len() == self.others.capacity() {
                self.merge();
            }
            self.others.push(((key, what, port), connections));
        }
    }

    /// Merges equal entries, instead of room for more: there can be many clients of few networks. Makes
    /// room if it gained little.
    fn merge(&mut self) {
        self.others.sort_unstable();
        self.others.dedup_by(|next, kept| {
            let are_equal = next.0 == kept.0;
            if are_equal {
                add(&mut kept.1, next.1);
            }
            are_equal
        });
        if self.others.len() > self.others.capacity() / 2 {
            self.others.reserve(self.others.capacity());
        }
    }

    /// Adds all that a tally has counted.
    pub fn add_tally(&mut self, stage: Stage, tally: &Tally) {
        self.add_total(stage, tally.connections() - tally.other());
        self.add_other(stage, tally.other());
        let ipv4 = tally.ipv4();
        let what = What::Stage(stage);
        self.ipv4
            .extend(ipv4.map(|(packed, connections)| (packed_entry(packed, what), connections)));
        let others = tally.not_ipv4();
        self.others.extend(
            others.map(|(key, port, connections)| ((key.clone(), what, port), connections)),
        );
    }

    /// Keeps only these clients, and those that are not known.
    pub fn retain(&mut self, is_wanted: impl Fn(&GroupKey) -> bool) {
        self.ipv4
            .retain(|(packed, _)| is_wanted(&unpacked(*packed).0));
        self.others.retain(|((key, ..), _)| is_wanted(key));
        for (all, others) in self.totals.values_mut() {
            *all = *others;
        }
        self.refused.0 = self.refused.1;
        for index in 0..self.len() {
            match self.get(index) {
                (What::Stage(stage), _, connections) => self.add_total(stage, connections),
                (What::Refused, _, syns) => self.add_refused_total(syns),
            }
        }
    }

    /// All connections at a stage, those of unknown clients included.
    #[must_use]
    pub fn connections(&self, stage: Stage) -> u64 {
        self.totals.get(&stage).map_or(0, |(all, _)| *all)
    }

    /// All connections at each watched stage.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<Stage, u64> {
        let totals = self.totals.iter();
        totals.map(|(stage, (all, _))| (*stage, *all)).collect()
    }

    /// Those of them whose individual clients are not known.
    #[must_use]
    pub fn others(&self) -> BTreeMap<Stage, u64> {
        let totals = self.totals.iter();
        totals
            .map(|(stage, (_, others))| (*stage, *others))
            .collect()
    }

    /// All refused SYNs, and those of them that are of unknown clients.
    #[must_use]
    pub fn refused(&self) -> (u64, u64) {
        self.refused
    }

    /// The last of the stages.
    #[must_use]
    pub fn counted(&self) -> Stage {
        let last = self.totals.last_key_value();
        last.map_or(Stage::Accepted, |(stage, _)| *stage)
    }

    /// The clients in their order.
    #[must_use]
    pub fn ranked(mut self) -> Ranking {
        self.ipv4.sort_unstable();
        self.others.sort_unstable();
        let is_first = |index: &usize| *index == 0 || !self.are_of_one_client(index - 1, *index);
        let mut order: Vec<usize> = (0..self.len()).filter(is_first).collect();
        // What is computed again and again is in the memory that a cache of it would take.
        order.sort_unstable_by_key(|first| (Reverse(self.last_stage_first(*first)), *first));
        Ranking {
            counts: self,
            order,
        }
    }

    /// The number of entries.
    fn len(&self) -> usize {
        self.ipv4.len() + self.others.len()
    }

    /// The indices of a client's entries, of which this is the first. The entries are sorted.
    fn of_client(&self, first: usize) -> impl Iterator<Item = usize> {
        (first..self.len()).take_while(move |index| self.are_of_one_client(first, *index))
    }

    fn are_of_one_client(&self, one: usize, other: usize) -> bool {
        let ipv4 = self.ipv4.len();
        match (one.checked_sub(ipv4), other.checked_sub(ipv4)) {
            (None, None) => self.ipv4[one].0 >> 32 == self.ipv4[other].0 >> 32,
            (Some(one), Some(other)) => self.others[one].0.0 == self.others[other].0.0,
            _ => false,
        }
    }

    /// What an entry counts, its port and its connections.
    fn get(&self, index: usize) -> (What, Option<u16>, u64) {
        if let Some((packed, connections)) = self.ipv4.get(index) {
            (what_of(*packed), unpacked(*packed).1, *connections)
        } else {
            let ((_, what, port), connections) = &self.others[index - self.ipv4.len()];
            (*what, *port, *connections)
        }
    }

    fn key(&self, index: usize) -> GroupKey {
        match self.ipv4.get(index) {
            Some((packed, _)) => unpacked(*packed).0,
            None => self.others[index - self.ipv4.len()].0.0.clone(),
        }
    }

    /// The connections of a client at each stage.
    fn last_stage_first(&self, first: usize) -> [u64; Stage::ALL.len()] {
        let mut counts = [0; Stage::ALL.len()];
        for index in self.of_client(first) {
            if let (What::Stage(stage), _, connections) = self.get(index) {
                add(
                    &mut counts[Stage::Accepted as usize - stage as usize],
                    connections,
                );
            }
        }
        counts
    }

    fn client(&self, first: usize) -> Client {
        let counted = self.counted();
        let mut client = Client {
            key: self.key(first),
            connections: 0,
            ports: BTreeMap::new(),
            earlier: self.totals.keys().map(|stage| (*stage, 0)).collect(),
            refused: 0,
        };
        client.earlier.remove(&counted);
        for index in self.of_client(first) {
            let (what, port, connections) = self.get(index);
            match what {
                What::Stage(stage) if stage == counted => (),
                What::Stage(stage) => {
                    add(client.earlier.entry(stage).or_default(), connections);
                    continue;
                }
                What::Refused => {
                    add(&mut client.refused, connections);
                    continue;
                }
            }
            add(&mut client.connections, connections);
            if let Some(port) = port {
                add(client.ports.entry(port).or_default(), connections);
            }
        }
        client
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

    /// How many clients have a connection at the last stage.
    #[must_use]
    pub fn connected(&self) -> usize {
        let counted = Stage::Accepted as usize - self.counts.counted() as usize;
        self.order
            .partition_point(|first| self.counts.last_stage_first(*first)[counted] > 0)
    }

    /// Removes a client, and returns it.
    pub fn remove(&mut self, key: &GroupKey) -> Option<Client> {
        let is_client = |first: &usize| self.counts.key(*first) == *key;
        let position = self.order.iter().position(is_client)?;
        Some(self.counts.client(self.order.remove(position)))
    }

    /// Keeps only this many clients, the first ones.
    pub fn truncate(&mut self, clients: usize) {
        self.order.truncate(clients);
    }
}

impl Tally {
    /// The clients, most connections first, ties by address.
    #[must_use]
    pub fn ranked(&self) -> Ranking {
        let mut counts = Counts::new([Stage::Accepted]);
        counts.add_tally(Stage::Accepted, self);
        counts.ranked()
    }
}

/// An IPv4 client's entry: [`packed`], with what it counts in bits that are free there, so that entries are
/// in the order of clients, then of that, then of ports.
fn packed_entry(packed: u64, what: What) -> u64 {
    let number = match what {
        What::Stage(stage) => stage as u64,
        What::Refused => REFUSED,
    };
    packed | number << WHAT_SHIFT
}

const WHAT_SHIFT: u32 = 24;

/// The number behind those of the stages.
const REFUSED: u64 = Stage::ALL.len() as u64;

fn what_of(entry: u64) -> What {
    let stage = Stage::ALL.get((entry >> WHAT_SHIFT) as usize % 4);
    stage.map_or(What::Refused, |stage| What::Stage(*stage))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> GroupKey {
        GroupKey::Client(Host::at([192, 0, 2, number]))
    }

    #[test]
    fn what_is_added_in_parts_is_one_client() {
        let mut counts = Counts::new([Stage::Syn, Stage::Accepted]);
        for (stage, port, connections) in [
            (Stage::Accepted, Some(443), 1),
            (Stage::Syn, Some(80), 9),
            (Stage::Accepted, Some(80), 2),
            (Stage::Accepted, None, 4),
            (Stage::Accepted, Some(443), 8),
        ] {
            for key in [client(1), GroupKey::Port(Some(7))] {
                counts.add(stage, key, port, connections);
            }
        }
        counts.add_other(Stage::Syn, 5);
        for key in [client(1), GroupKey::Port(Some(7))] {
            counts.add_refused(key, Some(80), 3);
        }
        counts.add_other_refused(2);
        assert_eq!(counts.refused(), (8, 2));
        assert_eq!(
            counts.totals(),
            [(Stage::Syn, 23), (Stage::Accepted, 30)].into()
        );
        assert_eq!(
            counts.others(),
            [(Stage::Syn, 5), (Stage::Accepted, 0)].into()
        );
        let ranking = counts.ranked();
        let one = |key| Client {
            key,
            connections: 15,
            ports: [(80, 2), (443, 9)].into(),
            refused: 3,
            earlier: [(Stage::Syn, 9)].into(),
        };
        let clients: Vec<_> = ranking.clients().collect();
        assert_eq!(clients, [one(client(1)), one(GroupKey::Port(Some(7)))]);
    }

    #[test]
    fn the_totals_are_of_the_clients_that_are_kept() {
        let mut counts = Counts::new([Stage::Syn, Stage::Accepted]);
        let ipv6 = GroupKey::Client(Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]));
        for key in [client(1), client(2), ipv6.clone()] {
            counts.add(Stage::Accepted, key.clone(), Some(80), 3);
            counts.add(Stage::Syn, key.clone(), Some(80), 5);
            counts.add_refused(key, Some(80), 2);
        }
        counts.add_other(Stage::Accepted, 7);
        counts.add_other_refused(1);
        counts.retain(|key| *key != client(1));
        assert_eq!(
            counts.totals(),
            [(Stage::Syn, 10), (Stage::Accepted, 13)].into()
        );
        assert_eq!(
            counts.others(),
            [(Stage::Syn, 0), (Stage::Accepted, 7)].into()
        );
        assert_eq!(counts.refused(), (5, 1));
        let kept: Vec<_> = counts.ranked().clients().map(|client| client.key).collect();
        assert_eq!(kept, [client(2), ipv6]);
    }

    #[test]
    fn many_clients_of_few_groups_take_little_memory() {
        let mut counts = Counts::new([Stage::Accepted]);
        for number in 0..10_000_u16 {
            let (key, port) = (GroupKey::Port(Some(number % 5)), Some(number % 5));
            counts.add(Stage::Accepted, key, port, 1);
        }
        let entries = counts.others.capacity();
        assert!(entries < 100, "{entries}");
        let ranking = counts.ranked();
        let connections = ranking.clients().map(|client| client.connections);
        assert_eq!(Vec::from_iter(connections), [2000; 5]);
    }

    #[test]
    fn later_stages_come_first() {
        let mut counts = Counts::new(Stage::ALL);
        for (number, stage, connections) in [
            (1, Stage::Syn, 9),
            (2, Stage::Established, 1),
            (3, Stage::Syn, 9),
            (4, Stage::Accepted, 1),
            (4, Stage::Syn, 1),
        ] {
            counts.add(stage, client(number), Some(80), connections);
        }
        let mut ranking = counts.ranked();
        let keys = |ranking: &Ranking| ranking.clients().map(|client| client.key).collect();
        let order: Vec<_> = keys(&ranking);
        assert_eq!(order, [client(4), client(2), client(1), client(3)]);
        assert_eq!((ranking.len(), ranking.connected()), (4, 1));
        assert_eq!(
            ranking.remove(&client(2)).unwrap().earlier[&Stage::Established],
            1
        );
        assert_eq!(ranking.remove(&client(2)), None);
        ranking.truncate(2);
        let order: Vec<_> = keys(&ranking);
        assert_eq!(order, [client(4), client(1)]);
    }
}
