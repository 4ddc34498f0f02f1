//! A connection, independent of what reported it and of how it is shown.

use std::{borrow::Cow, fmt, net::IpAddr, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{clock::Clock, hook::Hook, machine::Machine, stage::Stage};
use crate::system::text::escaped;

/// The longest host name, in bytes (RFC 1035).
const MAX_NAME_LEN: usize = 255;

/// One new connection to a server, or an attempt at one, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// When it reached its stage. For a packet, when the packet was seen.
    pub time: When,
    /// The client. An IPv4 client of an IPv6 server has its IPv4 address here.
    pub remote: Host,
    /// The client's port.
    pub remote_port: Option<u16>,
    /// The server.
    pub local: Host,
    /// The server's port.
    pub local_port: Option<u16>,
    /// The family of the server's socket.
    pub family: Option<Family>,
    /// The process that accepted it.
    pub process: Option<Process>,
    /// The inode number of the network namespace.
    pub netns: Option<u32>,
    /// How long it waited, established, until it was accepted.
    pub wait: Option<Duration>,
    /// What reported it.
    pub source: Source,
    /// The machine that it was recorded on, if the record says so and that is wanted.
    pub machine: Option<Machine>,
}

/// When something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// A complete timestamp.
    At(Timestamp),
    /// The time in a record, which is not a complete timestamp. Boxed because connections are moved often.
    Recorded(Box<Recorded>),
    /// Only how far it is from others, since no more is wanted of a time that lacks something.
    Clock(Clock),
    /// Not known.
    Unknown,
}

/// A time as it appears in a record, and what it lacks. It is shown unchanged, since completing
/// it is guessing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The unchanged text. The parser that creates it checks that it is printable.
    pub text: Box<str>,
    /// What is missing.
    pub lacks: Lacks,
    /// The moment that was most likely meant, for what cannot do without one.
    pub assumed: Option<Moment>,
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// On the calendar.
    At(Timestamp),
    /// Relative to a boot whose time is not known.
    SinceBoot {
        /// Tells the boots of a run of conn-cli apart.
        boot: u32,
        /// The time since then.
        time: Duration,
    },
}

/// What a recorded time lacks to be a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Lacks {
    /// The date, as in `14:25:37.123456`.
    Date,
    /// The year, as in `Nov 22 14:25:37`.
    Year,
    /// The time zone, as in `2026-11-22 14:25:37`.
    Zone,
    /// The time of boot: it is in seconds since then.
    Boot,
    /// The time of an earlier record, mostly the previous one: it is relative to that.
    Before,
}

/// One end of a connection. The order of the variants is the order in lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// Its address.
    Address(IpAddr),
    /// Its name, if a record has no address. See [`Host::named`].
    Name(Box<str>),
    /// Not known.
    Unknown,
}

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `AF_INET`
    Ipv4,
    /// `AF_INET6`, perhaps with an IPv4 client
    Ipv6,
}

/// The process that accepted a connection, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: Option<u32>,
    /// The thread id.
    pub tid: Option<u32>,
    /// The user id.
    pub uid: Option<u32>,
    /// The cgroup v2 id.
    pub cgroup: Option<u64>,
    /// The thread's name, padded with NUL. It may be any bytes: the process chooses them.
    pub comm: Option<[u8; 16]>,
    /// Whether it is a kernel thread, as far as is known.
    pub is_kernel_thread: bool,
}

/// What reported a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A hook in the kernel, now or when conn-cli wrote the record.
    Hook(Hook),
    /// The second hook of the kretprobe pair alone: the kretprobe could not see this connection.
    SecondHook,
    /// A record of another program.
    Record(Record),
}

/// A record of another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// A line of the kernel log, from iptables or nftables.
    KernelLog,
    /// A line of tcpdump's output.
    Tcpdump,
    /// A captured packet.
    Pcap,
    /// A system call in strace's output.
    Strace,
    /// A line of text of conn-cli.
    Text,
    /// A row of tcpaccept or tcptracer.
    Tcpaccept,
    /// An event of conntrack.
    Conntrack,
    /// A line of Zeek's conn.log.
    Zeek,
    /// A flow of Suricata's eve.json.
    Suricata,
    /// A flow of a VPC flow log.
    VpcFlow,
}

impl Connection {
    /// A connection of which only this is known.
    #[must_use]
    pub fn unknown(source: Source) -> Self {
        Self {
            time: When::Unknown,
            remote: Host::Unknown,
            remote_port: None,
            local: Host::Unknown,
            local_port: None,
            family: None,
            process: None,
            netns: None,
            wait: None,
            source,
            machine: None,
        }
    }

    /// How far it has got.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.source {
            Source::Hook(hook) => hook.stage(),
            Source::SecondHook => Hook::Kretprobe.stage(),
            Source::Record(record) => record.stage(),
        }
    }
}

/// The name of [`Source::SecondHook`] in JSON.
const SECOND_HOOK: &str = "kprobe";

impl Source {
    /// The name of the hook in JSON, if a hook saw the connection.
    #[must_use]
    pub fn hook_name(self) -> Option<&'static str> {
        match self {
            Self::Hook(hook) => Some(hook.name()),
            Self::SecondHook => Some(SECOND_HOOK),
            Self::Record(_) => None,
        }
    }

    /// The source with this name of a hook.
    #[must_use]
    pub fn from_hook_name(name: &str) -> Option<Self> {
        match name {
            SECOND_HOOK => Some(Self::SecondHook),
            name => Hook::from_name(name).map(Self::Hook),
        }
    }
}

impl Record {
    /// The stage that such records are of.
    #[must_use]
    pub fn stage(self) -> Stage {
        match self {
            Self::KernelLog
            | Self::Tcpdump
            | Self::Pcap
            | Self::Conntrack
            | Self::Zeek
            | Self::Suricata
            | Self::VpcFlow => Stage::Syn,
            Self::Strace | Self::Text | Self::Tcpaccept => Stage::Accepted,
        }
    }
}

impl Host {
    /// A host with this name. None if it has other characters than host names have: names are
    /// shown unescaped, and a log may contain anything.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        if name.is_empty() || name.len() > MAX_NAME_LEN || !name.iter().all(is_plain) {
            return None;
        }
        Some(Self::Name(str::from_utf8(name).ok()?.into()))
    }

    /// A host with this address. An IPv4-mapped address becomes IPv4.
    #[must_use]
    pub fn at(address: impl Into<IpAddr>) -> Self {
        Self::Address(address.into().to_canonical())
    }

    /// Its address, if that is known.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) | Self::Unknown => None,
        }
    }

    /// Its name, if a record has that in place of the address.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl When {
    /// The moment, even if part of it is only assumed.
    #[must_use]
    pub fn moment(&self) -> Option<Moment> {
        match self {
            Self::At(time) => Some(Moment::At(*time)),
            Self::Recorded(recorded) => recorded.assumed,
            Self::Clock(_) | Self::Unknown => None,
        }
    }

    /// The same, if it is on the calendar.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self.moment() {
            Some(Moment::At(time)) => Some(time),
            Some(Moment::SinceBoot { .. }) | None => None,
        }
    }
}

impl Process {
    /// The thread's name, safe to show.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'_, str>> {
        self.comm.as_ref().map(thread_name)
    }
}

/// A thread's name without its padding, safe to show.
#[must_use]
pub fn thread_name(comm: &[u8; 16]) -> Cow<'_, str> {
    let end = comm.iter().position(|&byte| byte == 0);
    let name = &comm[..end.unwrap_or(comm.len())];
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
    match str::from_utf8(name) {
        // Most names are plain, and need no allocation.
        Ok(name) if name.as_bytes().iter().all(is_plain) => Cow::Borrowed(name),
        _ => Cow::Owned(escaped(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_not_escaped() {
        assert_eq!(escaped(b"nginx: worker"), "nginx: worker");
        assert_eq!(escaped("café".as_bytes()), "café");
        assert_eq!(escaped(b"sixteen bytes..."), "sixteen bytes...");
        assert_eq!(escaped(b""), "");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped(b"\x1b[2Jevil"), "\\u{1b}[2Jevil");
        assert_eq!(escaped(b"a\r\nb\x7f"), "a\\r\\nb\\u{7f}");
        // C1 control characters, which some terminals obey
        assert_eq!(escaped("\u{9b}31m".as_bytes()), "\\u{9b}31m");
        assert_eq!(escaped("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(escaped(b"\xff\xfea"), "\\xff\\xfea");
        assert_eq!(escaped(b"back\\slash"), "back\\\\slash");
    }

    #[test]
    fn thread_name_excludes_padding() {
        let process = |comm| Process {
            pid: None,
            tid: Some(1),
            uid: None,
            cgroup: None,
            comm,
            is_kernel_thread: false,
        };
        for (comm, name) in [
            (*b"nginx\0\0\0\0\0\0\0\0\0\0\0", "nginx"),
            (*b"sixteen bytes...", "sixteen bytes..."),
            (*b"a\\b\x1b\0\0\0\0\0\0\0\0\0\0\0\0", "a\\\\b\\u{1b}"),
        ] {
            assert_eq!(process(Some(comm)).name().as_deref(), Some(name));
        }
        assert_eq!(process(None).name(), None);
    }

    #[test]
    fn ipv4_mapped_addresses_become_ipv4() {
        let at = |text: &str| Host::at(text.parse::<IpAddr>().unwrap()).to_string();
        assert_eq!(at("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(at("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");
    }

    #[test]
    fn host_names_with_other_characters_are_refused() {
        let named = |name: &str| Host::named(name.as_bytes()).map(|host| host.to_string());
        assert_eq!(
            named("web-1.example.org").as_deref(),
            Some("web-1.example.org")
        );
        for name in ["", "a b", "a\x1b[2J", "caf\u{e9}", "a/b", &"a".repeat(256)] {
            assert_eq!(named(name), None, "{name}");
        }
    }

    #[test]
    fn addresses_sort_before_names() {
        let mut hosts = [
            Host::Unknown,
            Host::named(b"a").unwrap(),
            Host::at("::1".parse::<IpAddr>().unwrap()),
            Host::at([10, 0, 0, 10]),
            Host::at([10, 0, 0, 9]),
        ];
        hosts.sort();
        let hosts: Vec<_> = hosts.iter().map(Host::to_string).collect();
        assert_eq!(hosts, ["10.0.0.9", "10.0.0.10", "::1", "a", "unknown"]);
    }
}
