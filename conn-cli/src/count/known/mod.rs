//! Finds new clients: seen for the first time, and not in a list of known ones.

mod json;
mod line;
mod list;

use std::{
    collections::{BTreeSet, HashSet},
    io::BufReader,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::bail;
use ipnet::IpNet;

use self::line::Entry;
use crate::{
    model::{
        connection::Host,
        filter::Network,
        group::GroupKey,
        options::{Lines, ShowOptions},
    },
    system::{files, text::escaped},
};

/// The clients that are not new: those in the file, and those that were seen.
#[derive(Clone, Debug, Default)]
pub struct Known {
    listed: Clients,
    seen: Clients,
}

/// Clients. Every client that was seen is remembered, so only the number of clients bounds memory: some
/// ten bytes for each IPv4 client and some thirty for each IPv6 client, of which a single network can
/// have any number.
#[derive(Clone, Debug, Default)]
struct Clients {
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
    /// The known clients, if only new ones have a line or a row. None if all have.
    /// Live, call this before dropping privileges: only its owner may be able to read the file.
    ///
    /// # Errors
    /// If the file of known clients cannot be read or has an invalid line.
    pub fn for_options(options: &ShowOptions) -> anyhow::Result<Option<Self>> {
        match (&options.known, &options.lines) {
            (Some(file), _) => Self::read(file).map(Some),
            (None, Lines::NewClients) => Ok(Some(Self::default())),
            (None, Lines::Connections | Lines::Intervals(_) | Lines::None) => Ok(None),
        }
    }

    /// The clients in a file. A line is an address or a network such as `192.0.2.0/24`, with a comment
    /// behind it, or what conn-cli prints.
    ///
    /// # Errors
    /// If the file cannot be read, is none, or is too long, or if a line is none of these.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = escaped(path.as_os_str().as_encoded_bytes());
        let (file, length) = files::open_regular(path)?;
        if length > list::MAX_LEN {
            bail!(list::too_long(&name));
        }
        Ok(Self {
            listed: list::read(BufReader::new(file), &name)?,
            seen: Clients::default(),
        })
    }

    /// Whether a client is new: true the first time only, and never if it is in the file or in a
    /// network in the file. All unknown clients count as one.
    pub fn is_new(&mut self, host: &Host) -> bool {
        !self.listed.contain(host) && self.seen.remember(host)
    }

    /// Whether a client is in the file, or in a network in the file.
    #[must_use]
    pub fn lists(&self, client: &GroupKey) -> bool {
        matches!(client, GroupKey::Client(host) if self.listed.contain(host))
    }
}

impl Clients {
    fn contain(&self, host: &Host) -> bool {
        match host {
            Host::Address(address) => {
                let is_listed = match address {
                    IpAddr::V4(address) => self.ipv4.contains(address),
                    IpAddr::V6(address) => self.ipv6.contains(address),
                };
                is_listed || self.networks.contain(*address)
            }
            Host::Name(name) => self.names.contains(name),
            Host::Unknown => self.unknown,
        }
    }

    fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Host(host) => {
                self.remember(host);
            }
            Entry::Network(Network(network)) => self.networks.insert(*network),
        }
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

    /// How many entries there are.
    fn len(&self) -> usize {
        self.ipv4.len() + self.ipv6.len() + self.names.len() + self.networks.prefixes.len()
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

    use rustix::fs::{CWD, FileType, Mode, mknodat};

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
        Known {
            listed: list::read(content.as_bytes(), "list").unwrap(),
            seen: Clients::default(),
        }
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
    fn only_regular_files_are_read() {
        let directory = std::env::temp_dir().join(format!("conn-cli-known-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let fifo = directory.join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let link = directory.join("link");
        std::os::unix::fs::symlink("list", &link).unwrap();
        fs::write(directory.join("list"), "192.0.2.1").unwrap();
        for path in [&fifo, Path::new("/dev/zero"), Path::new("/dev/tty")] {
            // A test may have no terminal.
            let error = format!("{:#}", Known::read(path).unwrap_err());
            let is_refused = error.ends_with("it is not a regular file");
            assert!(is_refused || path == Path::new("/dev/tty"), "{error}");
        }
        assert!(!is_new(&mut Known::read(&link).unwrap(), "192.0.2.1"));
        let large = File::with("large", "192.0.2.1");
        let file = fs::OpenOptions::new().write(true).open(&large.0).unwrap();
        file.set_len(list::MAX_LEN + 1).unwrap();
        let error = format!("{:#}", Known::read(&large.0).unwrap_err());
        assert!(error.contains("larger than 64 MiB"), "{error}");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn who_was_seen_is_not_listed() {
        let mut known = read("192.0.2.1\n198.51.100.0/24");
        let client = |address: [u8; 4]| GroupKey::Client(Host::at(address));
        assert!(is_new(&mut known, "192.0.2.2"));
        assert!(!is_new(&mut known, "192.0.2.2"));
        assert!(known.lists(&client([192, 0, 2, 1])) && known.lists(&client([198, 51, 100, 7])));
        assert!(!known.lists(&client([192, 0, 2, 2])));
        assert!(!known.lists(&GroupKey::Client(Host::Unknown)));
        assert!(!known.lists(&GroupKey::Port(Some(80))));
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
        assert_eq!(known.listed.networks.ipv4_lengths.len(), 9);
        assert!(!known.is_new(&Host::at(Ipv4Addr::from(99_999 * 7))));
        assert!(known.is_new(&Host::at(Ipv4Addr::from(99_999 * 7 + 1))));
        // 24 + 9 % 9: the whole of the network
        assert!(!known.is_new(&Host::at(Ipv4Addr::from(0xc000_09ff))));
        // 24 + 10 % 9: its first half
        assert!(known.is_new(&Host::at(Ipv4Addr::from(0xc000_0aff))));
    }
}
