//! Details of each client besides its count, from the connections that were reported individually.
//! Connections without a line are missing here, and only here.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
    time::Duration,
};

use jiff::Timestamp;

use super::tally::Room;
use crate::model::{
    connection::{Connection, Host},
    group::{GroupKey, Grouping},
};

/// When a client connected, and how long it waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The times of its first and its last connection, if known.
    pub seen: Option<(Timestamp, Timestamp)>,
    /// The most connections in one second of the clock.
    pub peak: u64,
    /// How many waits are known, and their sum.
    pub waits: (u32, Duration),
    /// The longest wait.
    pub longest_wait: Duration,
}

/// The profiles of clients.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    /// Those of IPv4 clients, which are nearly all. Apart, since other keys take several times as much.
    ipv4: Map<u32>,
    others: Map<GroupKey>,
    /// The most clients with a profile, if there is a limit: a flood can come from any number of clients.
    most: Option<usize>,
    /// Whether there were more clients than have one.
    lacks_clients: bool,
}

type Map<K> = HashMap<K, Known, foldhash::fast::RandomState>;

/// What is known of a client, in as little memory as possible.
#[derive(Clone, Debug, Default)]
struct Known {
    seen: Option<Box<Seen>>,
    waits: Option<Box<Waits>>,
}

/// When it connected.
#[derive(Clone, Debug)]
struct Seen {
    first: Timestamp,
    last: Timestamp,
    /// The current second.
    second: i64,
    /// The connections in it, and the most in any.
    in_second: u32,
    peak: u32,
}

/// How long it waited.
#[derive(Clone, Debug, Default)]
struct Waits {
    number: u32,
    sum: Duration,
    longest: Duration,
}

/// The bytes that a client takes at most: while a table with spare entries gets twice as large.
const BYTES: usize = 4 * size_of::<(GroupKey, Known)>() + size_of::<Seen>() + size_of::<Waits>();

impl Profiles {
    /// Empty, with this room.
    #[must_use]
    pub(crate) fn within(room: Option<Room>) -> Self {
        let most = room.map(|room| match room {
            Room::Clients(most) => most,
            Room::Memory(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX) / BYTES,
        });
        Self {
            most,
            ..Self::default()
        }
    }

    /// Adds a connection. If connections are not in the order of their times, a peak may be missed.
    pub fn add(&mut self, by: Grouping, connection: &Connection) {
        let clients = self.clients();
        let is_full = self.most.is_some_and(|most| clients >= most);
        let known = match by.key(connection) {
            GroupKey::Client(Host::Address(IpAddr::V4(client))) => {
                entry(&mut self.ipv4, client.to_bits(), is_full)
            }
            key => entry(&mut self.others, key, is_full),
        };
        match known {
            Some(known) => known.add(connection),
            None => self.lacks_clients = true,
        }
    }

    /// All profiles, in any order.
    pub fn iter(&self) -> impl Iterator<Item = Profile> {
        let all = self.ipv4.values().chain(self.others.values());
        all.map(Known::profile)
    }

    fn clients(&self) -> usize {
        self.ipv4.len() + self.others.len()
    }

    /// How many clients have a profile, if there were more.
    pub(crate) fn of_first(&self) -> Option<usize> {
        self.lacks_clients.then_some(self.clients())
    }

    /// The profile of one client.
    #[must_use]
    pub fn get(&self, key: &GroupKey) -> Profile {
        let known = match key {
            GroupKey::Client(Host::Address(IpAddr::V4(client))) => self.ipv4.get(&client.to_bits()),
            key => self.others.get(key),
        };
        known.map(Known::profile).unwrap_or_default()
    }
}

/// What is known of this client; None of one that has no room.
fn entry<K: Eq + Hash>(map: &mut Map<K>, key: K, is_full: bool) -> Option<&mut Known> {
    match map.entry(key) {
        Entry::Occupied(known) => Some(known.into_mut()),
        Entry::Vacant(_) if is_full => None,
        Entry::Vacant(none) => Some(none.insert(Known::default())),
    }
}

impl Known {
    fn add(&mut self, connection: &Connection) {
        if let Some(time) = connection.time.timestamp() {
            let seen = self.seen.get_or_insert_with(|| Box::new(Seen::begin(time)));
            seen.add(time);
        }
        if let Some(wait) = connection.wait {
            self.waits.get_or_insert_default().add(wait);
        }
    }

    fn profile(&self) -> Profile {
        let mut profile = Profile::default();
        if let Some(seen) = &self.seen {
            profile.seen = Some((seen.first, seen.last));
            profile.peak = seen.peak.into();
        }
        if let Some(waits) = &self.waits {
            profile.waits = (waits.number, waits.sum);
            profile.longest_wait = waits.longest;
        }
        profile
    }
}

impl Seen {
    fn begin(time: Timestamp) -> Self {
        Self {
            first: time,
            last: time,
            second: time.as_second(),
            in_second: 0,
            peak: 0,
        }
    }

    fn add(&mut self, time: Timestamp) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        if self.second != time.as_second() {
            self.second = time.as_second();
            self.in_second = 0;
        }
        self.in_second = self.in_second.saturating_add(1);
        self.peak = self.peak.max(self.in_second);
    }
}

impl Waits {
    fn add(&mut self, wait: Duration) {
        self.number = self.number.saturating_add(1);
        self.sum = self.sum.saturating_add(wait);
        self.longest = self.longest.max(wait);
    }
}

impl Profile {
    /// The mean of the waits.
    #[must_use]
    pub fn mean_wait(&self) -> Option<Duration> {
        let (known, sum) = self.waits;
        sum.checked_div(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::connection::{Source, When};
    use crate::model::group::GroupBy;
    use crate::model::hook::Hook;

    fn connection(at_ms: i64, wait_ms: Option<u64>) -> Connection {
        Connection {
            time: When::At(Timestamp::from_millisecond(at_ms).unwrap()),
            remote: Host::at([192, 0, 2, 1]),
            wait: wait_ms.map(Duration::from_millis),
            ..Connection::unknown(Source::Hook(Hook::Fentry))
        }
    }

    #[test]
    fn profile_has_peak_times_and_waits() {
        let mut profiles = Profiles::default();
        for (at, wait) in [
            (1000, Some(10)),
            (1900, None),
            (1999, Some(50)),
            (2000, None),
            (5000, None),
        ] {
            profiles.add(Grouping::default(), &connection(at, wait));
        }
        let profile = profiles.get(&GroupKey::Client(Host::at([192, 0, 2, 1])));
        assert_eq!(profile.peak, 3);
        let (first, last) = profile.seen.unwrap();
        assert_eq!((first.as_second(), last.as_second()), (1, 5));
        assert_eq!(profile.mean_wait(), Some(Duration::from_millis(30)));
        assert_eq!(profile.longest_wait, Duration::from_millis(50));
        let unknown = profiles.get(&GroupKey::Client(Host::Unknown));
        assert_eq!((unknown.seen, unknown.mean_wait()), (None, None));
    }

    #[test]
    fn so_many_clients_have_a_profile() {
        const MOST: usize = 100;
        let mut profiles = Profiles::within(Some(Room::Clients(MOST)));
        let mut connection = connection(1000, None);
        let by = GroupBy::Address.into();
        for client in 0..MOST as u32 {
            connection.remote = Host::at(std::net::Ipv4Addr::from(client));
            profiles.add(by, &connection);
        }
        assert_eq!(profiles.of_first(), None);
        profiles.add(by, &connection);
        assert_eq!(profiles.of_first(), None);
        let last = profiles.get(&GroupKey::Client(connection.remote));
        assert_eq!(last.peak, 2);
        connection.remote = Host::at([203, 0, 113, 1]);
        profiles.add(by, &connection);
        assert_eq!(profiles.of_first(), Some(MOST));
        assert_eq!(profiles.iter().count(), MOST);
    }
}
