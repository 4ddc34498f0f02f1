//! Recognises SYNs that were sent or captured more than once.

use std::{collections::HashSet, hash::BuildHasher as _, net::IpAddr};

use crate::model::connection::{Connection, Host};

/// The size of a generation: at least this many SYNs are remembered, and at most twice as many. A
/// client gives up two minutes after its first SYN, so this is enough for 2000 SYNs a second.
const GENERATION_SIZE: usize = 1 << 18;

type RandomState = foldhash::fast::RandomState;

/// Remembers SYNs in two generations: when the younger is full, it replaces the older.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    young: HashSet<u128, RandomState>,
    old: HashSet<u128, RandomState>,
    hashers: [RandomState; 2],
}

impl Repeats {
    /// Whether this SYN was seen before.
    #[must_use]
    pub(crate) fn contains(&self, connection: &Connection, sequence: u32) -> bool {
        let key = self.key(connection, sequence);
        self.young.contains(&key) || self.old.contains(&key)
    }

    /// Remembers a SYN. Returns whether it or its answer was seen before: same ends, same
    /// sequence number.
    pub(crate) fn is_repeat(&mut self, connection: &Connection, sequence: u32) -> bool {
        let key = self.key(connection, sequence);
        if self.young.len() >= GENERATION_SIZE {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        !self.young.insert(key) || self.old.contains(&key)
    }

    /// Identifies a SYN. For IPv4, ends and sequence number are 128 bits; for everything else the
    /// key is a hash of 128 bits with random seeds, so that collisions cannot be provoked.
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
        let half = |hasher: &RandomState| u128::from(hasher.hash_one(ends));
        half(&self.hashers[0]) << 64 | half(&self.hashers[1])
    }
}
