//! When connections came, as records say.

use jiff::Timestamp;

use crate::model::connection::When;

/// The first and the last time of connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// How many have a time.
    connections: u64,
    times: Option<(Timestamp, Timestamp)>,
}

impl Seen {
    /// Adds a connection that came then.
    #[inline]
    pub(crate) fn add(&mut self, time: &When) {
        if let When::At(time) = *time {
            match &mut self.times {
                // Mostly they are in their order.
                Some((_, last)) if time >= *last => *last = time,
                Some((first, _)) if time < *first => *first = time,
                Some(_) => (),
                None => self.times = Some((time, time)),
            }
            self.connections += 1;
        }
    }

    /// Adds connections that follow.
    pub(crate) fn add_all(&mut self, other: &Self) {
        let times = [self.times, other.times];
        let first = times.iter().flatten().map(|(first, _)| *first).min();
        let last = times.iter().flatten().map(|(_, last)| *last).max();
        self.times = first.zip(last);
        self.connections += other.connections;
    }

    /// The first and the last time, if so many have one: those of only a part would be wrong.
    #[must_use]
    pub(crate) fn times_of(&self, connections: u64) -> Option<(Timestamp, Timestamp)> {
        self.times.filter(|_| self.connections == connections)
    }
}
