//! The count of connections by client.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

/// How many connections each client made, to each local port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    clients: HashMap<IpAddr, BTreeMap<u16, u64>>,
    other: u64,
}

/// One client's part of a [`Tally`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address.
    pub address: IpAddr,
    /// All its connections.
    pub connections: u64,
    /// Its connections to each local port, ascending.
    pub ports: BTreeMap<u16, u64>,
}

impl Tally {
    /// Adds connections of one client to one local port.
    pub fn add(&mut self, address: IpAddr, local_port: u16, connections: u64) {
        *self
            .clients
            .entry(address)
            .or_default()
            .entry(local_port)
            .or_default() += connections;
    }

    /// Adds connections whose clients are not known one by one.
    pub fn add_other(&mut self, connections: u64) {
        self.other += connections;
    }

    /// Connections whose clients are not known one by one.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// All connections, those of unknown clients included.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let counts = self.clients.values().flat_map(BTreeMap::values);
        self.other + counts.sum::<u64>()
    }

    /// The clients, most connections first, ties by address.
    #[must_use]
    pub fn ranked(self) -> Vec<Client> {
        let mut clients: Vec<_> = self
            .clients
            .into_iter()
            .map(|(address, ports)| Client {
                address,
                connections: ports.values().sum(),
                ports,
            })
            .collect();
        clients
            .sort_unstable_by_key(|client| (std::cmp::Reverse(client.connections), client.address));
        clients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_first_and_ties_by_address() {
        let mut tally = Tally::default();
        for (address, port, connections) in [
            ("10.0.0.10", 80, 1),
            ("10.0.0.9", 80, 1),
            ("2001:db8::1", 443, 1),
            ("192.0.2.1", 80, 2),
            ("192.0.2.1", 443, 3),
        ] {
            tally.add(address.parse().unwrap(), port, connections);
        }
        tally.add_other(4);
        assert_eq!(tally.connections(), 12);
        let ranked: Vec<_> = tally
            .ranked()
            .iter()
            .map(|client| format!("{}: {}", client.address, client.connections))
            .collect();
        assert_eq!(
            ranked,
            [
                "192.0.2.1: 5",
                "10.0.0.9: 1",
                "10.0.0.10: 1",
                "2001:db8::1: 1"
            ]
        );
    }

    #[test]
    fn nothing_counts_nothing() {
        assert_eq!(Tally::default().connections(), 0);
        assert_eq!(Tally::default().ranked(), []);
    }
}
