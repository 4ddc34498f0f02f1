//! The listeners on the watched ports in every network namespace, how many connections wait there
//! to be accepted, and how many the kernel had to drop.
//!
//! Searching for listeners needs privileges and may take seconds, so a thread of its own does it
//! ([`Search`]), which keeps its privileges until then. Querying the kernel again needs none.

mod counters;
mod diag;
mod namespace;
mod owner;
mod queues;
mod search;
mod worker;

use std::{
    collections::HashSet,
    io,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::thread::{CapabilitySet, capabilities};

use self::namespace::{Namespace, Visited};
pub use self::{
    search::{Look, Search},
    worker::Worker,
};
pub use crate::model::{
    listener::{Listener, Owner, Unseen},
    queues::Queues,
};
use crate::model::{
    ports::PortSet,
    queues::{GoneDrops, NamespaceDrops},
};

const CANNOT_LIST: &str = "cannot list listening sockets";

/// How long another namespace is kept without a listener if it could not be found again: a server may just
/// be restarting.
const KEPT_EMPTY: Duration = Duration::from_mins(1);

/// The listeners on some ports at the start, and the means to query them again.
///
/// It keeps two descriptors open for conn-cli's own network namespace, and two for each other one that
/// has a listener on the ports, as far as files may be open: a socket that queries its listeners, and
/// the file of its counters, which tells connections that are lost from packets that need not be queued.
/// Such a namespace would live as long as these are open, even if its last process exits. So it is let go
/// once it has no listener: a namespace with a listener lives anyway.
#[derive(Debug)]
pub struct Survey {
    ports: PortSet,
    /// The only wanted namespace.
    netns: Option<u32>,
    namespaces: Vec<Namespace>,
    /// Those that had a listener at the start, but could not be kept.
    not_kept: HashSet<u32>,
    /// How long a namespace is kept without a listener.
    kept_empty: Duration,
    /// What was dropped in those that were let go.
    gone: GoneDrops,
    /// Sorted, as the next.
    at_start: Vec<Listener>,
    /// Those that began to listen later, once their processes were searched for.
    later: Vec<Listener>,
    /// Those that had dropped packets at the last query: their network namespaces and cookies.
    had_dropped: HashSet<(u32, u64)>,
    /// Whether such a one has been closed.
    lost_drops: bool,
    unseen: Unseen,
    /// Whether [`Survey::complete`] had the privilege to search every process.
    could_search_all: bool,
}

impl Survey {
    /// Lists the listeners in the network namespace of this thread, which needs no privilege, unless
    /// `netns` is the inode number of another one.
    ///
    /// # Errors
    /// What would fail in every other namespace, too.
    pub fn begin(ports: &PortSet, netns: Option<u32>) -> anyhow::Result<Self> {
        let mut survey = Self {
            ports: ports.clone(),
            netns,
            namespaces: Vec::new(),
            not_kept: HashSet::new(),
            kept_empty: KEPT_EMPTY,
            gone: GoneDrops::default(),
            at_start: Vec::new(),
            later: Vec::new(),
            had_dropped: HashSet::new(),
            lost_drops: false,
            unseen: Unseen::default(),
            could_search_all: false,
        };
        let visited = namespace::visit_own(ports, netns).context(CANNOT_LIST)?;
        survey.add(visited);
        Ok(survey)
    }

    /// Goes on with every other network namespace that some process is in, by its first thread, or
    /// only the one that is wanted, and then searches the open files of all processes for the owners
    /// of the listeners; until `stop` is set.
    ///
    /// Other namespaces need `CAP_SYS_ADMIN`, and other users' processes `CAP_SYS_PTRACE`. Without
    /// these, the result is incomplete, and [`Survey::unseen`] counts what is missing.
    ///
    /// # Errors
    /// If not a single namespace could be searched.
    pub fn complete(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let others = namespace::visit_others(&self.ports, self.netns, &HashSet::new(), stop);
        self.add(others.context(CANNOT_LIST)?);
        self.could_search_all =
            capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::SYS_PTRACE));
        let denied = owner::find(&mut self.at_start, stop);
        // A process with unreadable descriptors has an unreadable namespace, too.
        self.unseen.processes = self.unseen.processes.max(denied);
        Ok(())
    }

    fn add(&mut self, visited: Visited) {
        self.at_start.extend(visited.listeners);
        self.namespaces.extend(visited.namespaces);
        self.at_start.sort_by_key(Listener::order);
        self.not_kept = visited.not_kept;
        self.unseen = visited.unseen;
    }

    /// The ports, and the network namespaces that need not be searched for, since they are kept.
    fn search_terms(&self) -> (PortSet, HashSet<u32>) {
        let kept = self.namespaces.iter().map(|namespace| namespace.inode);
        (self.ports.clone(), kept.collect())
    }

    /// Keeps namespaces that were found later, too, and returns the listeners in them.
    fn add_found(&mut self, visited: Visited) -> Vec<Listener> {
        self.unseen = visited.unseen;
        let kept: HashSet<_> = visited.namespaces.iter().map(|one| one.inode).collect();
        self.namespaces.extend(visited.namespaces);
        let mut found = visited.listeners;
        found.retain(|listener| kept.contains(&listener.netns));
        // Others are new still, and so searched for in all processes.
        let is_known = |listener: &&Listener| !listener.owners.is_empty() && self.is_new(listener);
        self.later
            .extend(found.iter().filter(is_known).cloned().collect::<Vec<_>>());
        self.later.sort_by_key(Listener::order);
        found
    }

    /// The listeners at the start, by port and address. They have no owners before
    /// [`Survey::complete`].
    #[must_use]
    pub fn at_start(&self) -> &[Listener] {
        &self.at_start
    }

    /// What could not be searched.
    #[must_use]
    pub fn unseen(&self) -> Unseen {
        self.unseen
    }

    /// Queries the namespaces that had a listener when they were searched, and conn-cli's own, again,
    /// without any privilege, and lets go those that have none any more. The owners and their details are
    /// those at the start; a newer listener has none before [`Survey::add_later`].
    ///
    /// # Errors
    /// If a query fails.
    pub fn now(&mut self) -> io::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        let time = Instant::now();
        for namespace in &mut self.namespaces {
            let found = namespace.diag.listening(&self.ports)?;
            namespace.empty_since = match namespace.empty_since {
                since @ Some(_) if found.is_empty() => since,
                _ => found.is_empty().then_some(time),
            };
            for found in found {
                let mut listener = namespace.listener(found);
                let before = find_same(&self.at_start, &listener);
                if let Some(before) = before.or_else(|| find_same(&self.later, &listener)) {
                    listener.owners = Arc::clone(&before.owners);
                    listener.began_too_late = before.began_too_late;
                }
                listeners.push(listener);
            }
        }
        listeners.sort_by_key(Listener::order);
        // However often a server is started anew.
        self.later
            .retain(|later| find_same(&listeners, later).is_some());
        self.let_go(time);
        Ok(listeners)
    }

    /// Lets go the namespaces that have had no listener for too long; not conn-cli's own, which lives as
    /// long as it does, nor the only one that is wanted, which was promised to.
    fn let_go(&mut self, now: Instant) {
        if self.netns.is_some() {
            return;
        }
        let (kept_empty, gone) = (self.kept_empty, &mut self.gone);
        self.namespaces.retain(|namespace| {
            let is_dead = |since| now.duration_since(since) >= kept_empty;
            let is_kept = namespace.is_own || !namespace.empty_since.is_some_and(is_dead);
            if !is_kept && let Some(drops) = namespace.drops() {
                gone.add(drops);
            }
            is_kept
        });
    }

    /// Whether the processes of this listener were never searched for.
    #[must_use]
    pub fn is_new(&self, listener: &Listener) -> bool {
        find_same(&self.at_start, listener).is_none() && find_same(&self.later, listener).is_none()
    }

    /// Adds new listeners that were searched for with [`Search::for_owners`], and returns the first
    /// whose process is not known since it began too late.
    pub fn add_later(&mut self, listeners: Vec<Listener>) -> Option<&Listener> {
        self.later.extend(listeners);
        self.later.sort_by_key(Listener::order);
        for listener in &mut self.later {
            listener.began_too_late &= self.could_search_all;
        }
        self.later.iter().find(|listener| listener.began_too_late)
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
        let namespaces = self.namespaces.iter();
        namespaces.filter_map(Namespace::drops).collect()
    }
}

/// The same listener among these, which are sorted.
fn find_same<'a>(sorted: &'a [Listener], listener: &Listener) -> Option<&'a Listener> {
    let found = sorted.binary_search_by_key(&listener.order(), Listener::order);
    found.ok().map(|index| &sorted[index])
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn another_namespace_is_let_go_when_it_has_had_no_listener_for_a_while() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port().to_string();
        let mut survey = Survey::begin(&port.parse().unwrap(), None).unwrap();
        // As if it were another one.
        survey.namespaces[0].is_own = false;
        let kept = |survey: &mut Survey, after| {
            survey.now().unwrap();
            survey.let_go(Instant::now() + after);
            survey.namespaces.len()
        };
        assert_eq!(kept(&mut survey, KEPT_EMPTY * 2), 1, "it has a listener");
        drop(server);
        assert_eq!(kept(&mut survey, KEPT_EMPTY / 2), 1);
        let before = survey.namespace_drops()[0];
        assert_eq!(kept(&mut survey, KEPT_EMPTY), 0);
        let queues = survey.queues().unwrap();
        assert!(queues.gone.drops >= before.drops);
        assert_eq!(queues.closed.len(), 1);
    }

    #[test]
    fn own_namespace_is_kept_and_one_that_is_to_be_found_again_is_not() {
        let mut survey = Survey::begin(&"1".parse().unwrap(), None).unwrap();
        survey.kept_empty = Duration::ZERO;
        survey.now().unwrap();
        assert_eq!(survey.namespaces.len(), 1);
        survey.namespaces[0].is_own = false;
        survey.now().unwrap();
        assert_eq!(survey.namespaces.len(), 0);
    }
}
