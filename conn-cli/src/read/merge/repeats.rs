//! SYNs that were sent again, or captured twice.

use std::{collections::HashSet, hash::BuildHasher as _, net::IpAddr};

use crate::connection::{Connection, Host};

/// How many SYNs are remembered at least: of the rest, memory does not grow. A client gives up
/// two minutes after its first SYN, so this is enough for 2000 SYNs a second.
const REMEMBERED: usize = 1 << 18;

type Hashing = foldhash::fast::RandomState;

/// Remembers SYNs, in two generations: when the younger is full, the older is forgotten.
#[derive(Debug, Default)]
pub struct Repeats {
    young: HashSet<u128, Hashing>,
    old: HashSet<u128, Hashing>,
    hashing: [Hashing; 2],
}

impl Repeats {
    /// Whether this SYN was seen before.
    #[must_use]
    pub fn contains(&self, connection: &Connection, sequence: u32) -> bool {
        let key = self.key(connection, sequence);
        self.young.contains(&key) || self.old.contains(&key)
    }

    /// Whether this SYN, or the answer to it, was seen before: same ends, same sequence number.
    /// It is remembered.
    pub fn is_repeat(&mut self, connection: &Connection, sequence: u32) -> bool {
        let key = self.key(connection, sequence);
        if self.young.len() >= REMEMBERED {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        !self.young.insert(key) || self.old.contains(&key)
    }

    /// All that identifies a SYN. Of IPv4 these are 128 bits; of all else it is a hash of as
    /// many, with keys that nobody can know beforehand.
    fn key(&self, connection: &Connection, sequence: u32) -> u128 {
        let ports = (connection.remote_port, connection.local_port);
        if let (
            Host::Address(IpAddr::V4(remote)),
            Host::Address(IpAddr::V4(local)),
            (Some(from), Some(to)),
        ) = (&connection.remote, &connection.local, ports)
        {
            let hosts = u128::from(remote.to_bits()) << 32 | u128::from(local.to_bits());
            let ports = u128::from(from) << 16 | u128::from(to);
            return hosts << 64 | ports << 32 | u128::from(sequence);
        }
        let ends = (&connection.remote, &connection.local, ports, sequence);
        let half = |hashing: &Hashing| u128::from(hashing.hash_one(ends));
        half(&self.hashing[0]) << 64 | half(&self.hashing[1])
    }
}
