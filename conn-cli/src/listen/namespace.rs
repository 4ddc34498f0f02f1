//! The network namespaces, and going into them.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    panic, thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    counters::Counters,
    diag::{Diag, Listening},
    owner::{processes, threads},
};
use crate::ports::PortSet;

const OWN: &str = "/proc/thread-self/ns/net";

/// What of a network namespace can be asked from outside, by whoever was once inside.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) inode: u32,
    pub(super) is_own: bool,
    pub(super) diag: Diag,
    pub(super) counters: Option<Counters>,
}

/// What could not be looked into. All zero when everything was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Network namespaces that are there: who listens in them is not known.
    pub namespaces: usize,
    /// Processes: they may be the owners of a listener, or in a namespace that is not known.
    pub processes: usize,
}

/// The namespaces that are worth to be kept, with what listens there.
#[derive(Debug)]
pub(super) struct Visited {
    pub(super) namespaces: Vec<(Namespace, Vec<Listening>)>,
    pub(super) unseen: Unseen,
}

/// Asks who listens in each network namespace, or only in this one.
pub(super) fn visit(ports: &PortSet, only: Option<u32>) -> io::Result<Visited> {
    let own = inode(&File::open(OWN)?)?;
    let is_wanted = |inode| only.is_none_or(|only| only == inode);
    let mut namespaces = Vec::new();
    if is_wanted(own) {
        // What fails here would fail in every other namespace.
        namespaces.push(look(own, true, ports)?);
    }

    let mut unseen = Unseen::default();
    let mut others = Vec::new();
    for pid in processes()? {
        match link(pid) {
            Ok((path, there)) if there != own && is_wanted(there) => others.push((path, there)),
            Ok(_) => (),
            // Any other error: it has ended.
            Err(error) => unseen.processes += usize::from(is_denied(&error)),
        }
    }
    let mut entered = enter_each(others, ports, only.is_some())?;
    namespaces.append(&mut entered.namespaces);
    let mut failed = entered.failed;
    unseen.namespaces = failed.len();
    match only {
        Some(only) if namespaces.is_empty() => Err(failed
            .remove(&only)
            .unwrap_or_else(|| missing(only, unseen))),
        _ => Ok(Visited { namespaces, unseen }),
    }
}

/// What has come of going into namespaces.
#[derive(Default)]
struct Entered {
    namespaces: Vec<(Namespace, Vec<Listening>)>,
    failed: HashMap<u32, io::Error>,
}

/// Goes into these namespaces, given by a link of each of their processes, and asks who listens.
/// Where nobody does, the namespace is kept only if `keeps_all`.
///
/// It is a thread of its own that goes, if there is anywhere to go: none of ours may be in another
/// namespace.
fn enter_each(links: Vec<(String, u32)>, ports: &PortSet, keeps_all: bool) -> io::Result<Entered> {
    if links.is_empty() {
        return Ok(Entered::default());
    }
    let walk = || {
        let mut entered = Entered::default();
        let mut seen = HashSet::new();
        for (path, there) in links {
            if seen.contains(&there) {
                continue;
            }
            // If it fails, the next process of this namespace may lead there.
            match enter(&path, ports) {
                Ok((namespace, listening)) => {
                    entered.failed.remove(&namespace.inode);
                    let is_new = seen.insert(namespace.inode);
                    if is_new && (keeps_all || !listening.is_empty()) {
                        entered.namespaces.push((namespace, listening));
                    }
                }
                Err(error) => {
                    entered.failed.insert(there, error);
                }
            }
        }
        entered
    };
    thread::scope(|scope| {
        let walk = thread::Builder::new().spawn_scoped(scope, walk)?;
        Ok(walk
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

fn missing(netns: u32, unseen: Unseen) -> io::Error {
    let mut error = format!("no process is in the network namespace {netns}");
    if unseen.processes > 0 {
        error += &format!(
            ", except perhaps one of {} that may not be looked into",
            unseen.processes
        );
    }
    io::Error::new(io::ErrorKind::NotFound, error)
}

/// The link to the namespace of a process, and its inode number.
fn link(pid: u32) -> io::Result<(String, u32)> {
    // Not what is behind it: that 5.10 gives for each process another, if it may not be seen.
    let link = |path: String| {
        let target = fs::read_link(&path)?;
        let inode = target.to_str().and_then(number);
        let inode = inode.ok_or(io::ErrorKind::InvalidData)?;
        Ok((path, inode))
    };
    let first = link(format!("/proc/{pid}/ns/net"));
    if first.as_ref().is_err_and(|error| !is_denied(error)) {
        // A thread that has ended is in no namespace, but others may go on.
        for tid in threads(pid)?.filter(|&tid| tid != pid) {
            if let Ok(other) = link(format!("/proc/{pid}/task/{tid}/ns/net")) {
                return Ok(other);
            }
        }
    }
    first
}

/// The number in `net:[4026531840]`.
fn number(link: &str) -> Option<u32> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Moves this thread into another namespace, and looks around there.
fn enter(path: &str, ports: &PortSet) -> io::Result<(Namespace, Vec<Listening>)> {
    let file = File::open(path)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    look(inode(&file)?, false, ports)
}

fn look(inode: u32, is_own: bool, ports: &PortSet) -> io::Result<(Namespace, Vec<Listening>)> {
    let mut diag = Diag::open()?;
    // Before the listeners are looked at: what is dropped in between is rather told twice
    // than not at all.
    let counters = Counters::open();
    let listening = diag.listening(ports)?;
    let namespace = Namespace {
        inode,
        is_own,
        diag,
        counters,
    };
    Ok((namespace, listening))
}

/// The kernel's numbers for namespaces have 32 bits (`include/linux/ns_common.h`).
fn inode(file: &File) -> io::Result<u32> {
    Ok(file.metadata()?.ino() as u32)
}

pub(super) fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_namespace() {
        assert_eq!(number("net:[4026531840]"), Some(4_026_531_840));
        for link in [
            "",
            "net:[]",
            "net:[1",
            "mnt:[1]",
            "net:[4294967296]",
            "net:[-1]",
        ] {
            assert_eq!(number(link), None, "{link}");
        }
    }
}
