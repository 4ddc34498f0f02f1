//! GroupKey listens on the watched ports, in every network namespace, how many connections wait
//! there to be accepted, and how many the kernel had to drop.
//!
//! Looking for servers needs privileges, asking the kernel again does not: [`Survey::begin`] and
//! [`Survey::find_owners`] are for before they are given up, the rest for any time after.

mod counters;
mod diag;
mod listener;
mod namespace;
mod owner;
mod queues;

use std::io;

use anyhow::Context as _;

pub use self::{
    counters::NamespaceDrops,
    listener::{Listener, Owner},
    namespace::Unseen,
    queues::Queues,
};
use self::{diag::Listening, namespace::Namespace};
use crate::ports::PortSet;

/// What listened on some ports when it was begun, and the means to ask again.
///
/// It keeps two descriptors open for our own network namespace, and two for each other that
/// had a listener on the ports. Such a namespace exists for as long as this does, even if
/// its last process ends.
#[derive(Debug)]
pub struct Survey {
    ports: PortSet,
    namespaces: Vec<Namespace>,
    at_start: Vec<Listener>,
    unseen: Unseen,
}

impl Survey {
    /// Looks into every network namespace that some process is in, by its first thread, or
    /// only into the one with this inode number.
    ///
    /// Other namespaces need `CAP_SYS_ADMIN`, and other users' processes `CAP_SYS_PTRACE`, here
    /// and in [`Survey::find_owners`]: without, what may be found is, and [`Survey::unseen`] says
    /// what is missing. The thread that calls this stays in its namespace.
    ///
    /// # Errors
    /// Why not even one namespace could be looked into.
    pub fn begin(ports: &PortSet, netns: Option<u32>) -> anyhow::Result<Self> {
        let visited =
            namespace::visit(ports, netns).context("cannot ask the kernel who listens")?;
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

    /// Looks for the owners of the listeners, in the open files of all processes: that takes
    /// longest.
    pub fn find_owners(&mut self) {
        let denied = owner::find(&mut self.at_start);
        // Whoever hides the descriptors of a process hides its namespace, too.
        self.unseen.processes = self.unseen.processes.max(denied);
    }

    /// The listeners of the beginning, by port and address; without owners until these are
    /// looked for.
    #[must_use]
    pub fn at_start(&self) -> &[Listener] {
        &self.at_start
    }

    /// What could not be looked into.
    #[must_use]
    pub fn unseen(&self) -> Unseen {
        self.unseen
    }

    /// Asks again, without any privilege, in the namespaces that had a listener at the
    /// beginning and in our own. The owners are those of the beginning, as is what is said
    /// of them; a listener that has come since has none.
    ///
    /// # Errors
    /// The system's.
    pub fn now(&mut self) -> io::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        for namespace in &mut self.namespaces {
            for found in namespace.diag.listening(&self.ports)? {
                let mut listener = listener(namespace, found);
                if let Some(before) = before(&self.at_start, &listener) {
                    listener.owners.clone_from(&before.owners);
                }
                listeners.push(listener);
            }
        }
        listeners.sort_by_key(Listener::order);
        Ok(listeners)
    }

    /// What a listener has dropped since the beginning, or since it came. See
    /// [`Listener::drops`].
    #[must_use]
    pub fn dropped(&self, listener: &Listener) -> Option<u32> {
        let drops = listener.drops?;
        match before(&self.at_start, listener) {
            // The kernel's counter wraps, too.
            Some(before) => Some(drops.wrapping_sub(before.drops?)),
            None => Some(drops),
        }
    }

    /// What was dropped in each namespace since the beginning, on whatever port. Needs no
    /// privileges. A namespace whose counters cannot be read is left out.
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

/// The same listener as it was at the beginning.
fn before<'a>(at_start: &'a [Listener], listener: &Listener) -> Option<&'a Listener> {
    at_start.iter().find(|before| before.is_same(listener))
}
