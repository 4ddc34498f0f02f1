//! The networks that the programs look clients up in: those of the filter, and those with a name.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{LpmTrie, lpm_trie::Key},
};
use conn_common::NetworkEntry;
use ipnet::{IpNet, Ipv4Net};

use super::{event::words, names};
use crate::model::{filter::Networks, names::NetworkNames};

/// An entry of the trie of networks. One whose prefix is longer decides alone, so each has all that applies
/// to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    prefix: Prefix,
    wanted: bool,
    name: usize,
}

/// The first address of a network, as IPv6, and how many of its bits all its addresses have.
type Prefix = (u128, u32);

/// The entries for a filter and names, each prefix once.
pub(super) fn entries(networks: &Networks, names: Option<&NetworkNames>) -> Vec<Entry> {
    let names = names.map_or(&[][..], NetworkNames::networks);
    let mut given: BTreeMap<Prefix, (Option<bool>, Option<usize>)> = BTreeMap::new();
    // IPv4 clients have mapped addresses, which are in networks of IPv6 such as ::/0.
    let rest = (Some(networks.wants_others()), Some(0));
    given.insert(prefix(Ipv4Net::default().into()), rest);
    for (network, wanted) in networks.rules() {
        // Of several rules for a network, the last one applies.
        given.entry(prefix(*network)).or_default().0 = Some(*wanted);
    }
    for (network, name) in names {
        given.entry(prefix(*network)).or_default().1 = Some(*name);
    }
    // The entries around the current one: what contains another comes before it.
    let mut around: Vec<Entry> = Vec::new();
    let with_rest = |(prefix, (wanted, name)): (Prefix, (Option<bool>, Option<usize>))| {
        while around
            .pop_if(|entry| !contains(entry.prefix, prefix))
            .is_some()
        {}
        let next = around.last();
        let entry = Entry {
            prefix,
            wanted: wanted
                .unwrap_or_else(|| next.map_or(networks.wants_others(), |next| next.wanted)),
            name: name.unwrap_or_else(|| next.map_or(0, |next| next.name)),
        };
        around.push(entry);
        entry
    };
    given.into_iter().map(with_rest).collect()
}

/// Fills the trie.
///
/// # Errors
/// An error of the kernel.
pub(super) fn set(ebpf: &mut Ebpf, entries: &[Entry]) -> anyhow::Result<()> {
    let map = ebpf.map_mut(names::NETWORKS).context("no such map")?;
    let mut map = LpmTrie::<_, [u8; 16], [u8; size_of::<NetworkEntry>()]>::try_from(map)?;
    for entry in entries {
        let (first, length) = entry.prefix;
        let value: [u8; _] = bytemuck::cast(NetworkEntry {
            passes: entry.wanted.into(),
            name: entry.name as u32,
        });
        map.insert(&Key::new(length, first.to_be_bytes()), value, 0)?;
    }
    Ok(())
}

fn prefix(network: IpNet) -> Prefix {
    let mapped_length = match network {
        IpNet::V4(_) => 96,
        IpNet::V6(_) => 0,
    };
    let first: [u8; 16] = bytemuck::cast(words(network.network()));
    let length = mapped_length + u32::from(network.prefix_len());
    (u128::from_be_bytes(first), length)
}

/// Whether the second prefix, which is longer or comes later, is in the first.
fn contains((first, length): Prefix, (other, other_length): Prefix) -> bool {
    let differ = (first ^ other).checked_shr(128 - length).unwrap_or(0);
    length <= other_length && differ == 0
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::IpAddr};

    use super::*;
    use crate::model::{
        connection::Host,
        filter::{EndsFilter, Network},
        names::NamedNetwork,
    };

    /// What the kernel and the programs make of a filter and names.
    struct Trie {
        entries: HashMap<Prefix, Entry>,
        wants_others: bool,
    }

    impl Trie {
        fn new(networks: &Networks, names: Option<&NetworkNames>) -> Self {
            let given = entries(networks, names);
            let entries: HashMap<_, _> = given.iter().map(|entry| (entry.prefix, *entry)).collect();
            assert_eq!(entries.len(), given.len());
            Self {
                entries,
                wants_others: networks.wants_others(),
            }
        }

        /// Whether a client passes, and its name: those of the longest prefix, if there is one.
        fn look_up(&self, client: IpAddr) -> (bool, usize) {
            let client = u128::from_be_bytes(bytemuck::cast(words(client)));
            let longest = (0..=128).rev().find_map(|length| {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                self.entries.get(&(client & mask, length))
            });
            longest.map_or((self.wants_others, 0), |entry| (entry.wanted, entry.name))
        }
    }

    /// Networks in and next to each other, with the same first address, and around all of IPv4.
    const NETWORKS: [&str; 8] = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3",
        "::/0",
        "2001:db8::/32",
        "2001:db8::1",
        "::ffff:10.1.0.0/112",
    ];

    const CLIENTS: [&str; 7] = [
        "10.1.2.3",
        "10.1.9.9",
        "10.9.9.9",
        "192.0.2.1",
        "2001:db8::1",
        "2001:db8::2",
        "::1",
    ];

    /// The filter with the wanted and unwanted ones of these networks: a digit to the base 3 for each.
    fn filter(networks: &[&str], choice: usize) -> EndsFilter {
        let with_state = |state: usize| -> Vec<Network> {
            let chosen = |at: &usize| choice / 3_usize.pow(*at as u32) % 3 == state;
            (0..networks.len())
                .filter(chosen)
                .map(|at| networks[at].parse().unwrap())
                .collect()
        };
        EndsFilter {
            networks: Networks::new(&with_state(1), &with_state(2)),
            ..EndsFilter::default()
        }
    }

    #[test]
    fn the_kernel_and_user_space_filter_alike() {
        // Every combination of wanted, unwanted and unnamed networks.
        for choice in 0..3_usize.pow(NETWORKS.len() as u32) {
            let filter = filter(&NETWORKS, choice);
            let networks = &filter.networks;
            let trie = Trie::new(networks, None);
            for client in CLIENTS {
                let client: IpAddr = client.parse().unwrap();
                assert_eq!(
                    networks.is_empty() || trie.look_up(client).0,
                    filter.wants_client(&Host::at(client)),
                    "{client}: {networks:?}"
                );
            }
        }
    }

    #[test]
    fn names_and_filters_that_overlap_apply_alike() {
        const FILTERS: [&str; 5] = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.2.0/24",
            "::/0",
            "2001:db8::/48",
        ];
        const NAMES: [&str; 7] = [
            "a=0.0.0.0/0",
            "b=10.0.0.0/16",
            "c=10.1.0.0/16",
            "d=10.1.2.3",
            "e=::/0",
            "b=2001:db8::/32",
            // IPv4 clients are not in it, though their mapped addresses are.
            "f=::ffff:0:0/95",
        ];
        let clients = CLIENTS.into_iter().chain([
            "10.0.0.0",
            "10.0.255.255",
            "10.1.2.255",
            "0.0.0.1",
            "::fffe:1",
            "2001:db8:1::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ]);
        let clients: Vec<IpAddr> = clients.map(|client| client.parse().unwrap()).collect();
        for choice in 0..3_usize.pow(FILTERS.len() as u32) {
            let filter = filter(&FILTERS, choice);
            for chosen in 1..1_usize << NAMES.len() {
                let named: Vec<NamedNetwork> = (0..NAMES.len())
                    .filter(|at| chosen >> at & 1 == 1)
                    .map(|at| NAMES[at].parse().unwrap())
                    .collect();
                let names = NetworkNames::new(&named).unwrap();
                let networks = &filter.networks;
                let trie = Trie::new(networks, Some(&names));
                for client in &clients {
                    let expected = (
                        filter.wants_client(&Host::at(*client)),
                        names.index(*client),
                    );
                    assert_eq!(
                        trie.look_up(*client),
                        expected,
                        "{client}: {networks:?}, {named:?}"
                    );
                }
            }
        }
    }
}
