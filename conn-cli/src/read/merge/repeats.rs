//! Recognises SYNs that were sent or recorded more than once.
//!
//! What tells a SYN from the one before it between the same ends is its sequence number. A record without
//! one has the id of the IPv4 header, which tells a packet from others, or only its time.

use std::{
    hash::{BuildHasher as _, Hash, Hasher},
    net::IpAddr,
};

use super::generations::Generations;
use crate::{
    model::{
        clock::Clock,
        connection::{Connection, Host},
    },
    read::{event::PacketId, parse::clock::clock_of},
};

/// How many SYNs are remembered at least, and twice as many at most; it fills a hash table of 2^18 places. This
/// is enough for 1800 SYNs a second within [`RETRY_TIME`].
pub(crate) const MIN_REMEMBERED: usize = (1 << 18) / 8 * 7;

/// The same for SYNs of which copies with another server's address may come. They come at once.
const MIN_COPIED: usize = (1 << 15) / 8 * 7;

/// How long a client sends the same SYN again, in microseconds: with Linux's `tcp_syn_retries` of 6, a SYN is
/// followed by others after 1, 2, 4, .. 32 seconds, and given up 64 seconds after the last. See
/// `Documentation/networking/ip-sysctl.rst`.
const RETRY_TIME: i64 = 127 * Clock::SECOND;

/// The least time after which a SYN without an answer is sent again: `TCP_TIMEOUT_INIT` in the kernel's
/// `include/net/tcp.h`, and RFC 6298, section 2.1.
const MIN_RETRY_TIME: i64 = Clock::SECOND;

type RandomState = foldhash::fast::RandomState;

/// What a record of a SYN shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A new connection.
    New,
    /// The answer to a SYN that was recorded.
    Known,
    /// A packet that another record shows, too.
    Duplicate,
    /// A SYN that was sent before.
    Repeated,
    /// The same, as far as addresses, ports and times tell: the records have no sequence numbers.
    RepeatedByPorts,
}

/// The last connection between two ends.
#[derive(Debug)]
struct Last {
    sequence: Option<u32>,
    /// That of its last SYN.
    ip_id: Option<u16>,
    /// When its first SYN was recorded, or, if it has a sequence number, the last one.
    clock: Option<Clock>,
    ended: Ended,
    /// Whether its SYN was recorded.
    has_syn: bool,
    /// Whether its answer was recorded.
    has_answer: bool,
}

/// Whether a connection has ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    No,
    /// A later record is of another connection. Without a clock, any record is a later one.
    At(Option<Clock>),
}

/// A SYN of which a copy with another server's address may come.
#[derive(Debug)]
struct Copied {
    clock: Option<Clock>,
    ip_id: Option<u16>,
    /// Tells the server's address from others.
    server: u32,
    server_port: Option<u16>,
}

/// Two ends, or a client's end and a sequence number. For IPv4 they are less than 96 bits; everything else is
/// a hash with random seeds, so that collisions cannot be provoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key([u32; 3]);

impl Hash for Key {
    /// Faster than hashing a slice.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c] = self.0;
        state.write_u64(u64::from(a) << 32 | u64::from(b));
        state.write_u32(c);
    }
}

/// Remembers connections.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// By client and server.
    connections: Generations<Key, Last>,
    /// Earlier connections between the same ends, by their sequence numbers.
    earlier: Generations<(Key, u32), Ended>,
    /// By client and sequence number.
    copied: Generations<Key, Copied>,
    hashers: [RandomState; 2],
    /// Whether an answer was recorded: the captured packets are not only those of clients.
    has_answers: bool,
    /// When a generation of connections was full last.
    full: Option<Clock>,
    /// Whether a SYN was forgotten while it could still be sent again.
    is_crowded: bool,
}

impl Default for Repeats {
    fn default() -> Self {
        Self {
            connections: Generations::new(MIN_REMEMBERED),
            earlier: Generations::new(MIN_REMEMBERED),
            copied: Generations::new(MIN_COPIED),
            hashers: Default::default(),
            has_answers: false,
            full: None,
            is_crowded: false,
        }
    }
}

impl Repeats {
    /// What this SYN shows, which is then remembered.
    pub(crate) fn syn(&mut self, connection: &Connection, id: PacketId) -> Shown {
        let Some(key) = self.ends(connection, id) else {
            return Shown::New;
        };
        let clock = clock_of(&connection.time);
        let ip_id = meaningful(id.ip_id);
        let before = self.connections.get_mut(&key);
        let has_before = before.is_some();
        if let Some(last) = before
            && let Some(shown) = last.shown_by(id.sequence, ip_id, clock)
        {
            last.add_syn(id.sequence, ip_id, clock);
            return shown;
        }
        if self.is_earlier(key, id, clock) {
            return Shown::Repeated;
        }
        let is_copy = self.is_copy(connection, id.sequence, ip_id, clock);
        let last = Last {
            sequence: id.sequence,
            ip_id,
            clock,
            ended: Ended::No,
            has_syn: true,
            has_answer: false,
        };
        self.remember(key, last, has_before);
        if is_copy {
            Shown::Duplicate
        } else {
            Shown::New
        }
    }

    /// Whether this answer shows a new connection, whose SYN was not recorded. It is then remembered.
    pub(crate) fn answer(&mut self, connection: &Connection, id: PacketId) -> bool {
        self.has_answers = true;
        let Some(key) = self.ends(connection, id) else {
            return true;
        };
        let clock = clock_of(&connection.time);
        let before = self.connections.get_mut(&key);
        let has_before = before.is_some();
        if let Some(last) = before
            && last.is_answered_by(id.sequence, clock)
        {
            last.has_answer = true;
            last.sequence = last.sequence.or(id.sequence);
            return false;
        }
        if self.is_earlier(key, id, clock) {
            return false;
        }
        let is_copy = self.is_copy(connection, id.sequence, None, clock);
        let last = Last {
            sequence: id.sequence,
            ip_id: None,
            clock,
            ended: Ended::No,
            has_syn: false,
            has_answer: true,
        };
        self.remember(key, last, has_before);
        !is_copy
    }

    /// Whether the SYN that this answers is remembered.
    pub(crate) fn knows(&self, connection: &Connection, id: PacketId) -> bool {
        let Some(key) = self.ends(connection, id) else {
            return false;
        };
        let clock = clock_of(&connection.time);
        let last = self.connections.get(&key);
        last.is_some_and(|last| last.is_answered_by(id.sequence, clock))
            || self.is_earlier(key, id, clock)
    }

    /// A RST or FIN was recorded: it ends what a repeated SYN between these ends repeats.
    pub(crate) fn end(&mut self, connection: &Connection) {
        let (sender, receiver) = (
            (&connection.remote, connection.remote_port),
            (&connection.local, connection.local_port),
        );
        let keys = [self.key(sender, receiver), self.key(receiver, sender)];
        for (key, is_from_server) in keys.into_iter().zip([false, true]) {
            let Some(last) = self.connections.get_mut(&key) else {
                continue;
            };
            // TCP of Windows sends a refused SYN again, half a second after the RST; any TCP does after its own
            // RST, if that was for an older connection that the server still had (RFC 9293, section 3.5.1).
            let is_sent_again = !last.has_answer && (is_from_server || self.has_answers);
            let clock = clock_of(&connection.time).map(|clock| {
                let again = if is_sent_again { MIN_RETRY_TIME } else { 0 };
                clock.plus(again)
            });
            last.end(clock);
        }
    }

    /// Whether a SYN was forgotten while it could still be sent again.
    #[must_use]
    pub(crate) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// Remembers the last connection between its ends; the one before, if there is one, can be recognised by its
    /// number.
    fn remember(&mut self, key: Key, last: Last, has_before: bool) {
        if has_before && let Some(before) = self.connections.get_mut(&key) {
            if let Some(sequence) = before.sequence
                && Some(sequence) != last.sequence
            {
                self.earlier.insert((key, sequence), before.ended);
            }
            *before = last;
            return;
        }
        let clock = last.clock;
        let is_full = self.connections.is_full();
        if self.connections.insert(key, last) {
            let since = clock.zip(self.full).and_then(|(now, full)| now.since(full));
            self.is_crowded |= since.is_some_and(|since| since.abs() < RETRY_TIME);
        }
        if is_full {
            self.full = clock;
        }
    }

    /// Whether this is of a connection before the last one between its ends.
    fn is_earlier(&self, key: Key, id: PacketId, clock: Option<Clock>) -> bool {
        let ended = { id.sequence }.and_then(|sequence| self.earlier.get(&(key, sequence)));
        ended.is_some_and(|ended| !ended.is_before(clock))
    }

    /// Whether this SYN, or the SYN that this answers, was recorded with another address of the server, before
    /// it was translated (DNAT) or after. It is remembered if it is new. An answer has no id of a SYN.
    fn is_copy(
        &mut self,
        connection: &Connection,
        sequence: Option<u32>,
        ip_id: Option<u16>,
        clock: Option<Clock>,
    ) -> bool {
        // Without a number, two packets of a port scanner are as alike.
        let Some(sequence) = sequence else {
            return false;
        };
        let key = self.client(connection, sequence);
        let packet = Copied {
            clock,
            ip_id,
            server: self.server(connection),
            server_port: connection.local_port,
        };
        if let Some(before) = self.copied.get(&key)
            && packet.is_copy_of(before)
        {
            return true;
        }
        self.copied.insert(key, packet);
        false
    }

    /// The key of a connection. None if it is not known well enough to recognise its packets.
    fn ends(&self, connection: &Connection, id: PacketId) -> Option<Key> {
        let is_known =
            |(host, port): (&Host, Option<u16>)| *host != Host::Unknown && port.is_some();
        let client = (&connection.remote, connection.remote_port);
        let server = (&connection.local, connection.local_port);
        let is_known = id.sequence.is_some() || is_known(client) && is_known(server);
        is_known.then(|| self.key(client, server))
    }

    fn key(&self, client: (&Host, Option<u16>), server: (&Host, Option<u16>)) -> Key {
        if let (
            (Host::Address(IpAddr::V4(client)), Some(from)),
            (Host::Address(IpAddr::V4(server)), Some(to)),
        ) = (client, server)
        {
            let ports = u32::from(from) << 16 | u32::from(to);
            return Key([client.to_bits(), server.to_bits(), ports]);
        }
        self.hash((client, server))
    }

    fn client(&self, connection: &Connection, sequence: u32) -> Key {
        match (&connection.remote, connection.remote_port) {
            (Host::Address(IpAddr::V4(client)), Some(port)) => {
                Key([client.to_bits(), sequence, u32::from(port)])
            }
            client => self.hash((client, sequence)),
        }
    }

    fn server(&self, connection: &Connection) -> u32 {
        match &connection.local {
            Host::Address(IpAddr::V4(server)) => server.to_bits(),
            server => self.hash(server).0[0],
        }
    }

    fn hash(&self, value: impl Hash) -> Key {
        let [a, b] = [0, 1].map(|index: usize| self.hashers[index].hash_one(&value));
        Key([a as u32, (a >> 32) as u32, b as u32])
    }
}

impl Last {
    /// What a SYN of these ends shows, if it is of this connection.
    fn shown_by(
        &self,
        sequence: Option<u32>,
        ip_id: Option<u16>,
        clock: Option<Clock>,
    ) -> Option<Shown> {
        if self.ended.is_before(clock) {
            return None;
        }
        let since = clock
            .zip(self.clock)
            .and_then(|(now, then)| now.since(then));
        let is_same_packet = match ip_id.zip(self.ip_id) {
            Some((one, other)) => one == other,
            None => since.is_some_and(|since| since.abs() < MIN_RETRY_TIME),
        };
        let by = match sequence.zip(self.sequence) {
            Some((one, other)) if one != other => return None,
            Some(_) => Shown::Repeated,
            None if since.is_some_and(|since| since.abs() <= RETRY_TIME) => Shown::RepeatedByPorts,
            // Without times, only the id tells.
            None if since.is_none() && is_same_packet => Shown::Duplicate,
            None => return None,
        };
        Some(if is_same_packet { Shown::Duplicate } else { by })
    }

    fn add_syn(&mut self, sequence: Option<u32>, ip_id: Option<u16>, clock: Option<Clock>) {
        self.has_syn = true;
        self.ip_id = ip_id.or(self.ip_id);
        self.sequence = self.sequence.or(sequence);
        let since = clock
            .zip(self.clock)
            .and_then(|(now, then)| now.since(then));
        if sequence.is_some() && since.is_none_or(|since| since > 0) {
            self.clock = clock.or(self.clock);
        }
    }

    /// Whether an answer between these ends is of this connection.
    fn is_answered_by(&self, sequence: Option<u32>, clock: Option<Clock>) -> bool {
        match sequence.zip(self.sequence) {
            Some((one, other)) if one != other => false,
            // If the SYNs are recorded, a late copy of the answer may follow the end of the connection.
            Some(_) if self.has_syn => true,
            _ => !self.ended.is_before(clock),
        }
    }

    fn end(&mut self, clock: Option<Clock>) {
        // Of several inputs with the same connections, this may be the end of an earlier one.
        let is_later = |than: Option<Clock>| {
            let since = clock.zip(than).and_then(|(now, then)| now.since(then));
            since.is_none_or(|since| since >= 0)
        };
        let is_last = match self.ended {
            Ended::No => is_later(self.clock),
            Ended::At(before) => is_later(before),
        };
        if is_last {
            self.ended = Ended::At(clock);
        }
    }
}

impl Ended {
    /// Whether a record with this clock is of another connection.
    fn is_before(self, clock: Option<Clock>) -> bool {
        match self {
            Self::No => false,
            Self::At(ended) => {
                let since = clock.zip(ended).and_then(|(now, ended)| now.since(ended));
                since.is_none_or(|since| since >= 0)
            }
        }
    }
}

impl Copied {
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

/// The id, if it tells a packet from others: a system that never fragments may have 0 in all (RFC 6864).
fn meaningful(ip_id: Option<u16>) -> Option<u16> {
    ip_id.filter(|id| *id != 0)
}
