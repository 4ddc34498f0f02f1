//! What is counted in one interval, so that its row is made at once when it ends: the connections that come
//! meanwhile wait.

use crate::{
    count::tally::{Tally, add},
    model::{connection::Host, group::GroupKey},
};

/// The counts of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct RowCounts {
    /// The connections of known clients.
    clients: Tally,
    /// All connections; and of these those whose client is unknown, and those of which only the number is
    /// known.
    connections: u64,
    unknown: u64,
    lost: u64,
    busiest: Option<(Host, u64)>,
}

impl RowCounts {
    /// Adds connections of a client.
    pub(super) fn add(&mut self, client: &Host, connections: u64) {
        add(&mut self.connections, connections);
        if *client == Host::Unknown {
            return add(&mut self.unknown, connections);
        }
        let counted = self.clients.count(client, None, connections);
        match &mut self.busiest {
            Some((_, most)) if counted < *most => (),
            Some((busiest, most)) if busiest == client => *most = counted,
            Some((busiest, most)) if counted == *most && *busiest < *client => (),
            busiest => *busiest = Some((client.clone(), counted)),
        }
    }

    /// Adds connections of which only the number is known.
    pub(super) fn add_lost(&mut self, connections: u64) {
        add(&mut self.connections, connections);
        add(&mut self.lost, connections);
    }

    /// Adds what another one has counted, and clears that.
    pub(super) fn take(&mut self, other: &mut Self) {
        for ((key, _), connections) in other.clients.each() {
            if let GroupKey::Client(client) = key {
                self.add(&client, connections);
            }
        }
        self.add(&Host::Unknown, other.unknown);
        self.add_lost(other.lost);
        other.clear();
    }

    /// Forgets everything, but keeps the memory for the next interval.
    pub(super) fn clear(&mut self) {
        self.clients.clear();
        (self.connections, self.unknown, self.lost) = (0, 0, 0);
        self.busiest = None;
    }

    /// All connections.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    /// Those of which only the number is known.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// The number of different known clients.
    pub(super) fn addresses(&self) -> usize {
        self.clients.pairs().iter().sum()
    }

    /// The client with the most connections, and their number; the smallest address of several.
    pub(super) fn busiest(&self) -> Option<(Host, u64)> {
        self.busiest.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client of each kind, of few different ones.
    fn client(number: u32) -> Host {
        match number % 4 {
            0 => Host::at([10, 0, 0, (number / 4 % 9) as u8]),
            1 => Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, (number / 4 % 9) as u16]),
            2 => Host::named(format!("host-{}", number / 4 % 9).as_bytes()).unwrap(),
            _ => Host::Unknown,
        }
    }

    #[test]
    fn the_row_is_that_of_a_ranking() {
        let mut random = 1_u32;
        for size in [1, 2, 5, 20, 200] {
            for _ in 0..50 {
                let (mut row, mut late) = (RowCounts::default(), RowCounts::default());
                // What it was used for before does not matter.
                row.add(&client(0), 1000);
                row.add_lost(1);
                row.clear();
                let mut tally = Tally::default();
                for _ in 0..size {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let client = client(random >> 8);
                    tally.add(&client, None, 1);
                    let counts = if random >> 31 == 0 {
                        &mut row
                    } else {
                        &mut late
                    };
                    counts.add(&client, 1);
                }
                late.add_lost(3);
                row.take(&mut late);
                assert_eq!((row.connections(), row.lost()), (size + 3, 3));
                let mut ranking = tally.ranked();
                ranking.remove(&GroupKey::Client(Host::Unknown));
                assert_eq!(row.addresses(), ranking.len());
                let busiest = ranking.counts().next().map(|(key, connections)| match key {
                    GroupKey::Client(host) => (host, connections),
                    _ => panic!("{key} is no client"),
                });
                assert_eq!(row.busiest(), busiest);
                assert_eq!(
                    (late.connections(), late.addresses(), late.busiest()),
                    (0, 0, None)
                );
            }
        }
    }
}
