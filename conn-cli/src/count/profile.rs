//! Details of each client besides its count, from the connections that were reported individually.
//! Connections without a line are missing here, and only here.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use jiff::Timestamp;

use super::tally::Room;
use crate::model::{
    connection::Connection,
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
    /// The current second, and the connections in it.
    second: i64,
    in_second: u64,
}

/// The bytes that a client takes at most: while a table with spare entries gets twice as large.
const BYTES: usize = 4 * size_of::<(GroupKey, Profile)>();

/// The profiles of clients.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    profiles: HashMap<GroupKey, Profile, foldhash::fast::RandomState>,
    /// The most clients with a profile, if there is a limit: a flood can come from any number of clients.
    most: Option<usize>,
    /// Whether there were more clients than have one.
    lacks_clients: bool,
}

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
        let key = by.key(connection);
        let is_full = self.most.is_some_and(|most| self.profiles.len() >= most);
        match self.profiles.entry(key) {
            Entry::Occupied(profile) => profile.into_mut().add(connection),
            Entry::Vacant(_) if is_full => self.lacks_clients = true,
            Entry::Vacant(none) => none.insert(Profile::default()).add(connection),
        }
    }

    /// All profiles, in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// How many clients have a profile, if there were more.
    pub(crate) fn of_first(&self) -> Option<usize> {
        self.lacks_clients.then_some(self.profiles.len())
    }

    /// The profile of one client.
    #[must_use]
    pub fn get(&self, key: &GroupKey) -> Profile {
        self.profiles.get(key).cloned().unwrap_or_default()
    }
}

impl Profile {
    /// The mean of the waits.
    #[must_use]
    pub fn mean_wait(&self) -> Option<Duration> {
        let (known, sum) = self.waits;
        sum.checked_div(known)
    }

    fn add(&mut self, connection: &Connection) {
        if let Some(time) = connection.time.timestamp() {
            let (first, last) = self.seen.unwrap_or((time, time));
            self.seen = Some((first.min(time), last.max(time)));
            if self.second != time.as_second() {
                self.second = time.as_second();
                self.in_second = 0;
            }
            self.in_second += 1;
            self.peak = self.peak.max(self.in_second);
        }
        if let Some(wait) = connection.wait {
            let (known, sum) = self.waits;
            self.waits = (known.saturating_add(1), sum.saturating_add(wait));
            self.longest_wait = self.longest_wait.max(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::connection::{Host, Source, When};
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
