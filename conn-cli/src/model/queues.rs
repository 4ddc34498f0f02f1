//! The accept queues of the listeners, during a run and at its end.

use super::listener::Listener;

/// The accept queues of the listeners at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Each listener with what it has dropped since the start, if the kernel reports it.
    pub listeners: Vec<(Listener, Option<u32>)>,
    /// Listeners that have been closed. What they dropped is in the count of their namespace.
    pub closed: Vec<Listener>,
    /// Whether any listener, also one that began later, has been closed after it was seen to have
    /// dropped packets.
    pub lost_drops: bool,
    /// What all listeners of a namespace have dropped since the start, on any port.
    pub namespaces: Vec<NamespaceDrops>,
    /// The same of all namespaces that are gone, or had no listener for a while.
    pub gone: GoneDrops,
}

/// What was dropped in network namespaces that are not watched any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoneDrops {
    /// How many namespaces in which something was dropped.
    pub namespaces: u64,
    /// As in [`NamespaceDrops`].
    pub overflows: u64,
    /// The same.
    pub drops: u64,
}

impl GoneDrops {
    /// Adds those of one more.
    pub fn add(&mut self, namespace: NamespaceDrops) {
        self.namespaces += u64::from(namespace.drops > 0);
        self.overflows += namespace.overflows;
        self.drops += namespace.drops;
    }
}

/// What was dropped in a network namespace, on any port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceDrops {
    /// The inode number of the network namespace.
    pub netns: u32,
    /// Whether that is the namespace of conn-cli itself.
    pub is_own_netns: bool,
    /// How often the queue of a listener was full (`ListenOverflows`).
    pub overflows: u64,
    /// How often a listener could not take a connection, for this or another reason
    /// (`ListenDrops`).
    pub drops: u64,
    /// The same just before the listeners were queried.
    pub drops_before: u64,
}
