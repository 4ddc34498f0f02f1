//! Turns a few recorded connections into many, with a different client for each.

use std::net::Ipv4Addr;

use super::truth::Truth;

/// The number of different clients.
const CLIENTS: u32 = 20_000;

/// Their network, which RFC 2544 reserves for benchmarks.
const NETWORK: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// Every client of the recorded sessions is in this network (RFC 5737).
pub(super) const RECORDED_NETWORK: &str = "198.51.100.";

/// The client that replaces the recorded one in a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    client: u32,
    pub(super) port: u16,
    /// The client's initial sequence number, different for each connection.
    pub(super) sequence: u32,
}

impl Peer {
    /// The peer for the connection with this number, from 0.
    pub(super) fn for_connection(connection: u64) -> Self {
        let clients = u64::from(CLIENTS);
        let (round, place) = (connection / clients, connection % clients);
        // Each client connects once in a round, so it does not use a port again for long. A SYN with the
        // same ports would be a retransmission. Multiplication by a factor that is coprime to the number of
        // clients permutes them.
        let client = (place * 7_919 + scramble(round) % clients) % clients;
        Self {
            client: client as u32,
            // Linux's ephemeral ports.
            port: 32_768 + ((scramble(client) % 28_232 + round) % 28_232) as u16,
            // Multiplication by an odd factor permutes the numbers.
            sequence: (connection as u32).wrapping_mul(2_654_435_761),
        }
    }

    pub(super) fn address(self) -> Ipv4Addr {
        address(self.client)
    }
}

fn address(client: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(NETWORK + client)
}

/// A fixed pseudorandom sequence (splitmix64), so that caches help no more than in practice.
fn scramble(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Counts records and connections while they are written.
#[derive(Debug)]
pub(super) struct Counter {
    records: u64,
    connections: Vec<u64>,
}

impl Counter {
    pub(super) fn new() -> Self {
        Self {
            records: 0,
            connections: vec![0; CLIENTS as usize],
        }
    }

    pub(super) fn record(&mut self) {
        self.records += 1;
    }

    pub(super) fn connection(&mut self, peer: Peer) {
        self.connections[peer.client as usize] += 1;
    }

    pub(super) fn truth(&self) -> Truth {
        let counts = self.connections.iter().copied();
        Truth {
            records: self.records,
            clients: (0..)
                .map(address)
                .zip(counts)
                .filter(|&(_, count)| count > 0)
                .collect(),
        }
    }
}

/// A recorded session that can be written repeatedly, each time with other clients.
pub(super) trait Session {
    /// Writes what comes once, before all rounds.
    fn opening(&self, out: &mut Vec<u8>, counter: &mut Counter);

    /// Writes the session for the round with this number, from 0.
    fn round(&self, round: u64, out: &mut Vec<u8>, counter: &mut Counter);

    /// Writes what comes once, after all rounds.
    fn closing(&self, out: &mut Vec<u8>, counter: &mut Counter);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn peers_are_many_and_no_ends_or_sequence_numbers_repeat() {
        let peers: Vec<_> = (0..400_000).map(Peer::for_connection).collect();
        let clients: HashSet<_> = peers.iter().map(|peer| peer.address()).collect();
        let ends: HashSet<_> = { peers.iter() }
            .map(|peer| (peer.address(), peer.port))
            .collect();
        let sequences: HashSet<_> = peers.iter().map(|peer| peer.sequence).collect();
        assert_eq!(clients.len(), CLIENTS as usize);
        assert_eq!(ends.len(), peers.len());
        assert_eq!(sequences.len(), peers.len());
        assert!(
            peers
                .iter()
                .all(|peer| (32_768..61_000).contains(&peer.port))
        );
    }
}
