//! What connections are counted by: the client, or a group such as its network.

use std::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::connection::{Connection, Host, Process};

/// What connections are counted by, as `--by` accepts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// The client's address.
    #[default]
    Address,
    /// The client's network, with these prefix lengths for IPv4 and IPv6.
    Network(u8, u8),
    /// The server's port.
    Port,
    /// The accepting process.
    Process,
    /// The accepting process's cgroup.
    Cgroup,
    /// The accepting process's user.
    User,
}

/// What one count is for. Equal counts are listed in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKey {
    /// A client.
    Client(Host),
    /// All clients of a network.
    Network(IpNet),
    /// All connections to a local port; None if it is not known.
    Port(Option<u16>),
    /// All connections that a process accepted.
    Process {
        /// The process id; None for all processes that have none in this PID namespace.
        pid: Option<u32>,
        /// Its name, safe to show.
        name: Option<Box<str>>,
        /// Whether it is a kernel thread.
        is_kernel_thread: bool,
    },
    /// All connections that kernel threads accepted, whose users and cgroups mean nothing.
    KernelThreads,
    /// All connections that were accepted in a cgroup.
    Cgroup {
        /// Its id.
        id: u64,
        /// Its path, safe to show, with its container, if any.
        name: Option<Box<str>>,
    },
    /// All connections that a user's processes accepted.
    User {
        /// The user's id.
        uid: u32,
        /// The user's name, safe to show.
        name: Option<Box<str>>,
    },
}

impl GroupBy {
    /// Whether the key is from the accepting task, which only the kernel knows.
    #[must_use]
    pub fn needs_task(self) -> bool {
        matches!(self, Self::Process | Self::Cgroup | Self::User)
    }

    /// The noun for the key, singular and plural.
    #[must_use]
    pub fn nouns(self) -> (&'static str, &'static str) {
        match self {
            Self::Address => ("address", "addresses"),
            Self::Network(..) => ("network", "networks"),
            Self::Port => ("port", "ports"),
            Self::Process => ("process", "processes"),
            Self::Cgroup => ("cgroup", "cgroups"),
            Self::User => ("user", "users"),
        }
    }

    /// The key of a connection.
    #[must_use]
    pub fn key(self, connection: &Connection) -> GroupKey {
        let process = connection.process.as_ref();
        let for_task = |key: fn(&Process) -> Option<GroupKey>| {
            process
                .and_then(key)
                .unwrap_or(GroupKey::Client(Host::Unknown))
        };
        match self {
            Self::Address | Self::Network(..) | Self::Port => self.group(
                GroupKey::Client(connection.remote.clone()),
                connection.local_port,
            ),
            Self::Process => for_task(|process| {
                Some(GroupKey::Process {
                    pid: process.pid,
                    name: None,
                    is_kernel_thread: process.is_kernel_thread,
                })
            }),
            Self::Cgroup | Self::User
                if process.is_some_and(|process| process.is_kernel_thread) =>
            {
                GroupKey::KernelThreads
            }
            Self::Cgroup => for_task(|process| {
                Some(GroupKey::Cgroup {
                    id: process.cgroup?,
                    name: None,
                })
            }),
            Self::User => for_task(|process| {
                Some(GroupKey::User {
                    uid: process.uid?,
                    name: None,
                })
            }),
        }
    }

    /// The key of a client's connections to a port.
    #[must_use]
    pub fn group(self, client: GroupKey, port: Option<u16>) -> GroupKey {
        let GroupKey::Client(host) = client else {
            return client;
        };
        match self {
            Self::Network(ipv4, ipv6) => match host {
                Host::Address(address) => network_of(address, ipv4, ipv6),
                host => GroupKey::Client(host),
            },
            Self::Port => GroupKey::Port(port),
            // The kernel has grouped by what only it knows.
            Self::Address | Self::Process | Self::Cgroup | Self::User => GroupKey::Client(host),
        }
    }
}

impl std::str::FromStr for GroupBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, lengths) = match text.split_once('/') {
            Some((name, lengths)) => (name, Some(lengths)),
            None => (text, None),
        };
        match (name, lengths) {
            ("address", None) => Ok(Self::Address),
            ("network", lengths) => network(lengths.unwrap_or("24,/64")).ok_or_else(|| {
                "give prefix lengths, such as network/24 or network/24,/64".to_owned()
            }),
            ("port", None) => Ok(Self::Port),
            ("process", None) => Ok(Self::Process),
            ("cgroup", None) => Ok(Self::Cgroup),
            ("user", None) => Ok(Self::User),
            _ => Err("give address, network[/24,/64], port, process, cgroup or user".to_owned()),
        }
    }
}

fn network_of(address: IpAddr, ipv4: u8, ipv6: u8) -> GroupKey {
    let network = match address {
        IpAddr::V4(address) => Ipv4Net::new(address, ipv4).map(IpNet::from),
        IpAddr::V6(address) => Ipv6Net::new(address, ipv6).map(IpNet::from),
    };
    network.map_or(GroupKey::Client(Host::Unknown), |network| {
        GroupKey::Network(network.trunc())
    })
}

/// Parses `24,/64`, or `24` alone, which implies /64 for IPv6.
fn network(lengths: &str) -> Option<GroupBy> {
    let (ipv4, ipv6) = lengths.split_once(",/").unwrap_or((lengths, "64"));
    let length = |text: &str, max| text.parse().ok().filter(|length| *length <= max);
    Some(GroupBy::Network(length(ipv4, 32)?, length(ipv6, 128)?))
}

/// Whether a user of this name cannot be taken for a row without a key, such as `other`, nor for a user
/// that is shown with its id.
fn is_unmistakable(user: &str) -> bool {
    !user.contains([' ', '(']) && user != "other" && user != "unknown"
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(host) => host.fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Port(Some(port)) => write!(f, "port {port}"),
            Self::Port(None) => f.write_str("unknown port"),
            Self::Process {
                pid,
                name,
                is_kernel_thread,
            } => {
                let kind = if *is_kernel_thread {
                    "kernel thread"
                } else {
                    "pid"
                };
                // Or a row could begin like that of another key: `other: 5`.
                let name = name.as_ref().map(|name| name.replace(": ", r"\u{3a} "));
                match (pid, name) {
                    (Some(pid), Some(name)) => write!(f, "{name} ({kind} {pid})"),
                    (Some(pid), None) => write!(f, "{kind} {pid}"),
                    (None, _) => f.write_str("processes of other PID namespaces"),
                }
            }
            Self::KernelThreads => f.write_str("kernel threads"),
            Self::Cgroup {
                name: Some(name), ..
            } => f.write_str(name),
            Self::Cgroup { id, name: None } => write!(f, "cgroup {id}"),
            Self::User {
                name: Some(name), ..
            } if is_unmistakable(name) => f.write_str(name),
            Self::User {
                uid,
                name: Some(name),
            } => write!(f, "{name} (uid {uid})"),
            Self::User { uid, name: None } => write!(f, "uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{connection::Source, hook::Hook};

    #[test]
    fn valid_names_parse_and_others_are_refused() {
        for (text, by) in [
            ("address", GroupBy::Address),
            ("network", GroupBy::Network(24, 64)),
            ("network/16", GroupBy::Network(16, 64)),
            ("network/8,/48", GroupBy::Network(8, 48)),
            ("cgroup", GroupBy::Cgroup),
        ] {
            assert_eq!(text.parse(), Ok(by), "{text}");
        }
        for text in [
            "",
            "network/",
            "network/33",
            "network/24,64",
            "network/24,/129",
            "port/1",
            "pid",
        ] {
            assert!(text.parse::<GroupBy>().is_err(), "{text}");
        }
    }

    #[test]
    fn clients_are_grouped_by_network_or_port() {
        let group = |by: &str, client: &str| {
            let host = Host::at(client.parse::<IpAddr>().unwrap());
            let by: GroupBy = by.parse().unwrap();
            by.group(GroupKey::Client(host), Some(80)).to_string()
        };
        assert_eq!(group("network", "192.0.2.77"), "192.0.2.0/24");
        assert_eq!(group("network/0", "192.0.2.77"), "0.0.0.0/0");
        assert_eq!(group("network", "2001:db8::7:7"), "2001:db8::/64");
        assert_eq!(group("port", "192.0.2.77"), "port 80");
        assert_eq!(group("address", "192.0.2.77"), "192.0.2.77");
    }

    #[test]
    fn a_process_is_one_key_whatever_the_names_of_its_threads() {
        let key = |comm: &[u8; 16]| {
            let process = Process {
                pid: Some(7),
                tid: Some(8),
                uid: None,
                cgroup: None,
                comm: Some(*comm),
                is_kernel_thread: false,
            };
            GroupBy::Process.key(&Connection {
                process: Some(process),
                ..Connection::unknown(Source::SecondHook)
            })
        };
        assert_eq!(
            key(b"one\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            key(b"sixteen bytes...")
        );
    }

    #[test]
    fn kernel_threads_are_said_as_such() {
        let key = GroupKey::Process {
            pid: Some(7),
            name: Some("nfsd".into()),
            is_kernel_thread: true,
        };
        assert_eq!(key.to_string(), "nfsd (kernel thread 7)");
        let connection = Connection {
            process: Some(Process {
                pid: Some(7),
                tid: Some(7),
                uid: Some(0),
                cgroup: Some(1),
                comm: None,
                is_kernel_thread: true,
            }),
            ..Connection::unknown(Source::Hook(Hook::Fentry))
        };
        for by in [GroupBy::Cgroup, GroupBy::User] {
            assert_eq!(by.key(&connection), GroupKey::KernelThreads);
        }
    }

    #[test]
    fn no_name_is_like_a_row_without_a_key() {
        let process = |name: &str| {
            let name = Some(name.into());
            GroupKey::Process {
                pid: Some(7),
                name,
                is_kernel_thread: false,
            }
            .to_string()
        };
        assert_eq!(process("other"), "other (pid 7)");
        assert_eq!(process("other: 5"), r"other\u{3a} 5 (pid 7)");
        let user = |name: &str| {
            let name = Some(name.into());
            GroupKey::User { uid: 7, name }.to_string()
        };
        assert_eq!(user("www-data"), "www-data");
        for name in ["other", "unknown", "5 more", "other (uid 8)"] {
            assert_eq!(user(name), format!("{name} (uid 7)"));
        }
    }
}
