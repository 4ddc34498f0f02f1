//! Counts of connections, by address and by port.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Connections for each address.
pub type Counts = BTreeMap<IpAddr, u64>;

/// Connections from each address to each port.
pub type PortCounts = BTreeMap<(IpAddr, u16), u64>;

/// What a server accepted.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    /// Counts a connection; an IPv4 client of an IPv6 listener counts as an IPv4 client.
    pub fn add(&self, address: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(address.to_canonical()).or_default() += 1;
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
