//! The listeners on the watched ports in every network namespace, how many connections wait there
//! to be accepted, and how many the kernel had to drop.
//!
//! Searching for listeners needs privileges, querying the kernel again does not. Call
//! [`Survey::begin`] and [`Survey::find_owners`] before dropping privileges, the rest at any time.

mod counters;
mod diag;
mod namespace;
mod owner;
mod queues;

use std::io;

use anyhow::Context as _;

pub use self::namespace::Unseen;
use self::{diag::Listening, namespace::Namespace};
pub use crate::model::{
    listener::{Listener, Owner},
    queues::Queues,
};
use crate::model::{ports::PortSet, queues::NamespaceDrops};

/// The listeners on some ports at the start, and the means to query them again.
///
/// It keeps two descriptors open for conn-cli's own network namespace, and two for each other one
/// that had a listener on the ports. Such a namespace lives as long as this, even if its last
/// process exits.
#[derive(Debug)]
pub struct Survey {
    ports: PortSet,
    namespaces: Vec<Namespace>,
    at_start: Vec<Listener>,
    unseen: Unseen,
}

impl Survey {
    /// Searches every network namespace that some process is in, by its first thread, or only the
    /// one with this inode number.
    ///
    /// Other namespaces need `CAP_SYS_ADMIN`, and other users' processes `CAP_SYS_PTRACE`, here
    /// and in [`Survey::find_owners`]. Without these, the result is incomplete, and
    /// [`Survey::unseen`] counts what is missing. The calling thread stays in its namespace.
    ///
    /// # Errors
    /// If not a single namespace could be searched.
    pub fn begin(ports: &PortSet, netns: Option<u32>) -> anyhow::Result<Self> {
        let visited = namespace::visit(ports, netns).context("cannot list listening sockets")?;
        let mut at_start = Vec::new();
        let mut namespaces = Vec::new();
        for (namespace, found) in visited.namespaces {
            at_start.extend(found.into_iter().map(|found| listener(&namespace, found)));
            namespaces.push(namespace);
        }
        at_start.sort_by_key(Listener::order);
        Ok(Self {
            ports: ports.clone(),
            namespaces,
            at_start,
            unseen: visited.unseen,
        })
    }

    /// Searches the open files of all processes for the owners of the listeners. This is the
    /// slowest step.
    pub fn find_owners(&mut self) {
        let denied = owner::find(&mut self.at_start);
        // A process with unreadable descriptors has an unreadable namespace, too.
        self.unseen.processes = self.unseen.processes.max(denied);
    }

    /// The listeners at the start, by port and address. They have no owners before
    /// [`Survey::find_owners`].
    #[must_use]
    pub fn at_start(&self) -> &[Listener] {
        &self.at_start
    }

    /// What could not be searched.
    #[must_use]
    pub fn unseen(&self) -> Unseen {
        self.unseen
    }

    /// Queries the namespaces that had a listener at the start, and conn-cli's own, again, without
    /// any privilege. The owners and their details are those at the start; a newer listener has
    /// none.
    ///
    /// # Errors
    /// If a query fails.
    pub fn now(&mut self) -> io::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        for namespace in &mut self.namespaces {
            for found in namespace.diag.listening(&self.ports)? {
                let mut listener = listener(namespace, found);
                if let Some(before) = find_same(&self.at_start, &listener) {
                    listener.owners.clone_from(&before.owners);
                }
                listeners.push(listener);
            }
        }
        listeners.sort_by_key(Listener::order);
        Ok(listeners)
    }

    /// What a listener has dropped since the start, or since it was created if that is later. See
    /// [`Listener::drops`].
    #[must_use]
    pub fn dropped(&self, listener: &Listener) -> Option<u32> {
        let drops = listener.drops?;
        match find_same(&self.at_start, listener) {
            // The kernel's counter wraps around, too.
            Some(before) => Some(drops.wrapping_sub(before.drops?)),
            None => Some(drops),
        }
    }

    /// What was dropped in each namespace since the start, on any port. Needs no privileges. A
    /// namespace whose counters cannot be read is left out.
    #[must_use]
    pub fn namespace_drops(&self) -> Vec<NamespaceDrops> {
        let drops = |namespace: &Namespace| {
            let growth = namespace.counters.as_ref()?.growth()?;
            Some(NamespaceDrops {
                netns: namespace.inode,
                is_own_netns: namespace.is_own,
                overflows: growth.overflows,
                drops: growth.drops,
            })
        };
        self.namespaces.iter().filter_map(drops).collect()
    }
}

fn listener(namespace: &Namespace, found: Listening) -> Listener {
    Listener {
        address: found.address,
        netns: namespace.inode,
        is_own_netns: namespace.is_own,
        inode: found.inode,
        cookie: found.cookie,
        waiting: found.waiting,
        limit: found.limit,
        drops: found.drops,
        owners: Vec::new(),
    }
}

/// The same listener as it was at the start.
fn find_same<'a>(at_start: &'a [Listener], listener: &Listener) -> Option<&'a Listener> {
    at_start.iter().find(|before| before.is_same(listener))
}
