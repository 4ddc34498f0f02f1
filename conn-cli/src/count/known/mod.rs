//! Finds new clients: seen for the first time, and not in a list of known ones.

mod list;

use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io::{self, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::anyhow;
use ipnet::IpNet;

use crate::{
    model::{connection::Host, options::Lines},
    system::text::escaped,
};

/// The clients that are not new. Every client that was seen is remembered, so only the number of
/// clients bounds memory: some ten bytes for each IPv4 client and some thirty for each IPv6
/// client, of which a single network can have any number.
#[derive(Clone, Debug, Default)]
pub struct Known {
    // Separate, since an IPv4 address takes a quarter of the memory.
    ipv4: Set<Ipv4Addr>,
    ipv6: Set<Ipv6Addr>,
    names: Set<Box<str>>,
    unknown: bool,
    networks: Networks,
}

type Set<T> = HashSet<T, foldhash::fast::RandomState>;

/// Networks by prefix. Looking up an address takes one step for each prefix length, of which
/// there are few, however many networks there are.
#[derive(Clone, Debug, Default)]
struct Networks {
    ipv4_lengths: BTreeSet<u8>,
    ipv6_lengths: BTreeSet<u8>,
    prefixes: Set<IpNet>,
}

impl Known {
    /// The known clients, if lines are for new clients. None if every connection gets a line.
    /// Live, call this before dropping privileges: only its owner may be able to read the file.
    ///
    /// # Errors
    /// If the file of known clients cannot be read or has an invalid line.
    pub fn for_lines(lines: &Lines) -> anyhow::Result<Option<Self>> {
        match lines {
            Lines::NewClients { known: Some(file) } => Self::read(file).map(Some),
            Lines::NewClients { known: None } => Ok(Some(Self::default())),
            Lines::Connections | Lines::Intervals(_) | Lines::None => Ok(None),
        }
    }

    /// The clients in a file. A line is an address, a network such as `192.0.2.0/24`, or a line of
    /// conn-cli's own summary, such as `192.0.2.1: 5`. `#` starts a comment.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is none of these.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = escaped(path.as_os_str().as_encoded_bytes());
        let file = File::open(path).and_then(|file| {
            if file.metadata()?.is_dir() {
                Err(io::ErrorKind::IsADirectory.into())
            } else {
                Ok(file)
            }
        });
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => anyhow!("cannot read {name}: there is no such file"),
            io::ErrorKind::IsADirectory => anyhow!("cannot read {name}: it is a directory"),
            _ => anyhow!("cannot read {name}: {error}"),
        })?;
        list::read(BufReader::new(file), &name)
    }

    /// Whether a client is new: true the first time only, and never if it is in the file or in a
    /// network in the file. All unknown clients count as one.
    pub fn is_new(&mut self, host: &Host) -> bool {
        if let Host::Address(address) = host
            && self.networks.contain(*address)
        {
            return false;
        }
        self.remember(host)
    }

    /// Adds a client, and returns whether it was missing.
    fn remember(&mut self, host: &Host) -> bool {
        match host {
            Host::Address(IpAddr::V4(address)) => self.ipv4.insert(*address),
            Host::Address(IpAddr::V6(address)) => self.ipv6.insert(*address),
            // `insert` alone would copy a name that is nearly always there.
            Host::Name(name) => !self.names.contains(name) && self.names.insert(name.clone()),
            Host::Unknown => !std::mem::replace(&mut self.unknown, true),
        }
    }
}

impl Networks {
    fn insert(&mut self, network: IpNet) {
        match network {
            IpNet::V4(_) => self.ipv4_lengths.insert(network.prefix_len()),
            IpNet::V6(_) => self.ipv6_lengths.insert(network.prefix_len()),
        };
        self.prefixes.insert(network.trunc());
    }

    fn contain(&self, address: IpAddr) -> bool {
        let lengths = match address {
            IpAddr::V4(_) => &self.ipv4_lengths,
            IpAddr::V6(_) => &self.ipv6_lengths,
        };
        lengths.iter().any(|&length| {
            IpNet::new(address, length)
                .is_ok_and(|network| self.prefixes.contains(&network.trunc()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, fs, path::PathBuf};

    use super::*;

    /// A file that is removed on drop.
    struct File(PathBuf);

    impl File {
        fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
            let name = format!("conn-cli-known-{name}-{}", std::process::id());
            let file = Self(std::env::temp_dir().join(name));
            fs::write(&file.0, content).unwrap();
            file
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn read(content: &str) -> Known {
        list::read(content.as_bytes(), "list").unwrap()
    }

    fn is_new(known: &mut Known, host: &str) -> bool {
        known.is_new(&match host.parse::<IpAddr>() {
            Ok(address) => Host::at(address),
            Err(_) => Host::named(host.as_bytes()).unwrap(),
        })
    }

    #[test]
    fn client_is_new_only_once() {
        let mut known = Known::default();
        for host in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "web.example"] {
            assert!(is_new(&mut known, host), "{host}");
            assert!(!is_new(&mut known, host), "{host}");
        }
        assert!(known.is_new(&Host::Unknown));
        assert!(!known.is_new(&Host::Unknown));
        assert!(!is_new(&mut known, "::ffff:192.0.2.1"));
        assert!(is_new(&mut known, "::192.0.2.1"));
    }

    #[test]
    fn networks_of_any_prefix_length_match() {
        let mut known = read("0.0.0.0/0");
        assert!(!is_new(&mut known, "192.0.2.1"));
        assert!(is_new(&mut known, "2001:db8::1"));
        let mut known = read("::/0\n192.0.2.7/32");
        assert!(!is_new(&mut known, "2001:db8::1"));
        assert!(!is_new(&mut known, "192.0.2.7"));
        assert!(is_new(&mut known, "192.0.2.6"));
        let mut known = read("::ffff:10.0.0.0/104\n::ffff:0:0/95\n2001:db8::1/128");
        assert!(!is_new(&mut known, "10.9.9.9"));
        assert!(!is_new(&mut known, "2001:db8::1"));
        assert!(is_new(&mut known, "11.0.0.1"));
        assert!(is_new(&mut known, "2001:db8::2"));
    }

    #[test]
    fn overlapping_networks_all_match() {
        let mut known = read("10.0.0.0/24\n10.0.0.0/16\n10.0.0.0/30");
        assert!(!is_new(&mut known, "10.0.0.1"));
        assert!(!is_new(&mut known, "10.0.0.200"));
        assert!(!is_new(&mut known, "10.0.200.1"));
        assert!(is_new(&mut known, "10.1.0.1"));
    }

    #[test]
    fn read_errors_name_the_file() {
        let error = |path: &Path| format!("{:#}", Known::read(path).unwrap_err());
        let directory = error(&std::env::temp_dir());
        assert!(directory.ends_with("it is a directory"), "{directory}");
        let missing = error(Path::new("/nonexistent/\x1b[2J"));
        assert_eq!(
            missing,
            "cannot read /nonexistent/\\u{1b}[2J: there is no such file"
        );
        let file = File::with("bad", "192.0.2.1\nx");
        let bad = error(&file.0);
        assert!(
            bad.contains("conn-cli-known-bad") && bad.contains("line 2"),
            "{bad}"
        );
    }

    #[test]
    fn many_addresses_and_networks_are_found() {
        let mut list = String::new();
        for number in 0..100_000_u32 {
            let (address, network) = (Ipv4Addr::from(number * 7), number << 8 | 0xc000_0000);
            let network = Ipv4Addr::from(network);
            writeln!(list, "{address}\n{network}/{}", 24 + number % 9).unwrap();
        }
        let file = File::with("many", list);
        let mut known = Known::read(&file.0).unwrap();
        assert_eq!(known.networks.ipv4_lengths.len(), 9);
        assert!(!known.is_new(&Host::at(Ipv4Addr::from(99_999 * 7))));
        assert!(known.is_new(&Host::at(Ipv4Addr::from(99_999 * 7 + 1))));
        // 24 + 9 % 9: the whole of the network
        assert!(!known.is_new(&Host::at(Ipv4Addr::from(0xc000_09ff))));
        // 24 + 10 % 9: its first half
        assert!(known.is_new(&Host::at(Ipv4Addr::from(0xc000_0aff))));
    }
}
