//! Recognises SYNs that were sent or recorded more than once.
//!
//! What tells a SYN from the one before it between the same ends is its sequence number. A record without
//! one has the id of the IPv4 header, which tells a packet from others, or only its time.

use std::collections::hash_map::Entry;

use super::{
    copies::Copies,
    generations::Generations,
    keys::{Key, Keys},
};
use crate::{
    model::{
        clock::Clock,
        connection::{Connection, Host},
        read_stats::ReadStats,
    },
    read::{event::PacketId, parse::clock::clock_of},
};

/// How many SYNs are remembered at least, and twice as many at most; it fills a hash table of 2^18 places. This
/// is enough for 1800 SYNs a second within [`RETRY_TIME`].
pub(crate) const MIN_REMEMBERED: usize = (1 << 18) / 8 * 7;

/// How long a client sends the same SYN again, in microseconds: with Linux's `tcp_syn_retries` of 6, a SYN is
/// followed by others after 1, 2, 4, .. 32 seconds, and given up 64 seconds after the last. See
/// `Documentation/networking/ip-sysctl.rst`.
const RETRY_TIME: i64 = 127 * Clock::SECOND;

/// The least time after which a SYN without an answer is sent again: `TCP_TIMEOUT_INIT` in the kernel's
/// `include/net/tcp.h`, and RFC 6298, section 2.1.
const MIN_RETRY_TIME: i64 = Clock::SECOND;

/// What a record of a SYN or its answer shows.
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

impl Shown {
    /// Adds a SYN that does not count.
    pub(crate) fn add_to(self, stats: &mut ReadStats) {
        match self {
            Self::New | Self::Known => (),
            Self::Duplicate => stats.duplicates += 1,
            Self::Repeated => stats.repeated += 1,
            Self::RepeatedByPorts => {
                stats.repeated += 1;
                stats.repeated_by_ports += 1;
            }
        }
    }
}

/// The last connection between two ends.
#[derive(Debug)]
struct Last {
    sequence: Option<u32>,
    /// That of its last SYN.
    ip_id: Option<u16>,
    /// When its first SYN was recorded, or, if it has a sequence number, the last one.
    clock: Option<Clock>,
    /// When it ended: a later record is of another connection.
    ended: Option<Clock>,
    /// Whether its SYN was recorded.
    has_syn: bool,
    /// Whether its answer was recorded.
    has_answer: bool,
}

/// Remembers connections.
#[derive(Debug)]
pub(crate) struct Repeats {
    keys: Keys,
    /// By client and server.
    connections: Generations<Key, Last>,
    /// When earlier connections between the same ends ended, by their sequence numbers.
    earlier: Generations<(Key, u32), Option<Clock>>,
    copies: Copies,
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
            keys: Keys::default(),
            connections: Generations::new(MIN_REMEMBERED),
            earlier: Generations::new(MIN_REMEMBERED),
            copies: Copies::default(),
            has_answers: false,
            full: None,
            is_crowded: false,
        }
    }
}

impl Repeats {
    /// What this SYN shows, which is then remembered.
    pub(crate) fn syn(&mut self, connection: &Connection, id: PacketId) -> Shown {
        let ip_id = meaningful(id.ip_id);
        let last = Last::new(connection, id.sequence, ip_id, true);
        self.packet(connection, last)
    }

    /// Whether this answer shows a new connection, whose SYN was not recorded. It is then remembered.
    pub(crate) fn answer(&mut self, connection: &Connection, id: PacketId) -> Shown {
        self.has_answers = true;
        // The id is that of another packet.
        let last = Last::new(connection, id.sequence, None, false);
        self.packet(connection, last)
    }

    fn packet(&mut self, connection: &Connection, new: Last) -> Shown {
        if !is_recognisable(connection, new.sequence) {
            return Shown::New;
        }
        if self.connections.is_full() {
            self.make_room(new.clock);
        }
        let key = self.keys.ends(connection);
        let mut entry = self.connections.entry(key);
        if let Entry::Occupied(entry) = &mut entry
            && let Some(shown) = entry.get().shown_by(&new)
        {
            entry.get_mut().add(&new);
            return shown;
        }
        let mut is_copy = false;
        if let Some(sequence) = new.sequence {
            if matches!(entry, Entry::Occupied(_))
                && is_earlier(&self.earlier, key, sequence, new.clock)
            {
                return if new.has_syn {
                    Shown::Repeated
                } else {
                    Shown::Known
                };
            }
            // Without a number, two packets of a port scanner are as alike as two copies.
            let copies = &mut self.copies;
            is_copy = copies.has(&self.keys, connection, sequence, new.ip_id, new.clock);
        }
        let shown = match (is_copy, new.has_syn) {
            (false, _) => Shown::New,
            (true, true) => Shown::Duplicate,
            (true, false) => Shown::Known,
        };
        match entry {
            Entry::Vacant(entry) => {
                entry.insert(new);
            }
            Entry::Occupied(mut entry) => {
                let before = std::mem::replace(entry.get_mut(), new);
                if let Some(sequence) = before.sequence {
                    self.earlier.make_room();
                    *self.earlier.entry((key, sequence)).or_default() = before.ended;
                }
            }
        }
        shown
    }

    /// Whether the SYN that this answers is remembered.
    pub(crate) fn knows(&self, connection: &Connection, id: PacketId) -> bool {
        if !is_recognisable(connection, id.sequence) {
            return false;
        }
        let key = self.keys.ends(connection);
        let clock = clock_of(&connection.time);
        let is_last = |last: &Last| last.is_answered_by(id.sequence, clock);
        self.connections.get(&key).is_some_and(is_last) || { id.sequence }
            .is_some_and(|sequence| is_earlier(&self.earlier, key, sequence, clock))
    }

    /// A RST or FIN was recorded: it ends what a repeated SYN between these ends repeats.
    pub(crate) fn end(&mut self, connection: &Connection) {
        let key = self.keys.ends(connection);
        let is_from_server = self.connections.get(&key).is_none();
        let key = if is_from_server {
            self.keys.swapped_ends(connection)
        } else {
            key
        };
        let Some(last) = self.connections.get_mut(&key) else {
            return;
        };
        // TCP of Windows sends a refused SYN again, half a second after the RST; any TCP does after its own
        // RST, if that was for an older connection that the server still had (RFC 9293, section 3.5.1).
        let is_sent_again = !last.has_answer && (is_from_server || self.has_answers);
        let again = if is_sent_again { MIN_RETRY_TIME } else { 0 };
        let clock = clock_of(&connection.time);
        // Any record is later than an end whose time is not known.
        last.end(clock.map_or(Clock::UNKNOWN, |clock| clock.plus(again)));
    }

    /// Whether a SYN was forgotten while it could still be sent again.
    #[must_use]
    pub(crate) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    #[cold]
    fn make_room(&mut self, now: Option<Clock>) {
        if self.connections.make_room() {
            let since = since(now, self.full);
            self.is_crowded |= since.is_some_and(|since| since.abs() < RETRY_TIME);
        }
        self.full = now;
    }
}

impl Last {
    fn new(
        connection: &Connection,
        sequence: Option<u32>,
        ip_id: Option<u16>,
        is_syn: bool,
    ) -> Self {
        Self {
            sequence,
            ip_id,
            clock: clock_of(&connection.time),
            ended: None,
            has_syn: is_syn,
            has_answer: !is_syn,
        }
    }

    /// What a packet of these ends shows, if it is of this connection.
    fn shown_by(&self, new: &Self) -> Option<Shown> {
        if !new.has_syn {
            let is_answer = self.is_answered_by(new.sequence, new.clock);
            return is_answer.then_some(Shown::Known);
        }
        if is_over(self.ended, new.clock) {
            return None;
        }
        let since = since(new.clock, self.clock);
        let is_same_packet = match new.ip_id.zip(self.ip_id) {
            Some((one, other)) => one == other,
            None => since.is_some_and(|since| since.abs() < MIN_RETRY_TIME),
        };
        let shown = match new.sequence.zip(self.sequence) {
            Some((one, other)) if one != other => return None,
            Some(_) => Shown::Repeated,
            None => match since {
                Some(since) if since.abs() <= RETRY_TIME => Shown::RepeatedByPorts,
                // Without times, only the id tells.
                None if is_same_packet => Shown::Duplicate,
                _ => return None,
            },
        };
        Some(if is_same_packet {
            Shown::Duplicate
        } else {
            shown
        })
    }

    /// Notes another packet of this connection.
    fn add(&mut self, new: &Self) {
        self.sequence = self.sequence.or(new.sequence);
        self.ip_id = new.ip_id.or(self.ip_id);
        self.has_syn |= new.has_syn;
        self.has_answer |= new.has_answer;
        if new.has_syn && new.sequence.is_some() && is_later(new.clock, self.clock) {
            self.clock = new.clock.or(self.clock);
        }
    }

    /// Whether an answer between these ends is of this connection.
    fn is_answered_by(&self, sequence: Option<u32>, clock: Option<Clock>) -> bool {
        match sequence.zip(self.sequence) {
            Some((one, other)) if one != other => false,
            // If the SYNs are recorded, a late copy of the answer may follow the end of the connection.
            Some(_) if self.has_syn => true,
            _ => !is_over(self.ended, clock),
        }
    }

    fn end(&mut self, ended: Clock) {
        // Of several inputs with the same connections, this may be the end of an earlier one.
        if is_later(Some(ended), self.ended.or(self.clock)) {
            self.ended = Some(ended);
        }
    }
}

/// How many microseconds after `then` a record is.
fn since(now: Option<Clock>, then: Option<Clock>) -> Option<i64> {
    now?.since(then?)
}

/// Whether a record is not before another one, as far as is known.
fn is_later(now: Option<Clock>, then: Option<Clock>) -> bool {
    since(now, then).is_none_or(|since| since >= 0)
}

/// Whether a record is of another connection than the one that ended then.
fn is_over(ended: Option<Clock>, clock: Option<Clock>) -> bool {
    ended.is_some() && is_later(clock, ended)
}

/// Whether a packet is of a connection before the last one between its ends.
fn is_earlier(
    earlier: &Generations<(Key, u32), Option<Clock>>,
    key: Key,
    sequence: u32,
    clock: Option<Clock>,
) -> bool {
    let ended = earlier.get(&(key, sequence));
    ended.is_some_and(|ended| !is_over(*ended, clock))
}

/// Whether the ends are known well enough to recognise other packets of the connection.
fn is_recognisable(connection: &Connection, sequence: Option<u32>) -> bool {
    let is_known = |host: &Host, port: Option<u16>| *host != Host::Unknown && port.is_some();
    sequence.is_some()
        || is_known(&connection.remote, connection.remote_port)
            && is_known(&connection.local, connection.local_port)
}

/// The id, if it tells a packet from others: a system that never fragments may have 0 in all (RFC 6864).
fn meaningful(ip_id: Option<u16>) -> Option<u16> {
    ip_id.filter(|id| *id != 0)
}
