//! Counts connections by client, or by another group.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::{connection::Host, group::GroupKey, ports::PortSet};

/// How many connections each client made, to each local port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections of IPv4 clients, which are nearly all. See [`packed`].
    ipv4: Map<u64>,
    /// Those of IPv6 clients. Apart, since any key takes half as much again.
    ipv6: Map<(Ipv6Addr, Option<u16>)>,
    counts: Map<Pair>,
    other: u64,
    /// Of these, those of clients for which there was no room.
    turned_away: u64,
    room: Option<Room>,
}

type Map<K> = HashMap<K, u64, foldhash::fast::RandomState>;

/// A client and the local port that it connected to, if that is known.
pub(crate) type Pair = (GroupKey, Option<u16>);

/// How many pairs of client and port are counted one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So many.
    Clients(usize),
    /// As many as take so many bytes until they are in a summary.
    Memory(u64),
}

/// The bytes that a pair takes at most, with an IPv4 address, an IPv6 address or anything else: while a
/// table with spare entries gets twice as large, or while its entries become those of the summary. A name
/// has at most 255.
const BYTES: [u64; 3] = [80, 128, 512];

/// How many pairs of a name and a port there is room for besides [`Room`]: of names, there are few.
const NAMED: usize = 1 << 17;

impl Tally {
    /// Empty, with this room.
    #[must_use]
    pub fn within(room: Option<Room>) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    /// Takes all that is counted, and begins again with the same room.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let room = self.room;
        mem::replace(self, Self::within(room))
    }

    /// Adds connections of one client to one local port.
    pub fn add(&mut self, client: &Host, local_port: Option<u16>, connections: u64) {
        self.count(client, local_port, connections);
    }

    /// The same. Returns how many the client then has at this port; 0 if there is no room for it.
    pub(super) fn count(
        &mut self,
        client: &Host,
        local_port: Option<u16>,
        connections: u64,
    ) -> u64 {
        let (pairs, room) = (self.pairs(), self.room);
        let has_room = || has_room(room, pairs);
        let counted = match client {
            Host::Address(IpAddr::V4(address)) => {
                let pair = packed(*address, local_port);
                count(&mut self.ipv4, pair, connections, has_room)
            }
            Host::Address(IpAddr::V6(address)) => {
                let pair = (*address, local_port);
                count(&mut self.ipv6, pair, connections, has_room)
            }
            Host::Name(_) | Host::Unknown => {
                let pair = (GroupKey::Client(client.clone()), local_port);
                count(&mut self.counts, pair, connections, has_room)
            }
        };
        self.or_turn_away(counted, connections)
    }

    /// Adds connections of one client or group.
    pub fn add_key(&mut self, key: GroupKey, local_port: Option<u16>, connections: u64) {
        if let GroupKey::Client(client @ Host::Address(_)) = &key {
            return self.add(client, local_port, connections);
        }
        let (pairs, room) = (self.pairs(), self.room);
        let is_name = matches!(key, GroupKey::Name(_));
        let has_room = || is_name && pairs[2] < NAMED || has_room(room, pairs);
        let counted = count(&mut self.counts, (key, local_port), connections, has_room);
        self.or_turn_away(counted, connections);
    }

    /// Forgets everything. The tables stay as large as what was in them needs: they fill faster than new
    /// ones, and to release much memory takes long.
    pub(super) fn clear(&mut self) {
        clear(&mut self.ipv4);
        clear(&mut self.ipv6);
        clear(&mut self.counts);
        (self.other, self.turned_away) = (0, 0);
    }

    /// How many pairs of client and port there are, with an IPv4 address, an IPv6 address or anything else.
    pub(super) fn pairs(&self) -> [usize; 3] {
        [self.ipv4.len(), self.ipv6.len(), self.counts.len()]
    }

    fn or_turn_away(&mut self, counted: Option<u64>, connections: u64) -> u64 {
        if counted.is_none() {
            add(&mut self.turned_away, connections);
            self.add_other(connections);
        }
        counted.unwrap_or(0)
    }

    /// Removes the connections of clients that are not wanted, and returns how many of them it
    /// removed because that is not known.
    pub fn retain(&mut self, wanted: impl Fn(&GroupKey) -> Option<bool>) -> u64 {
        self.retain_pairs(|(key, _)| wanted(key))
    }

    /// The connections to these ports, and the number of those whose port is not known.
    #[must_use]
    pub fn to_ports(mut self, ports: &PortSet) -> (Self, u64) {
        if ports.is_all() {
            return (self, 0);
        }
        let unknown = self.retain_pairs(|(_, port)| port.map(|port| ports.contains(port)));
        (self, unknown)
    }

    fn retain_pairs(&mut self, wanted: impl Fn(&Pair) -> Option<bool>) -> u64 {
        self.turned_away = 0;
        let mut unknown = mem::take(&mut self.other);
        let mut is_wanted = |pair: &Pair, connections: u64| {
            let wanted = wanted(pair);
            if wanted.is_none() {
                add(&mut unknown, connections);
            }
            wanted.unwrap_or(false)
        };
        self.ipv4
            .retain(|&pair, count| is_wanted(&unpacked(pair), *count));
        self.ipv6
            .retain(|&pair, count| is_wanted(&ipv6_pair(pair), *count));
        self.counts.retain(|pair, count| is_wanted(pair, *count));
        unknown
    }

    /// Each client and port with its connections, in any order.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Pair, u64)> {
        let ipv4 = self.ipv4.iter();
        let ipv4 = ipv4.map(|(pair, count)| (unpacked(*pair), *count));
        let ipv6 = self.ipv6.iter();
        let ipv6 = ipv6.map(|(pair, count)| (ipv6_pair(*pair), *count));
        let others = self.counts.iter();
        ipv4.chain(ipv6)
            .chain(others.map(|(pair, count)| (pair.clone(), *count)))
    }

    /// Adds connections whose individual clients are not known.
    pub fn add_other(&mut self, connections: u64) {
        add(&mut self.other, connections);
    }

    /// Adds everything that another tally has counted.
    pub fn add_all(&mut self, other: Self) {
        if *self == Self::within(other.room) {
            *self = other;
            return;
        }
        self.add_other(other.other);
        add(&mut self.turned_away, other.turned_away);
        for (key, port, connections) in other.into_pairs() {
            self.add_key(key, port, connections);
        }
    }

    /// The same connections; those to a port that is not known are to this one.
    #[must_use]
    pub(crate) fn with_port(self, port: u16) -> Self {
        let mut tally = Self::within(self.room);
        (tally.other, tally.turned_away) = (self.other, self.turned_away);
        for (key, known, connections) in self.into_pairs() {
            tally.add_key(key, known.or(Some(port)), connections);
        }
        tally
    }

    /// The connections of the same clients, to any port.
    #[must_use]
    pub(crate) fn without_ports(&self) -> Self {
        let mut tally = Self::default();
        for ((key, _), connections) in self.each() {
            tally.add_key(key, None, connections);
        }
        tally
    }

    /// What this has counted beyond the other, client by client. What it has of clients for which it had
    /// no room is not in it.
    #[must_use]
    pub fn beyond(mut self, other: &Self) -> Self {
        subtract(&mut self.ipv4, &other.ipv4);
        subtract(&mut self.ipv6, &other.ipv6);
        subtract(&mut self.counts, &other.counts);
        (self.other, self.turned_away) = (0, 0);
        self
    }

    /// Removes the connections whose individual clients are not known, and returns how many these were.
    pub(crate) fn take_other(&mut self) -> u64 {
        self.turned_away = 0;
        mem::take(&mut self.other)
    }

    /// Connections whose individual clients are not known.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// Of these, those of clients for which there was no room.
    #[must_use]
    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// All connections, those of unknown clients included.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let counts = self.ipv4.values().chain(self.ipv6.values());
        let counts = counts.chain(self.counts.values());
        counts.fold(self.other, |sum, count| sum.saturating_add(*count))
    }

    /// Each client and port with its connections: [`Self::pairs`] of each kind.
    pub(super) fn into_pairs(self) -> impl Iterator<Item = (GroupKey, Option<u16>, u64)> {
        // One after the other: each is released when all of it is taken.
        let ipv4 = { self.ipv4.into_iter() }.map(|(pair, count)| (unpacked(pair), count));
        let ipv6 = { self.ipv6.into_iter() }.map(|(pair, count)| (ipv6_pair(pair), count));
        let all = ipv4.chain(ipv6).chain(self.counts);
        all.map(|((key, port), connections)| (key, port, connections))
    }
}

/// Whether there is room for one more than so many [`Tally::pairs`].
fn has_room(room: Option<Room>, pairs: [usize; 3]) -> bool {
    match room {
        None => true,
        Some(Room::Clients(most)) => pairs.iter().sum::<usize>() < most,
        Some(Room::Memory(most)) => {
            let bytes = { pairs.iter().zip(BYTES) }.map(|(pairs, bytes)| *pairs as u64 * bytes);
            bytes.sum::<u64>() < most
        }
    }
}

/// Adds connections of this key, if it is there already or there is room for it, and returns how many it
/// then has.
fn count<K: Eq + Hash>(
    map: &mut Map<K>,
    key: K,
    connections: u64,
    has_room: impl FnOnce() -> bool,
) -> Option<u64> {
    match map.entry(key) {
        Entry::Occupied(entry) => {
            let counted = entry.into_mut();
            add(counted, connections);
            Some(*counted)
        }
        Entry::Vacant(entry) => has_room().then(|| *entry.insert(connections)),
    }
}

fn clear<K: Eq + Hash>(map: &mut Map<K>) {
    let used = map.len();
    map.clear();
    map.shrink_to(2 * used);
}

fn subtract<K: Eq + Hash>(map: &mut Map<K>, other: &Map<K>) {
    map.retain(|key, connections| {
        let counted = other.get(key).copied().unwrap_or(0);
        *connections = connections.saturating_sub(counted);
        *connections > 0
    });
}

/// Saturates, since counts may come from a file, which may contain any number.
pub(super) fn add(count: &mut u64, connections: u64) {
    *count = count.saturating_add(connections);
}

/// Packs an IPv4 client and the port, if known, into as little as possible: a small table stays in
/// the CPU cache, and a cache miss takes longer than parsing a line.
pub(super) fn packed(address: Ipv4Addr, port: Option<u16>) -> u64 {
    let port = port.map_or(0, |port| 1 << 16 | u64::from(port));
    u64::from(address.to_bits()) << 32 | port
}

/// Reverses [`packed`].
pub(super) fn unpacked(packed: u64) -> Pair {
    let address = Ipv4Addr::from_bits((packed >> 32) as u32);
    let port = (packed & 1 << 16 != 0).then_some(packed as u16);
    (GroupKey::Client(Host::Address(address.into())), port)
}

fn ipv6_pair((address, port): (Ipv6Addr, Option<u16>)) -> Pair {
    (GroupKey::Client(Host::Address(address.into())), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        count::ranking::Counts,
        model::{group::GroupBy, stage::Stage},
    };

    #[test]
    fn clients_are_ranked_by_count_then_address() {
        let mut tally = Tally::default();
        for (address, port, connections) in [
            ("10.0.0.10", Some(80), 1),
            ("10.0.0.9", Some(80), 1),
            ("2001:db8::1", Some(443), 1),
            ("192.0.2.1", Some(80), 2),
            ("192.0.2.1", Some(443), 3),
            ("192.0.2.1", None, 4),
        ] {
            tally.add(&host(address), port, connections);
        }
        tally.add_other(4);
        assert_eq!(tally.connections(), 16);
        let ranked: Vec<_> = tally.ranked().clients().collect();
        assert_eq!(ranked[0].ports, [(80, 2), (443, 3)].into());
        let lines: Vec<_> = ranked
            .iter()
            .map(|client| format!("{}: {}", client.key, client.connections))
            .collect();
        assert_eq!(
            lines,
            [
                "192.0.2.1: 9",
                "10.0.0.9: 1",
                "10.0.0.10: 1",
                "2001:db8::1: 1"
            ]
        );
    }

    #[test]
    fn packed_values_unpack_unchanged() {
        for address in [[0, 0, 0, 0], [255, 255, 255, 255], [192, 0, 2, 1]] {
            for port in [None, Some(0), Some(80), Some(65535)] {
                assert_eq!(
                    unpacked(packed(address.into(), port)),
                    (GroupKey::Client(Host::at(address)), port)
                );
            }
        }
    }

    #[test]
    fn regrouping_keeps_all_connections() {
        let mut tally = Tally::default();
        for (address, port, connections) in [
            ("10.0.0.1", Some(80), 3),
            ("10.0.0.2", Some(443), 2),
            ("2001:db8::1", Some(80), 5),
        ] {
            tally.add(&host(address), port, connections);
        }
        tally.add_other(4);
        let mut by_port = Counts::new([Stage::Accepted]).by(GroupBy::Port.into());
        by_port.add_tally(Stage::Accepted, tally);
        assert_eq!(by_port.connections(Stage::Accepted), 14);
        let ranked: Vec<_> = by_port.ranked().clients().collect();
        assert_eq!(ranked[0].key, GroupKey::Port(Some(80)));
        assert_eq!((ranked[0].connections, ranked[1].connections), (8, 2));
    }

    #[test]
    fn empty_tally_has_no_clients() {
        assert_eq!(Tally::default().connections(), 0);
        assert_eq!(Tally::default().ranked().clients().next(), None);
    }

    #[test]
    fn added_tallies_equal_the_whole() {
        let mut whole = Tally::default();
        let mut parts = [Tally::default(), Tally::default()];
        for number in 0..100_u8 {
            let (client, port) = (Host::at([10, 0, 0, number % 7]), Some(80));
            whole.add(&client, port, 1);
            parts[usize::from(number % 2)].add(&client, port, 1);
        }
        parts[0].add_other(2);
        whole.add_other(2);
        let [mut sum, rest] = parts;
        sum.add_all(rest);
        assert_eq!(sum, whole);
    }

    #[test]
    fn beyond_is_the_difference_per_client() {
        let mut tally = Tally::default();
        for (address, port, connections) in [
            ("10.0.0.1", Some(80), 3),
            ("10.0.0.2", Some(80), 1),
            ("2001:db8::1", None, 5),
        ] {
            tally.add(&host(address), port, connections);
        }
        let mut known = Tally::default();
        known.add(&host("10.0.0.1"), Some(80), 2);
        known.add(&host("10.0.0.2"), Some(80), 7);
        known.add(&host("10.0.0.3"), Some(80), 7);
        let mut rest = Tally::default();
        rest.add(&host("10.0.0.1"), Some(80), 1);
        rest.add(&host("2001:db8::1"), None, 5);
        assert_eq!(tally.beyond(&known), rest);
    }

    #[test]
    fn sums_saturate() {
        let mut tally = Tally::default();
        tally.add(&host("10.0.0.1"), Some(80), u64::MAX);
        tally.add(&host("10.0.0.1"), Some(80), 1);
        tally.add(&host("2001:db8::1"), None, 1);
        assert_eq!(tally.connections(), u64::MAX);
    }

    #[test]
    fn clients_without_room_are_summed_up() {
        let mut tally = Tally::within(Some(Room::Clients(3)));
        let clients = [
            "10.0.0.1",
            "2001:db8::1",
            "web.example",
            "10.0.0.2",
            "::1",
            "b",
        ];
        for _ in 0..2 {
            for client in clients {
                tally.add_key(GroupKey::Client(host(client)), Some(80), 5);
            }
            tally.add(&host("10.0.0.1"), Some(81), 7);
        }
        tally.add_other(1);
        assert_eq!((tally.turned_away(), tally.other()), (44, 45));
        assert_eq!(tally.connections(), 75);
        // What is added later has the same room.
        let mut sum = Tally::within(Some(Room::Clients(2)));
        sum.add(&host("10.0.0.1"), Some(80), 1);
        sum.add_all(tally.take());
        assert_eq!(
            (sum.connections(), sum.pairs().iter().sum::<usize>()),
            (76, 2)
        );
        tally.add(&host("10.0.0.9"), None, 1);
        assert_eq!((tally.connections(), tally.other()), (1, 0));
        assert_eq!(tally.take().pairs(), [1, 0, 0]);
    }

    #[test]
    fn room_in_memory_is_what_clients_take() {
        for (client, bytes) in [("10.0.0.1", 80), ("::1", 128), ("a", 512)] {
            let mut tally = Tally::within(Some(Room::Memory(bytes * 10)));
            for port in 0..11 {
                tally.add(&host(client), Some(port), 1);
            }
            assert_eq!(tally.turned_away(), 1, "{client}");
        }
    }

    fn host(address: &str) -> Host {
        match address.parse::<IpAddr>() {
            Ok(address) => Host::at(address),
            Err(_) => Host::named(address.as_bytes()).unwrap(),
        }
    }
}
