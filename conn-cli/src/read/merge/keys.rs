//! Short keys for the ends of connections.

use std::{
    hash::{BuildHasher as _, Hash, Hasher},
    net::IpAddr,
};

use crate::model::connection::{Connection, Host};

type RandomState = foldhash::fast::RandomState;

/// Two ends, or a client's end and a sequence number. For IPv4 they fit; everything else is a hash with random
/// seeds, so that collisions cannot be provoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key([u32; 3]);

impl Hash for Key {
    /// Faster than hashing a slice.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c] = self.0;
        state.write_u64(u64::from(a) << 32 | u64::from(b));
        state.write_u32(c);
    }
}

/// Makes keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    hashers: [RandomState; 2],
}

impl Keys {
    /// Client and server.
    pub(super) fn ends(&self, connection: &Connection) -> Key {
        self.between(
            (&connection.remote, connection.remote_port),
            (&connection.local, connection.local_port),
        )
    }

    /// The same if the client is the server.
    pub(super) fn swapped_ends(&self, connection: &Connection) -> Key {
        self.between(
            (&connection.local, connection.local_port),
            (&connection.remote, connection.remote_port),
        )
    }

    fn between(&self, client: (&Host, Option<u16>), server: (&Host, Option<u16>)) -> Key {
        if let (
            (Host::Address(IpAddr::V4(client)), Some(from)),
            (Host::Address(IpAddr::V4(server)), Some(to)),
        ) = (client, server)
        {
            let ports = u32::from(from) << 16 | u32::from(to);
            return Key([client.to_bits(), server.to_bits(), ports]);
        }
        self.key((client, server))
    }

    /// The client and a sequence number.
    pub(super) fn client(&self, connection: &Connection, sequence: u32) -> Key {
        match (&connection.remote, connection.remote_port) {
            (Host::Address(IpAddr::V4(client)), Some(port)) => {
                Key([client.to_bits(), sequence, u32::from(port)])
            }
            client => self.key((client, sequence)),
        }
    }

    /// Tells the server's address from others.
    pub(super) fn server(&self, connection: &Connection) -> u32 {
        match &connection.local {
            Host::Address(IpAddr::V4(server)) => server.to_bits(),
            server => self.key(server).0[0],
        }
    }

    /// Spreads keys evenly.
    pub(super) fn hash(&self, key: Key) -> u64 {
        self.hashers[0].hash_one(key)
    }

    fn key(&self, value: impl Hash) -> Key {
        let [a, b] = [0, 1].map(|index: usize| self.hashers[index].hash_one(&value));
        Key([a as u32, (a >> 32) as u32, b as u32])
    }
}
