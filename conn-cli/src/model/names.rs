//! Networks that the user has named: a client belongs to the one with the longest prefix.

use std::{net::IpAddr, str::FromStr, sync::LazyLock};

use ipnet::{IpNet, Ipv4Net};

use super::{
    connection::Host,
    filter::Network,
    ranges::{number, range, ranges},
};

/// The name of all clients in no named network.
pub const OTHER: &str = "other";

/// How many names there can be, with [`OTHER`]: each is a label of metrics, which are bounded.
pub const MAX_NAMES: usize = 256;

/// How many networks there can be. The kernel looks one up in as many steps as it has bits at most.
pub const MAX_NETWORKS: usize = 65_536;

/// A network and its name, as options accept them: `office=10.1.0.0/16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNetwork {
    name: Box<str>,
    network: IpNet,
}

/// All of them.
#[derive(Debug, PartialEq, Eq)]
pub struct NetworkNames {
    /// The first one is [`OTHER`].
    names: Vec<Box<str>>,
    networks: Vec<(IpNet, usize)>,
    /// The first address, as IPv6, from which on a name applies, ascending; the first one is 0.
    starts: Vec<(u128, usize)>,
}

impl FromStr for NamedNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, network) = text
            .split_once('=')
            .ok_or("give a name and a network, such as office=10.1.0.0/16")?;
        check(name)?;
        let Network(network) = network.parse()?;
        Ok(Self {
            name: name.into(),
            network: network.trunc(),
        })
    }
}

/// A name is a word in a row, so it can be nothing that another row begins with.
fn check(name: &str) -> Result<(), String> {
    let is_part = |part: char| part.is_alphanumeric() || "-_.".contains(part);
    if name.len() > 63 || !name.contains(char::is_alphabetic) || !name.chars().all(is_part) {
        return Err(
            "a name has up to 63 bytes: at least one letter, digits, '-', '_' and '.'".to_owned(),
        );
    }
    if [OTHER, "unknown"].contains(&name) {
        return Err(format!("{name} cannot be the name of a network"));
    }
    Ok(())
}

impl NetworkNames {
    /// Those of somebody who has named nothing.
    pub(crate) fn none() -> &'static Self {
        static NONE: LazyLock<NetworkNames> = LazyLock::new(|| NetworkNames {
            names: vec![OTHER.into()],
            networks: Vec::new(),
            starts: vec![(0, 0)],
        });
        &NONE
    }

    /// # Errors
    /// If a network has two names, or there are more than [`MAX_NAMES`] or [`MAX_NETWORKS`].
    pub fn new(named: &[NamedNetwork]) -> Result<Self, String> {
        let mut names: Vec<Box<str>> = vec![OTHER.into()];
        let mut networks = Vec::new();
        for NamedNetwork { name, network } in named {
            let known = names.iter().position(|known| known == name);
            let index = known.unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            });
            networks.push((*network, index));
        }
        if names.len() > MAX_NAMES || networks.len() > MAX_NETWORKS {
            return Err(format!(
                "there can be {} names, of {MAX_NETWORKS} networks",
                MAX_NAMES - 1
            ));
        }
        // What contains another comes before it.
        networks.sort_by_key(|(network, index)| (range(*network).0, network.prefix_len(), *index));
        networks.dedup();
        if let Some(pair) = networks.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!(
                "{} has two names, {} and {}",
                pair[0].0, names[pair[0].1], names[pair[1].1]
            ));
        }
        // IPv4 clients are in networks of IPv4 only.
        let all_of_ipv4 = Ipv4Net::default().into();
        if networks.iter().all(|(network, _)| *network != all_of_ipv4) {
            let first = networks.partition_point(|(network, _)| range(*network).0 < V4_START);
            networks.insert(first, (all_of_ipv4, 0));
        }
        Ok(Self {
            starts: {
                let given = networks
                    .iter()
                    .map(|(network, index)| (range(*network), *index));
                ranges(given, 0, |index, _| index)
            },
            names,
            networks,
        })
    }

    /// The names by their index; that of all others is the first.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// Each network, once, and the index of its name. That of all of IPv4 is among them, since in the form of
    /// IPv6 it is in others.
    #[must_use]
    pub fn networks(&self) -> &[(IpNet, usize)] {
        &self.networks
    }

    /// The index of the name of the network with the longest prefix that this address is in.
    #[must_use]
    pub fn index(&self, address: IpAddr) -> usize {
        let address = number(address);
        let after = self.starts.partition_point(|(start, _)| *start <= address);
        self.starts[after - 1].1
    }

    /// That name.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> &str {
        &self.names[self.index(address)]
    }

    /// That of a client, if networks have names and the client has an address.
    pub(crate) fn of(names: Option<&'static Self>, client: &Host) -> Option<&'static str> {
        Some(names?.name(client.address()?))
    }
}

/// The first of the IPv4-mapped addresses.
const V4_START: u128 = 0xffff << 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(named: &[&str]) -> Result<NetworkNames, String> {
        let named: Vec<_> = named.iter().map(|text| text.parse().unwrap()).collect();
        NetworkNames::new(&named)
    }

    #[test]
    fn the_longest_prefix_names_a_client() {
        let named = [
            "all6=::/0",
            "office=10.1.0.0/16",
            "ten=10.0.0.0/8",
            "desk=10.1.2.3",
            "office=10.1.2.0/24",
            "last=ffff::/16",
            "low=10.0.0.0/16",
            "v4=0.0.0.0/1",
        ];
        let named = names(&named).unwrap();
        for (address, name) in [
            ("10.0.0.0", "low"),
            ("10.0.255.255", "low"),
            ("10.1.0.0", "office"),
            ("10.1.2.2", "office"),
            ("10.1.2.3", "desk"),
            ("10.1.2.4", "office"),
            ("10.1.255.255", "office"),
            ("10.2.0.0", "ten"),
            ("10.255.255.255", "ten"),
            ("11.0.0.0", "v4"),
            ("127.255.255.255", "v4"),
            // IPv4 addresses are in the networks of IPv4 alone.
            ("128.0.0.0", "other"),
            ("::", "all6"),
            ("ffff::1", "last"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "last"),
            ("fffe:ffff::", "all6"),
        ] {
            assert_eq!(named.name(address.parse().unwrap()), name, "{address}");
        }
    }

    #[test]
    fn the_rest_is_other() {
        let named = names(&["top=ffff:ffff:ffff:ffff::/64", "one=192.0.2.0/24"]).unwrap();
        for other in ["::", "192.0.1.255", "192.0.3.0", "ffff:ffff:ffff:fffe::"] {
            assert_eq!(named.name(other.parse().unwrap()), OTHER, "{other}");
        }
        assert_eq!(named.name("192.0.2.0".parse().unwrap()), "one");
        assert_eq!(named.name("ffff:ffff:ffff:ffff::1".parse().unwrap()), "top");
        assert_eq!(names(&[]).unwrap().index("::1".parse().unwrap()), 0);
    }

    #[test]
    fn wrong_names_are_refused() {
        for text in [
            "10.0.0.0/8",
            "=10.0.0.0/8",
            "a b=10.0.0.0/8",
            "a:=::/0",
            "other=::/0",
            "unknown=::/0",
            "10.0.0.1=::/0",
            "5=::/0",
            "10.0=::/0",
            "---=::/0",
            "\u{202e}x=::/0",
            "office=10.0.0.0/33",
            "office=",
        ] {
            assert!(text.parse::<NamedNetwork>().is_err(), "{text}");
        }
        let two = names(&["a=10.0.0.0/8", "b=10.9.9.9/8"]).unwrap_err();
        assert_eq!(two, "10.0.0.0/8 has two names, a and b");
        assert!(names(&["a=10.0.0.0/8", "a=10.9.9.9/8"]).is_ok());
        let many: Vec<String> = (0..256).map(|n| format!("n{n}=10.0.{n}.0/24")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(names(&many).is_err());
        assert!(names(&many[1..]).is_ok());
    }
}
