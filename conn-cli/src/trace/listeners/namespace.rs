//! Finds the network namespaces and enters them.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    counters::Counters,
    diag::{Diag, Listening},
    owner,
};
use crate::{
    model::{
        listener::{Listener, Unseen},
        ports::PortSet,
        queues::NamespaceDrops,
    },
    system::{
        files,
        procfs::{is_denied, processes, threads},
    },
};

const OWN_NETNS: &str = "/proc/thread-self/ns/net";

/// A network namespace that was entered once, and can be queried from outside since then.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) inode: u32,
    pub(super) is_own: bool,
    pub(super) diag: Diag,
    pub(super) counters: Option<Counters>,
    /// Since when no look at it has found a listener.
    pub(super) empty_since: Option<Instant>,
}

impl Namespace {
    /// A listener in it, whose owners are not known yet.
    pub(super) fn listener(&self, found: Listening) -> Listener {
        Listener {
            address: found.address,
            netns: self.inode,
            is_own_netns: self.is_own,
            inode: found.inode,
            cookie: found.cookie,
            waiting: found.waiting,
            limit: found.limit,
            drops: found.drops,
            owners: Arc::default(),
            began_too_late: false,
        }
    }

    /// What was dropped in it since the start, if its counters can be read.
    pub(super) fn drops(&self) -> Option<NamespaceDrops> {
        let growth = self.counters.as_ref()?.growth()?;
        Some(NamespaceDrops {
            netns: self.inode,
            is_own_netns: self.is_own,
            overflows: growth.overflows,
            drops: growth.drops,
            drops_before: growth.drops,
        })
    }
}

/// The listeners that were found, and the namespaces that stay open.
#[derive(Debug, Default)]
pub(super) struct Visited {
    pub(super) listeners: Vec<Listener>,
    pub(super) namespaces: Vec<Namespace>,
    /// The namespaces that had a listener, but cannot stay open.
    pub(super) not_kept: HashSet<u32>,
    /// The processes in namespaces that were not known before, each with the namespace.
    pub(super) processes: Vec<(u32, u32)>,
    pub(super) unseen: Unseen,
}

impl Visited {
    fn add(&mut self, namespace: &Namespace, found: Vec<Listening>) {
        let found = found.into_iter().map(|found| namespace.listener(found));
        self.listeners.extend(found);
    }

    /// Finds the owners of the listeners among the processes of their namespaces, until `stop` is set: to
    /// search all processes would take long, and this is done again and again.
    pub(super) fn find_owners(&mut self, stop: &AtomicBool) {
        let namespaces: HashSet<_> = self.listeners.iter().map(|one| one.netns).collect();
        let are_there = |(_, netns): &&(u32, u32)| namespaces.contains(netns);
        let processes = self.processes.iter().filter(are_there).map(|&(pid, _)| pid);
        owner::find_among(processes, &mut self.listeners, stop);
    }
}

/// Lists the listeners in the namespace of this thread, unless another one is wanted.
pub(super) fn visit_own(ports: &PortSet, only: Option<u32>) -> io::Result<Visited> {
    let own = inode(&File::open(OWN_NETNS)?)?;
    let mut visited = Visited::default();
    if only.is_none_or(|only| only == own) {
        let (namespace, listening) = query(own, true, ports)?;
        visited.add(&namespace, listening);
        visited.namespaces.push(namespace);
    }
    Ok(visited)
}

/// Lists the listeners in each other network namespace but those that are kept already, or only in this
/// one, until `stop` is set.
pub(super) fn visit_others(
    ports: &PortSet,
    only: Option<u32>,
    kept: &HashSet<u32>,
    stop: &AtomicBool,
) -> io::Result<Visited> {
    let own = File::open(OWN_NETNS)?;
    if only == Some(inode(&own)?) {
        return Ok(Visited::default());
    }
    let visited = visit_all(ports, only, kept, inode(&own)?, stop);
    // A namespace lives as long as a thread is in it. This fails without the privilege to leave, too.
    let _ = move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network));
    visited
}

/// The same, but this thread is in one of them afterwards.
fn visit_all(
    ports: &PortSet,
    only: Option<u32>,
    kept: &HashSet<u32>,
    own: u32,
    stop: &AtomicBool,
) -> io::Result<Visited> {
    let mut visited = Visited::default();
    let mut failed = HashMap::new();
    let mut seen = kept.clone();
    seen.insert(own);
    for pid in processes()? {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (path, netns) = match link(pid) {
            Ok(link) => link,
            // Any other error: it has exited.
            Err(error) => {
                visited.unseen.processes += usize::from(is_denied(&error));
                continue;
            }
        };
        if kept.contains(&netns) || netns == own || only.is_some_and(|only| only != netns) {
            continue;
        }
        visited.processes.push((pid, netns));
        if seen.contains(&netns) {
            continue;
        }
        // If this fails, the link of another process in the namespace may work.
        match enter(&path, ports) {
            Ok((namespace, listening)) => {
                failed.remove(&namespace.inode);
                // A namespace without listeners is kept only if it is the one that is wanted.
                let is_new = seen.insert(namespace.inode);
                if !is_new || only.is_none() && listening.is_empty() {
                    continue;
                }
                visited.add(&namespace, listening);
                if kept.len() + visited.namespaces.len() < max_kept() {
                    visited.namespaces.push(namespace);
                } else {
                    visited.not_kept.insert(namespace.inode);
                }
            }
            Err(error) => {
                failed.insert(netns, error);
            }
        }
    }
    visited.unseen.namespaces = failed.len();
    visited.unseen.later = visited.not_kept.len();
    match only {
        Some(only) if visited.namespaces.is_empty() => Err(failed
            .remove(&only)
            .unwrap_or_else(|| missing(only, visited.unseen))),
        _ => Ok(visited),
    }
}

/// How many namespaces can be kept, at two files each, so that enough files are left for the rest. To
/// close them and enter the namespaces again would need the privileges that conn-cli normally gives up.
fn max_kept() -> usize {
    (files::limit().saturating_sub(RESERVED_FILES) / 2).max(1)
}

/// More files than conn-cli needs for all else.
const RESERVED_FILES: usize = 256;

fn missing(netns: u32, unseen: Unseen) -> io::Error {
    let mut error = format!("no process is in the network namespace {netns}");
    if unseen.processes > 0 {
        error += &format!(
            "; processes whose namespace could not be read: {}",
            unseen.processes
        );
    }
    io::Error::new(io::ErrorKind::NotFound, error)
}

/// The path of the link to a process's namespace, and the namespace's inode number.
fn link(pid: u32) -> io::Result<(String, u32)> {
    // Not from the metadata: Linux 5.10 gives a different number for each process that conn-cli
    // has no permission to inspect.
    let link = |path: String| {
        let target = fs::read_link(&path)?;
        let inode = target.to_str().and_then(parse_inode);
        let inode = inode.ok_or(io::ErrorKind::InvalidData)?;
        Ok((path, inode))
    };
    let first = link(format!("/proc/{pid}/ns/net"));
    if first.as_ref().is_err_and(|error| !is_denied(error)) {
        // A thread that has exited is in no namespace, but others may still run.
        for tid in threads(pid)?.filter(|&tid| tid != pid) {
            if let Ok(other) = link(format!("/proc/{pid}/task/{tid}/ns/net")) {
                return Ok(other);
            }
        }
    }
    first
}

/// The number in `net:[4026531840]`.
fn parse_inode(link: &str) -> Option<u32> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Moves this thread into another namespace, and queries it.
fn enter(path: &str, ports: &PortSet) -> io::Result<(Namespace, Vec<Listening>)> {
    let file = File::open(path)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    query(inode(&file)?, false, ports)
}

fn query(inode: u32, is_own: bool, ports: &PortSet) -> io::Result<(Namespace, Vec<Listening>)> {
    let mut diag = Diag::open()?;
    // Opened before the listeners are queried, so that drops in between are counted twice rather
    // than not at all.
    let counters = Counters::open();
    let listening = diag.listening(ports)?;
    let namespace = Namespace {
        inode,
        is_own,
        diag,
        counters,
        empty_since: None,
    };
    Ok((namespace, listening))
}

/// Inode numbers of namespaces have 32 bits (`include/linux/ns_common.h`).
fn inode(file: &File) -> io::Result<u32> {
    Ok(file.metadata()?.ino() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inode_is_parsed_from_the_link() {
        assert_eq!(parse_inode("net:[4026531840]"), Some(4_026_531_840));
        for link in [
            "",
            "net:[]",
            "net:[1",
            "mnt:[1]",
            "net:[4294967296]",
            "net:[-1]",
        ] {
            assert_eq!(parse_inode(link), None, "{link}");
        }
    }
}
