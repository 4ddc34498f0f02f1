//! Recognises a SYN that was recorded before and after the server's address was translated (DNAT).

use super::keys::{Key, Keys};
use crate::model::{clock::Clock, connection::Connection};

/// Copies come within a millisecond or so, so few SYNs must be remembered.
const SETS: usize = 1 << 11;

/// How many of them may have the same hash.
const WAYS: usize = 4;

/// The last SYNs.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Empty before the first one.
    sets: Vec<[Option<Packet>; WAYS]>,
}

/// A SYN, or one that an answer shows.
#[derive(Clone, Copy, Debug)]
struct Packet {
    /// The client and the sequence number.
    key: Key,
    clock: Option<Clock>,
    ip_id: Option<u16>,
    server: u32,
    server_port: Option<u16>,
}

impl Copies {
    /// Whether this SYN was recorded before with another end of the server. It is remembered if not.
    pub(super) fn has(
        &mut self,
        keys: &Keys,
        connection: &Connection,
        sequence: u32,
        ip_id: Option<u16>,
        clock: Option<Clock>,
    ) -> bool {
        let packet = Packet {
            key: keys.client(connection, sequence),
            clock,
            ip_id,
            server: keys.server(connection),
            server_port: connection.local_port,
        };
        if self.sets.is_empty() {
            self.sets = vec![[None; WAYS]; SETS];
        }
        let set = &mut self.sets[keys.hash(packet.key) as usize % SETS];
        let mut before = set
            .iter()
            .flatten()
            .filter(|before| before.key == packet.key);
        if before.any(|before| packet.is_copy_of(before)) {
            return true;
        }
        set.rotate_right(1);
        set[0] = Some(packet);
        false
    }
}

impl Packet {
    /// Whether this is the packet `before`, sent to another end of the server. A port scanner may use a port and a
    /// sequence number for several servers and their ports, but not the same id as well.
    fn is_copy_of(&self, before: &Self) -> bool {
        let is_other_server = self.server != before.server;
        if !is_other_server && self.server_port == before.server_port {
            return false;
        }
        let since = self.clock.zip(before.clock);
        let since = since.and_then(|(now, then)| now.since(then));
        match (self.ip_id.zip(before.ip_id), since) {
            (Some((one, other)), _) if one != other => false,
            (Some(_), None) => true,
            (None, None) => false,
            (ids, Some(since)) => since.abs() < Clock::SECOND && (ids.is_some() || is_other_server),
        }
    }
}
