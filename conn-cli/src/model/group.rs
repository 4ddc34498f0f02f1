//! What connections are counted by: the client, or a group such as its network; perhaps together with
//! the server's port.

#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    connection::{Connection, Host, Process},
    names::NetworkNames,
};

/// What connections are counted by, as `--by` accepts it: one thing, or that together with the server's
/// port. The kernel's maps have no other pair as their key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    what: GroupBy,
    /// Never with [`GroupBy::Port`].
    with_port: bool,
}

/// One thing that connections are counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// The client's address.
    #[default]
    Address,
    /// The client's network, with these prefix lengths for IPv4 and IPv6.
    Network(u8, u8),
    /// The name of the client's network.
    Name(&'static NetworkNames),
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
    /// All clients of the networks with this name.
    Name(&'static str),
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
    /// Those of one of the above to a local port; None if that is not known.
    WithPort(Box<Self>, Option<u16>),
}

impl Grouping {
    /// Without the port of a pair.
    #[must_use]
    pub fn what(self) -> GroupBy {
        self.what
    }

    /// Whether it is a pair with the port.
    #[must_use]
    pub fn with_port(self) -> bool {
        self.with_port
    }

    /// Whether the key is from the accepting task, which only the kernel knows.
    #[must_use]
    pub fn needs_task(self) -> bool {
        self.what.needs_task()
    }

    /// Its name in JSON and in messages: `network`, `network,port`.
    #[must_use]
    pub fn name(self) -> String {
        let port = if self.with_port { PORT_OF_PAIR } else { "" };
        self.what.nouns().0.to_owned() + port
    }

    /// The noun for the key, singular and plural.
    #[must_use]
    pub fn nouns(self) -> (&'static str, &'static str) {
        match self.what {
            what if !self.with_port => what.nouns(),
            GroupBy::Address => ("pair of address and port", "pairs of address and port"),
            GroupBy::Network(..) => ("pair of network and port", "pairs of network and port"),
            GroupBy::Name(_) => ("pair of name and port", "pairs of name and port"),
            GroupBy::Port => ("port", "ports"),
            GroupBy::Process => ("pair of process and port", "pairs of process and port"),
            GroupBy::Cgroup => ("pair of cgroup and port", "pairs of cgroup and port"),
            GroupBy::User => ("pair of user and port", "pairs of user and port"),
        }
    }

    /// The same with these names.
    #[must_use]
    pub fn named(self, names: &'static NetworkNames) -> Self {
        Self {
            what: GroupBy::Name(names),
            ..self
        }
    }

    /// The key of a connection.
    #[must_use]
    pub fn key(self, connection: &Connection) -> GroupKey {
        self.paired(self.what.key(connection), connection.local_port)
    }

    /// The key of a client's connections to a port.
    #[must_use]
    pub fn group(self, client: GroupKey, port: Option<u16>) -> GroupKey {
        self.paired(self.what.group(client, port), port)
    }

    /// The key of a pair, if it is one. What is not known is one group, whatever the port.
    pub(crate) fn paired(self, key: GroupKey, port: Option<u16>) -> GroupKey {
        if self.with_port && key != GroupKey::Client(Host::Unknown) {
            GroupKey::WithPort(Box::new(key), port)
        } else {
            key
        }
    }
}

impl From<GroupBy> for Grouping {
    fn from(what: GroupBy) -> Self {
        Self {
            what,
            with_port: false,
        }
    }
}

/// What follows the name of the other thing in that of a pair.
const PORT_OF_PAIR: &str = ",port";

impl std::str::FromStr for Grouping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of_pair = text.strip_suffix(PORT_OF_PAIR);
        let of_pair = of_pair.or_else(|| text.strip_prefix("port,"));
        let Some(other) = of_pair else {
            return text.parse().map(GroupBy::into);
        };
        match other.parse()? {
            GroupBy::Port => Err(WHAT.to_owned()),
            what => Ok(Self {
                what,
                with_port: true,
            }),
        }
    }
}

const WHAT: &str = "give address, network[/24,/64], name, port, process, cgroup or user, or one of them and the port, \
                    such as address,port";

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
            Self::Name(_) => ("name", "names"),
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
            Self::Address | Self::Network(..) | Self::Name(_) | Self::Port => self.group(
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
            Self::Name(names) => match host {
                Host::Address(address) => GroupKey::Name(names.name(address)),
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
            ("name", None) => Ok(Self::Name(NetworkNames::none())),
            ("port", None) => Ok(Self::Port),
            ("process", None) => Ok(Self::Process),
            ("cgroup", None) => Ok(Self::Cgroup),
            ("user", None) => Ok(Self::User),
            _ => Err(WHAT.to_owned()),
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
            Self::Name(name) => f.write_str(name),
            Self::Port(Some(port)) => write!(f, "port {port}"),
            Self::Port(None) => f.write_str("unknown port"),
            Self::Process {
                pid,
                name,
                is_kernel_thread,
            } => {
                // Or a row could begin like that of another key: `other: 5`.
                let name = name.as_ref().map(|name| name.replace(": ", r"\u{3a} "));
                match (pid, name) {
                    (Some(pid), Some(name)) if *is_kernel_thread => {
                        write!(f, "{name}[{pid}] (kernel thread)")
                    }
                    (Some(pid), Some(name)) => write!(f, "{name}[{pid}]"),
                    (Some(pid), None) if *is_kernel_thread => write!(f, "kernel thread {pid}"),
                    (Some(pid), None) => write!(f, "pid {pid}"),
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
            Self::WithPort(key, port) => write!(f, "{key} {}", Self::Port(*port)),
        }
    }
}
