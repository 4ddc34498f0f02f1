//! Filters for connections, apart from the local port.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};

use super::connection::{Connection, Family, Host};

/// Filters on the ends of a connection. The kernel applies them live, [`Self::wants`] to records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndsFilter {
    /// The client's networks.
    pub networks: Networks,
    /// The server's address.
    pub local: Option<IpAddr>,
    /// The family of the client's address.
    pub family: Option<Family>,
}

/// Filters on the accepting task. Only the kernel can apply them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// The process.
    pub pid: Option<u32>,
    /// The thread's name.
    pub comm: Option<Comm>,
    /// The user.
    pub uid: Option<u32>,
    /// The directory of a cgroup v2. Its descendants match too.
    pub cgroup: Option<PathBuf>,
}

/// Networks of clients. The longest prefix that contains a client decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Each network and whether its clients are wanted. If it is listed as both, they are not.
    rules: Vec<(IpNet, bool)>,
}

/// A network as options accept it: `192.0.2.0/24`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

/// The name of a thread, padded with NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comm(pub [u8; 16]);

/// The network namespaces whose connections are wanted, as `--netns` accepts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// Those of this machine: all but those that users made in user namespaces of their own.
    #[default]
    Machine,
    /// All.
    All,
    /// One.
    One(Namespace),
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(PathBuf);

impl EndsFilter {
    /// Whether a connection passes. It does not if a value that is filtered on is unknown.
    #[inline]
    #[must_use]
    pub fn wants(&self, connection: &Connection) -> bool {
        self.wants_client(&connection.remote)
            && match (&self.local, &connection.local) {
                (None, _) => true,
                (Some(wanted), Host::Address(local)) => wanted == local,
                (Some(_), _) => false,
            }
    }

    /// Whether connections of this client pass, apart from the server's address.
    #[inline]
    #[must_use]
    pub fn wants_client(&self, client: &Host) -> bool {
        if self.family.is_none() && self.networks.is_empty() {
            return true;
        }
        let Host::Address(address) = client else {
            return false;
        };
        let family = match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        };
        self.family.is_none_or(|wanted| wanted == family) && self.networks.wants(*address)
    }
}

impl TaskFilter {
    /// Whether everything passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Networks {
    /// The wanted and the unwanted networks. Without a wanted network, all
    /// clients in no unwanted one pass.
    #[must_use]
    pub fn new(wanted: &[Network], unwanted: &[Network]) -> Self {
        let rule = |wanted| move |network: &Network| (network.0.trunc(), wanted);
        // Unwanted networks last: the last rule for a network wins.
        let rules = wanted.iter().map(rule(true));
        Self {
            rules: rules.chain(unwanted.iter().map(rule(false))).collect(),
        }
    }

    /// Whether everything passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Each network and whether it is wanted. The last rule for a network wins.
    #[must_use]
    pub fn rules(&self) -> &[(IpNet, bool)] {
        &self.rules
    }

    /// Whether clients that are in none of the networks pass.
    #[must_use]
    pub fn wants_others(&self) -> bool {
        !self.rules.iter().any(|(_, wanted)| *wanted)
    }

    /// The wanted or the unwanted networks, as options accept them.
    pub(crate) fn listed(&self, wanted: bool) -> Vec<String> {
        let listed = self.rules.iter().filter(|(_, rule)| *rule == wanted);
        let shown = |network: &IpNet| match network.prefix_len() == network.max_prefix_len() {
            true => network.addr().to_string(),
            false => network.to_string(),
        };
        listed.map(|(network, _)| shown(network)).collect()
    }

    fn wants(&self, client: IpAddr) -> bool {
        self.rules
            .iter()
            .filter(|(network, _)| network.contains(&client))
            .max_by_key(|(network, _)| network.prefix_len())
            .map_or_else(|| self.wants_others(), |(_, wanted)| *wanted)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address.to_canonical())),
            Err(_) => text.parse().ok(),
        };
        network
            .map(|network| Self(canonical(network)))
            .ok_or_else(|| "give an address, or a network such as 192.0.2.0/24".to_owned())
    }
}

/// Converts a network of IPv4-mapped addresses to IPv4, as is done for single addresses.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(ipv6) => ipv6.network().to_ipv4_mapped(),
        IpNet::V4(_) => None,
    };
    // With a prefix shorter than 96 bits, not all addresses in the network are IPv4-mapped.
    match (mapped, network.prefix_len().checked_sub(96)) {
        (Some(ipv4), Some(length)) => Ipv4Net::new(ipv4, length).map_or(network, IpNet::V4),
        _ => network,
    }
}

impl FromStr for Comm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The kernel truncates names to this length.
        if text.is_empty() || text.len() > 15 {
            return Err("a thread name has 1 to 15 bytes".to_owned());
        }
        let mut comm = [0; 16];
        comm[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(comm))
    }
}

impl FromStr for Namespaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return Ok(Self::One(Namespace(format!("/proc/{text}/ns/net").into())));
        }
        if text.contains('/') {
            return Ok(Self::One(Namespace(PathBuf::from(text))));
        }
        Err("give a process id, a path such as /run/netns/blue, or all".to_owned())
    }
}

impl Namespaces {
    /// The only one that is wanted.
    #[must_use]
    pub fn one(&self) -> Option<&Namespace> {
        match self {
            Self::One(namespace) => Some(namespace),
            Self::Machine | Self::All => None,
        }
    }
}

impl Namespace {
    /// The namespace's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(wanted: &[&str], unwanted: &[&str]) -> Networks {
        let parse = |texts: &[&str]| -> Vec<Network> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        Networks::new(&parse(wanted), &parse(unwanted))
    }

    fn passes(networks: &Networks, client: &str) -> bool {
        networks.wants(client.parse().unwrap())
    }

    #[test]
    fn longest_prefix_decides() {
        let nested = networks(&["10.0.0.0/8", "10.1.2.3"], &["10.1.0.0/16"]);
        for (client, wanted) in [
            ("10.2.0.1", true),
            ("10.1.0.1", false),
            ("10.1.2.3", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(passes(&nested, client), wanted, "{client}");
        }
    }

    #[test]
    fn others_pass_without_a_wanted_network() {
        let unwanted = networks(&[], &["192.0.2.0/24", "2001:db8::/32"]);
        for (client, wanted) in [
            ("192.0.2.1", false),
            ("2001:db8::1", false),
            ("10.0.0.1", true),
            ("::1", true),
        ] {
            assert_eq!(passes(&unwanted, client), wanted, "{client}");
        }
        assert!(passes(&Networks::default(), "10.0.0.1"));
    }

    #[test]
    fn network_listed_as_both_is_unwanted() {
        let both = networks(&["10.0.0.0/8"], &["10.7.7.7/8"]);
        assert!(!passes(&both, "10.0.0.1"));
    }

    #[test]
    fn unknown_values_do_not_pass() {
        let filter = EndsFilter {
            networks: networks(&["0.0.0.0/0"], &[]),
            ..EndsFilter::default()
        };
        assert!(filter.wants_client(&Host::at([192, 0, 2, 1])));
        assert!(!filter.wants_client(&Host::Unknown));
        assert!(!filter.wants_client(&Host::named(b"client").unwrap()));
        assert!(EndsFilter::default().wants_client(&Host::Unknown));
        let only_ipv6 = EndsFilter {
            family: Some(Family::Ipv6),
            ..EndsFilter::default()
        };
        assert!(!only_ipv6.wants_client(&Host::at([192, 0, 2, 1])));
    }

    #[test]
    fn invalid_values_are_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0",
            "host",
            "10.0.0.1/",
            "/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert!("sixteen bytes...".parse::<Comm>().is_err());
        assert!("".parse::<Comm>().is_err());
        for text in ["", "blue", "-1", "12x"] {
            assert!(text.parse::<Namespaces>().is_err(), "{text}");
        }
        let namespaces: Namespaces = "12".parse().unwrap();
        let only = namespaces.one().unwrap();
        assert_eq!(only.to_string(), "/proc/12/ns/net");
        assert_eq!("all".parse(), Ok(Namespaces::All));
    }
}
