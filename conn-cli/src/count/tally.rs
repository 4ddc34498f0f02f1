//! Counts connections by client, or by another group.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use crate::model::{connection::Host, group::GroupKey, ports::PortSet};

/// How many connections each client made, to each local port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections of IPv4 clients, which are nearly all. See [`packed`].
    ipv4: HashMap<u64, u64, foldhash::fast::RandomState>,
    counts: HashMap<Pair, u64, foldhash::fast::RandomState>,
    other: u64,
}

/// A client and the local port that it connected to, if that is known.
pub(super) type Pair = (GroupKey, Option<u16>);

impl Tally {
    /// Adds connections of one client to one local port.
    pub fn add(&mut self, client: &Host, local_port: Option<u16>, connections: u64) {
        match client {
            Host::Address(IpAddr::V4(address)) => {
                add(
                    self.ipv4.entry(packed(*address, local_port)).or_default(),
                    connections,
                );
            }
            Host::Address(IpAddr::V6(_)) | Host::Name(_) | Host::Unknown => {
                self.add_key(GroupKey::Client(client.clone()), local_port, connections);
            }
        }
    }

    /// Adds connections of one client or group.
    pub fn add_key(&mut self, key: GroupKey, local_port: Option<u16>, connections: u64) {
        match key {
            GroupKey::Client(Host::Address(IpAddr::V4(_))) => {
                if let GroupKey::Client(client) = &key {
                    self.add(client, local_port, connections);
                }
            }
            _ => add(
                self.counts.entry((key, local_port)).or_default(),
                connections,
            ),
        }
    }

    /// The same connections, counted by the key that `group` returns for each client and port.
    #[must_use]
    pub fn regrouped(&self, group: impl Fn(GroupKey, Option<u16>) -> GroupKey) -> Self {
        let mut grouped = Self::default();
        grouped.add_other(self.other);
        for ((key, port), connections) in self.pairs() {
            grouped.add_key(group(key, port), port, connections);
        }
        grouped
    }

    /// Removes the connections of clients that are not wanted, and returns how many of them it
    /// removed because that is not known.
    pub fn retain(&mut self, wanted: impl Fn(&GroupKey) -> Option<bool>) -> u64 {
        let mut unknown = std::mem::take(&mut self.other);
        let mut is_wanted = |key: &GroupKey, connections: u64| {
            let wanted = wanted(key);
            if wanted.is_none() {
                add(&mut unknown, connections);
            }
            wanted.unwrap_or(false)
        };
        self.ipv4
            .retain(|&packed, count| is_wanted(&unpacked(packed).0, *count));
        self.counts.retain(|pair, count| is_wanted(&pair.0, *count));
        unknown
    }

    fn pairs(&self) -> impl Iterator<Item = (Pair, u64)> {
        let ipv4 = self.ipv4.iter();
        let ipv4 = ipv4.map(|(packed, connections)| (unpacked(*packed), *connections));
        let others = self.counts.iter();
        ipv4.chain(others.map(|(pair, connections)| (pair.clone(), *connections)))
    }

    /// Adds connections whose individual clients are not known.
    pub fn add_other(&mut self, connections: u64) {
        add(&mut self.other, connections);
    }

    /// Adds everything that another tally has counted.
    pub fn add_all(&mut self, other: Self) {
        for (packed, connections) in other.ipv4 {
            add(self.ipv4.entry(packed).or_default(), connections);
        }
        for (pair, connections) in other.counts {
            add(self.counts.entry(pair).or_default(), connections);
        }
        self.add_other(other.other);
    }

    /// The connections to these ports, and the number of those whose port is not known.
    #[must_use]
    pub fn to_ports(mut self, ports: &PortSet) -> (Self, u64) {
        if ports.is_all() {
            return (self, 0);
        }
        let mut unknown = std::mem::take(&mut self.other);
        let mut is_wanted = |port: Option<u16>, connections: u64| {
            if port.is_none() {
                add(&mut unknown, connections);
            }
            port.is_some_and(|port| ports.contains(port))
        };
        self.ipv4
            .retain(|&packed, count| is_wanted(unpacked(packed).1, *count));
        self.counts.retain(|pair, count| is_wanted(pair.1, *count));
        (self, unknown)
    }

    /// What this has counted beyond the other, client by client.
    #[must_use]
    pub fn beyond(mut self, other: &Self) -> Self {
        for (packed, connections) in &mut self.ipv4 {
            let counted = other.ipv4.get(packed).copied().unwrap_or(0);
            *connections = connections.saturating_sub(counted);
        }
        for (pair, connections) in &mut self.counts {
            let counted = other.counts.get(pair).copied().unwrap_or(0);
            *connections = connections.saturating_sub(counted);
        }
        self.ipv4.retain(|_, connections| *connections > 0);
        self.counts.retain(|_, connections| *connections > 0);
        self.other = self.other.saturating_sub(other.other);
        self
    }

    /// Connections whose individual clients are not known.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// All connections, those of unknown clients included.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let counts = self.ipv4.values().chain(self.counts.values());
        counts.fold(self.other, |sum, count| sum.saturating_add(*count))
    }

    /// Each client and port with its connections, if it is not an IPv4 client.
    pub(super) fn not_ipv4(&self) -> impl Iterator<Item = (&GroupKey, Option<u16>, u64)> {
        let counts = self.counts.iter();
        counts.map(|((key, port), connections)| (key, *port, *connections))
    }

    /// Each IPv4 client and port, [`packed`], with its connections.
    pub(super) fn ipv4(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ipv4.iter().map(|(packed, count)| (*packed, *count))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let by_port = tally.regrouped(|_, port| GroupKey::Port(port));
        assert_eq!(by_port.connections(), 14);
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

    fn host(address: &str) -> Host {
        Host::at(address.parse::<std::net::IpAddr>().unwrap())
    }
}
