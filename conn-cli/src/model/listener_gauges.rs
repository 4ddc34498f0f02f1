//! The accept queues of the listeners as of the last look, for whoever reads them while the run goes on.

use std::net::SocketAddr;

use super::listener::Unseen;

/// How many listeners have gauges of their own.
pub const MAX_LISTENERS: usize = 64;

/// The gauges of all listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerGauges {
    /// Those that listen now, the one that was seen first first, at most [`MAX_LISTENERS`]. Each stays as
    /// long as it listens.
    pub listeners: Vec<ListenerGauge>,
    /// The sums of all further ones.
    pub other: QueueGauges,
    /// The packets that all listeners have dropped, also those that are gone. It never goes back.
    pub dropped: u64,
    /// What the last search for network namespaces could not see.
    pub unseen: Unseen,
    /// Whether network namespaces that are made during the run are searched for.
    pub follows_namespaces: bool,
}

/// The sockets that listen at one address: more than one with `SO_REUSEPORT`, or one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerGauge {
    /// Where they listen.
    pub address: SocketAddr,
    /// The inode number of their network namespace.
    pub netns: u32,
    /// Whether that is the namespace of conn-cli itself.
    pub is_own_netns: bool,
    /// Their sums.
    pub queues: QueueGauges,
}

/// The sums of some listening sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueGauges {
    /// How many there are now.
    pub sockets: u64,
    /// How many established connections wait to be accepted.
    pub length: u64,
    /// How many may, not counting the one more for each that the kernel lets wait.
    pub limit: u64,
    /// The packets that they have dropped since they were seen first. It never goes back while they have
    /// gauges of their own.
    pub dropped: u64,
}
