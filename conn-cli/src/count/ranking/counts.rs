//! The counts of all clients, in as little memory as possible.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use super::Client;
use crate::{
    count::tally::{Pair, Tally, add, packed, unpacked},
    model::{
        connection::Host,
        group::{GroupBy, GroupKey, Grouping},
        stage::Stage,
    },
};

/// How many connections of each client reached each watched stage, in any order. A client and port may
/// be added several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All connections at each watched stage, and those of them that are of unknown clients.
    totals: BTreeMap<Stage, (u64, u64)>,
    /// All refused SYNs, and those of them that are of unknown clients.
    refused: (u64, u64),
    by: Grouping,
    /// Those of IPv4 clients, which are nearly all: the entries, see [`packed_entry`].
    ipv4: Vec<(u64, u64)>,
    ipv6: Vec<(Entry<Ipv6Addr>, u64)>,
    pub(super) others: Vec<(Entry<GroupKey>, u64)>,
    /// Clients and groups of which some connections may be among those of unknown clients: at most how many,
    /// unless there are fewer.
    errors: BTreeMap<GroupKey, u64>,
}

/// A client, the local port, if that is known, and what is counted of it: entries are in this order. The key
/// of a pair with the port is made only for its row.
type Entry<K> = (K, Option<u16>, What);

/// What is counted of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Connections that reached a stage.
    Stage(Stage),
    /// SYNs that TCP answered with a reset.
    Refused,
}

impl Counts {
    /// Counts at these stages, of which the last is what a client is ranked by.
    pub fn new(stages: impl IntoIterator<Item = Stage>) -> Self {
        Self {
            totals: stages.into_iter().map(|stage| (stage, (0, 0))).collect(),
            refused: (0, 0),
            by: Grouping::default(),
            ipv4: Vec::new(),
            ipv6: Vec::new(),
            others: Vec::new(),
            errors: BTreeMap::new(),
        }
    }

    /// The same by this. What is added one by one must have the keys of the first of a pair; tallies of
    /// clients are grouped here.
    #[must_use]
    pub fn by(self, by: Grouping) -> Self {
        Self { by, ..self }
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

    /// Gives this client or group connections that were added as those of unknown clients: it had at least
    /// so many of them, and at most so many more.
    pub fn take_from_other(
        &mut self,
        stage: Stage,
        (key, port): (GroupKey, Option<u16>),
        at_least: u64,
        error: u64,
    ) {
        let other = &mut self.totals.entry(stage).or_default().1;
        let connections = at_least.min(*other);
        *other -= connections;
        // Those of a network or to a port may be of any number of further clients.
        let error = match self.by.what() {
            GroupBy::Network(..) | GroupBy::Name(_) | GroupBy::Port => u64::MAX,
            _ => error,
        };
        let row = self.by.paired(key.clone(), port);
        add(self.errors.entry(row).or_default(), error);
        self.push(What::Stage(stage), key, port, connections);
    }

    /// How many more connections a client or group may have had to the ports that are known of it: no more
    /// than there are of unknown clients. None if none.
    pub(super) fn error(&self, key: &GroupKey) -> Option<u64> {
        let (_, other) = self.totals.get(&self.counted())?;
        self.errors.get(key).map(|error| *error.min(other))
    }

    /// Whether there may be clients or groups that have an [error](Self::error).
    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Adds SYNs of one client or group to one local port that were refused.
    pub fn add_refused(&mut self, key: GroupKey, port: Option<u16>, syns: u64) {
        self.add_refused_total(syns);
        self.push(What::Refused, key, port, syns);
    }

    fn push(&mut self, what: What, key: GroupKey, port: Option<u16>, connections: u64) {
        match key {
            GroupKey::Client(Host::Address(IpAddr::V4(address))) => {
                let packed = packed_entry(packed(address, port), what);
                self.ipv4.push((packed, connections));
            }
            GroupKey::Client(Host::Address(IpAddr::V6(address))) => {
                self.ipv6.push(((address, port, what), connections));
            }
            key => {
                if self.others.len() == self.others.capacity() {
                    self.merge();
                }
                self.others.push(((key, port, what), connections));
            }
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

    /// Adds all that a tally of clients has counted.
    pub fn add_tally(&mut self, stage: Stage, tally: Tally) {
        self.add_other(stage, tally.other());
        if let GroupBy::Address = self.by.what() {
            let [ipv4, ipv6, others] = tally.pairs();
            self.ipv4.reserve_exact(ipv4);
            self.ipv6.reserve_exact(ipv6);
            self.others.reserve(others);
        }
        for (client, port, connections) in tally.into_pairs() {
            self.add(stage, self.by.what().group(client, port), port, connections);
        }
    }

    /// Keeps only these clients, and those that are not known.
    pub fn retain(&mut self, is_wanted: impl Fn(&GroupKey) -> bool) {
        self.ipv4.retain(|(entry, _)| is_wanted(&pair_of(*entry).0));
        self.ipv6
            .retain(|((address, ..), _)| is_wanted(&client(*address)));
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

    /// Makes what belongs to a client adjacent.
    pub(super) fn sort(&mut self) {
        // Whatever the connections: they are summed up. Numbers are compared faster than what they mean.
        self.ipv4.sort_unstable_by_key(|(entry, _)| *entry);
        self.ipv6
            .sort_unstable_by_key(|((address, port, what), _)| (address.to_bits(), *port, *what));
        self.others.sort_unstable();
    }

    /// Whether an entry is the first one of its client. The entries are sorted.
    pub(super) fn is_first_entry(&self, index: usize) -> bool {
        index == 0 || !self.are_of_one_client(index - 1, index)
    }

    /// The index of the first entry of the client with this key. The entries are sorted.
    pub(super) fn first_entry(&self, key: &GroupKey) -> Option<usize> {
        let start = if *key == UNKNOWN {
            self.ipv4.len() + self.ipv6.len()
        } else {
            0
        };
        (start..self.len()).find(|index| self.key(*index) == *key)
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.ipv4.len() + self.ipv6.len() + self.others.len()
    }

    /// The indices of a client's entries, of which this is the first. The entries are sorted.
    pub(super) fn of_client(&self, first: usize) -> impl Iterator<Item = usize> {
        (first..self.len()).take_while(move |index| self.are_of_one_client(first, *index))
    }

    fn are_of_one_client(&self, one: usize, other: usize) -> bool {
        let has_same_port = || self.get(one).1 == self.get(other).1;
        let is_pair = self.by.with_port();
        match (self.place(one), self.place(other)) {
            (Place::Ipv4(one), Place::Ipv4(other)) => {
                self.ipv4[one].0 >> 32 == self.ipv4[other].0 >> 32 && (!is_pair || has_same_port())
            }
            (Place::Ipv6(one), Place::Ipv6(other)) => {
                self.ipv6[one].0.0 == self.ipv6[other].0.0 && (!is_pair || has_same_port())
            }
            (Place::Other(one), Place::Other(other)) => {
                let key = &self.others[one].0.0;
                *key == self.others[other].0.0 && (!is_pair || *key == UNKNOWN || has_same_port())
            }
            _ => false,
        }
    }

    fn place(&self, index: usize) -> Place {
        let Some(index) = index.checked_sub(self.ipv4.len()) else {
            return Place::Ipv4(index);
        };
        match index.checked_sub(self.ipv6.len()) {
            None => Place::Ipv6(index),
            Some(index) => Place::Other(index),
        }
    }

    /// What an entry counts, its port and its connections.
    pub(super) fn get(&self, index: usize) -> (What, Option<u16>, u64) {
        match self.place(index) {
            Place::Ipv4(index) => {
                let (packed, connections) = self.ipv4[index];
                (what_of(packed), pair_of(packed).1, connections)
            }
            Place::Ipv6(index) => {
                let ((_, port, what), connections) = self.ipv6[index];
                (what, port, connections)
            }
            Place::Other(index) => {
                let ((_, port, what), connections) = &self.others[index];
                (*what, *port, *connections)
            }
        }
    }

    pub(super) fn key(&self, index: usize) -> GroupKey {
        let (key, port) = match self.place(index) {
            Place::Ipv4(index) => pair_of(self.ipv4[index].0),
            Place::Ipv6(index) => {
                let (address, port, _) = self.ipv6[index].0;
                (client(address), port)
            }
            Place::Other(index) => {
                let (key, port, _) = &self.others[index].0;
                (key.clone(), *port)
            }
        };
        self.by.paired(key, port)
    }

    /// The connections of a client at each stage.
    pub(super) fn last_stage_first(&self, first: usize) -> [u64; Stage::ALL.len()] {
        let mut counts = [0; Stage::ALL.len()];
        for index in self.of_client(first) {
            if let (What::Stage(stage), _, connections) = self.get(index) {
                add(&mut counts[place_of(stage)], connections);
            }
        }
        counts
    }

    pub(super) fn client(&self, first: usize) -> Client {
        let counted = self.counted();
        let mut client = Client {
            key: self.key(first),
            connections: 0,
            ports: BTreeMap::new(),
            earlier: self.earlier_stages().collect(),
            refused: 0,
        };
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

    /// The stages before the last one, without connections.
    pub(super) fn earlier_stages(&self) -> impl Iterator<Item = (Stage, u64)> {
        let counted = self.counted();
        let stages = self.totals.keys().filter(move |stage| **stage != counted);
        stages.map(|stage| (*stage, 0))
    }
}

/// Where an entry is.
enum Place {
    Ipv4(usize),
    Ipv6(usize),
    Other(usize),
}

/// An IPv4 client's entry: [`packed`] with what it counts behind that, so that entries are in the order of
/// clients, then of ports, then of that.
fn packed_entry(packed: u64, what: What) -> u64 {
    let number = match what {
        What::Stage(stage) => stage as u64,
        What::Refused => REFUSED,
    };
    let (address, port) = (packed >> 32, packed & u64::from(u32::MAX));
    address << 32 | port << WHAT_BITS | number
}

const WHAT_BITS: u32 = 2;

/// The number behind those of the stages.
const REFUSED: u64 = Stage::ALL.len() as u64;

fn what_of(entry: u64) -> What {
    let stage = Stage::ALL.get((entry % (1 << WHAT_BITS)) as usize);
    stage.map_or(What::Refused, |stage| What::Stage(*stage))
}

fn pair_of(entry: u64) -> Pair {
    let (address, rest) = (entry >> 32, entry & u64::from(u32::MAX));
    unpacked(address << 32 | rest >> WHAT_BITS)
}

/// Where a stage is if the last one is first.
pub(super) fn place_of(stage: Stage) -> usize {
    Stage::Accepted as usize - stage as usize
}

fn client(address: impl Into<IpAddr>) -> GroupKey {
    GroupKey::Client(Host::Address(address.into()))
}

pub(super) const UNKNOWN: GroupKey = GroupKey::Client(Host::Unknown);
