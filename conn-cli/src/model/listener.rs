//! A listening socket and the processes that have it open.

use std::{hash::Hash, net::SocketAddr, sync::Arc};

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens. `[::]` may or may not take IPv4 connections too.
    pub address: SocketAddr,
    /// The inode number of its network namespace.
    pub netns: u32,
    /// Whether that is the namespace of conn-cli itself.
    pub is_own_netns: bool,
    /// The inode number of the socket, as in `/proc/PID/fd`. Zero if no descriptor refers to it.
    pub inode: u32,
    /// The kernel's number for the socket, never reused in its network namespace.
    pub cookie: u64,
    /// How many established connections wait to be accepted (`sk_ack_backlog`).
    pub waiting: u32,
    /// The limit of the accept queue (`sk_max_ack_backlog`). The kernel lets one more wait.
    pub limit: u32,
    /// How many packets it has dropped since it was created (`sk_drops`); None if the kernel does
    /// not report it. Most are SYNs, or last packets of a handshake, that found the queue full. A
    /// client repeats both, so this is more than the number of connections that failed.
    pub drops: Option<u32>,
    /// The processes that had it open when they were searched for: first those blocked in accept,
    /// then by process id, but process 1 last, which holds sockets for others. Empty if none is
    /// known.
    /// Shared by what is known of it at different times.
    pub owners: Arc<[Owner]>,
    /// Whether it began to listen when conn-cli had given up the privileges with which it could have
    /// searched every process. It can be true only if no process is known.
    pub began_too_late: bool,
}

/// A process that has a listener open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process id.
    pub pid: u32,
    /// Its first thread's name, safe to show.
    pub name: Arc<str>,
    /// How many of its threads were blocked in `accept` or `accept4` on this listener; None if
    /// that could not be read.
    pub in_accept: Option<u32>,
}

/// What could not be searched. All zero if everything was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Network namespaces that exist, but whose listeners are not known.
    pub namespaces: usize,
    /// Network namespaces whose listeners were found, but cannot be queried again: too many files
    /// would be open.
    pub later: usize,
    /// Processes, which may be owners of a listener or in a namespace that is not known.
    pub processes: usize,
}

impl Listener {
    /// What no other socket has, at any time.
    pub fn id(&self) -> impl Eq + Hash + use<> {
        (self.netns, self.cookie)
    }

    /// Whether both are the same socket, perhaps at different times.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.id() == other.id()
    }

    /// How many threads were known to be blocked in accept on it; None if that could not be read
    /// for any of its processes.
    #[must_use]
    pub fn in_accept(&self) -> Option<u32> {
        let known = self.owners.iter().filter_map(|owner| owner.in_accept);
        known.reduce(u32::saturating_add)
    }

    /// Whether its accept queue is full: the kernel lets one more connection wait than the limit, so
    /// that one can wait even if the limit is 0 (`sk_acceptq_is_full` of `include/net/sock.h`).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting > self.limit
    }

    /// Its address and its process: `0.0.0.0:80 httpd[812]`.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = format!("{} {}", self.address, self.process());
        if !self.is_own_netns {
            name += &format!(" in network namespace {}", self.netns);
        }
        name
    }

    /// The listener in one line:
    /// `0.0.0.0:80 httpd[812], 8 threads in accept, accept queue 0/511`. A server that polls
    /// has no thread in accept, so that is not said.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut line = self.name();
        if let Some(threads @ 1..) = self.in_accept() {
            let all_known = self.owners.iter().all(|owner| owner.in_accept.is_some());
            let at_least = if all_known { "" } else { "at least " };
            let noun = if threads == 1 { "thread" } else { "threads" };
            line += &format!(", {at_least}{threads} {noun} in accept");
        }
        line + ", " + &self.queue()
    }

    /// Its accept queue: `accept queue 0/511`, or `accept queue full (3 waiting, backlog 2)`.
    #[must_use]
    pub fn queue(&self) -> String {
        if self.is_full() {
            format!("accept queue full {}", self.full_queue())
        } else {
            format!("accept queue {}/{}", self.waiting, self.limit)
        }
    }

    /// What is in a full queue: `(3 waiting, backlog 2)`. In the form `3/2` it would look like a
    /// mistake.
    #[must_use]
    pub fn full_queue(&self) -> String {
        format!("({} waiting, backlog {})", self.waiting, self.limit)
    }

    fn process(&self) -> String {
        match &self.owners[..] {
            [] => "process not known".into(),
            [owner] => format!("{}[{}]", owner.name, owner.pid),
            [first, others @ ..] => {
                format!("{}[{}] and {} more", first.name, first.pid, others.len())
            }
        }
    }

    /// The key that listeners are sorted by, which is another one for each, and does not change.
    pub fn order(&self) -> impl Ord + use<> {
        (
            self.address.port(),
            self.address,
            !self.is_own_netns,
            self.netns,
            self.cookie,
        )
    }
}

impl Owner {
    /// The key that owners are sorted by.
    pub fn order(&self) -> impl Ord + use<> {
        let waits = self.in_accept.is_some_and(|threads| threads > 0);
        (!waits, self.pid == 1, self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(owners: &[(u32, &str, Option<u32>)]) -> Listener {
        let owner = |&(pid, name, in_accept): &(u32, &str, _)| Owner {
            pid,
            name: name.into(),
            in_accept,
        };
        Listener {
            address: "0.0.0.0:80".parse().unwrap(),
            netns: 4_026_532_281,
            is_own_netns: true,
            inode: 1,
            cookie: 1,
            waiting: 0,
            limit: 511,
            drops: Some(0),
            owners: owners.iter().map(owner).collect(),
            began_too_late: false,
        }
    }

    #[test]
    fn describes_one_process() {
        assert_eq!(
            listener(&[(812, "httpd", Some(8))]).describe(),
            "0.0.0.0:80 httpd[812], 8 threads in accept, accept queue 0/511"
        );
        assert_eq!(
            listener(&[(812, "httpd", Some(1))]).describe(),
            "0.0.0.0:80 httpd[812], 1 thread in accept, accept queue 0/511"
        );
        assert_eq!(
            listener(&[(812, "nginx", Some(0))]).describe(),
            "0.0.0.0:80 nginx[812], accept queue 0/511"
        );
    }

    #[test]
    fn describes_several_processes() {
        let mut prefork = listener(&[
            (813, "httpd", Some(1)),
            (814, "httpd", Some(1)),
            (815, "httpd", Some(0)),
            (812, "httpd", Some(0)),
        ]);
        prefork.waiting = 3;
        assert_eq!(
            prefork.describe(),
            "0.0.0.0:80 httpd[813] and 3 more, 2 threads in accept, accept queue 3/511"
        );
    }

    #[test]
    fn unknown_values_are_left_out() {
        assert_eq!(
            listener(&[]).describe(),
            "0.0.0.0:80 process not known, accept queue 0/511"
        );
        assert_eq!(
            listener(&[(812, "httpd", None)]).describe(),
            "0.0.0.0:80 httpd[812], accept queue 0/511"
        );
        assert_eq!(
            listener(&[(812, "httpd", Some(2)), (813, "httpd", None)]).describe(),
            "0.0.0.0:80 httpd[812] and 1 more, at least 2 threads in accept, accept queue \
             0/511"
        );
    }

    #[test]
    fn a_queue_is_full_beyond_its_limit() {
        let queue = |waiting, limit| {
            Listener {
                waiting,
                limit,
                ..listener(&[])
            }
            .queue()
        };
        assert_eq!(queue(0, 0), "accept queue 0/0");
        assert_eq!(queue(2, 2), "accept queue 2/2");
        assert_eq!(queue(3, 2), "accept queue full (3 waiting, backlog 2)");
    }

    #[test]
    fn other_namespace_is_named() {
        let mut elsewhere = listener(&[(812, "httpd", Some(8))]);
        elsewhere.address = "[::]:80".parse().unwrap();
        elsewhere.is_own_netns = false;
        assert_eq!(
            elsewhere.describe(),
            "[::]:80 httpd[812] in network namespace 4026532281, 8 threads in accept, \
             accept queue 0/511"
        );
    }

    #[test]
    fn process_1_is_listed_last() {
        let owners = listener(&[
            (1, "systemd", Some(0)),
            (700, "manager", Some(0)),
            (812, "httpd", None),
            (813, "httpd", Some(1)),
        ])
        .owners;
        let mut owners = owners.to_vec();
        owners.sort_by_key(Owner::order);
        let pids: Vec<_> = owners.iter().map(|owner| owner.pid).collect();
        assert_eq!(pids, [813, 700, 812, 1]);
    }

    #[test]
    fn sockets_of_other_namespaces_differ() {
        let one = listener(&[]);
        let mut later = listener(&[(1, "init", None)]);
        later.waiting = 7;
        assert!(one.is_same(&later));
        later.netns += 1;
        assert!(!one.is_same(&later));
    }
}
