//! What may make a count wrong.

/// What may make the total wrong. All zero if nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discrepancies {
    /// Whether the count is a lower bound, see [`crate::model::exactness::is_at_least`].
    pub at_least: bool,
    /// Sockets that could not be read.
    pub unreadable: u64,
    /// Packets that may be SYNs and could not be read.
    pub unreadable_packets: u64,
    /// How often the kernel did not run the program that counts. None if the kernel does not count
    /// it.
    pub missed_runs: Option<u64>,
    /// Connections in the total that were neither received nor counted as lost.
    pub unaccounted: u64,
}

impl Discrepancies {
    /// Adds the discrepancies of another run.
    pub fn add(&mut self, other: &Self) {
        self.at_least |= other.at_least;
        self.unreadable = self.unreadable.saturating_add(other.unreadable);
        self.unreadable_packets = self
            .unreadable_packets
            .saturating_add(other.unreadable_packets);
        self.unaccounted = self.unaccounted.saturating_add(other.unaccounted);
        self.missed_runs = match (self.missed_runs, other.missed_runs) {
            (Some(one), Some(another)) => Some(one.saturating_add(another)),
            (one, another) => one.or(another),
        };
    }
}
