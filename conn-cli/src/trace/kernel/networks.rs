//! The networks in which the programs look clients up: those of the filter, and those with a name.

use std::{cmp::Reverse, collections::BTreeMap};

use anyhow::Context as _;
use aya::{Ebpf, maps::Array};
use conn_common::NetworkRange;
use ipnet::{IpNet, Ipv4Net};

use super::names;
use crate::model::{
    filter::Networks,
    names::NetworkNames,
    ranges::{range, ranges as cut},
};

/// Whether clients are wanted, and the number of their name.
type Value = (bool, usize);

/// The first and the last address of a network: what contains another one comes before it.
type Network = (u128, Reverse<u128>);

/// What is given for a network itself, not for one around it.
type Given = (Option<bool>, Option<usize>);

/// The ranges for a filter and names, in which all addresses are, in their order: the first address of each, and
/// what applies up to the next one.
pub(super) fn ranges(networks: &Networks, names: Option<&NetworkNames>) -> Vec<(u128, Value)> {
    let names = names.map_or(&[][..], NetworkNames::networks);
    let rest = (networks.wants_others(), 0);
    let mut given: BTreeMap<Network, Given> = BTreeMap::new();
    // IPv4 clients have mapped addresses, which are in networks of IPv6 such as ::/0.
    let of_ipv4 = (Some(rest.0), Some(rest.1));
    given.insert(key(Ipv4Net::default().into()), of_ipv4);
    for (network, wanted) in networks.rules() {
        // Of several rules for a network, the last one applies.
        given.entry(key(*network)).or_default().0 = Some(*wanted);
    }
    for (network, name) in names {
        given.entry(key(*network)).or_default().1 = Some(*name);
    }

    let given = { given.into_iter() }.map(|((first, Reverse(last)), given)| ((first, last), given));
    cut(given, rest, |(wanted, name), around| {
        (wanted.unwrap_or(around.0), name.unwrap_or(around.1))
    })
}

/// The values of the map for these ranges: a power of two, of which the first ones are zeros.
pub(super) fn size(ranges: &[(u128, Value)]) -> u32 {
    (ranges.len() as u32).next_power_of_two()
}

/// Fills the map.
///
/// # Errors
/// An error of the kernel.
pub(super) fn set(ebpf: &mut Ebpf, ranges: &[(u128, Value)]) -> anyhow::Result<()> {
    let map = ebpf.map_mut(names::NETWORKS).context("no such map")?;
    let mut map = Array::<_, [u8; size_of::<NetworkRange>()]>::try_from(map)?;
    let zeros = size(ranges) - ranges.len() as u32;
    for (index, range) in (zeros..).zip(ranges) {
        let value: [u8; _] = bytemuck::cast(value(range));
        map.set(index, value, 0)?;
    }
    Ok(())
}

fn value((first, (wanted, name)): &(u128, Value)) -> NetworkRange {
    NetworkRange {
        first: [(first >> 64) as u64, *first as u64],
        passes: (*wanted).into(),
        name: *name as u32,
    }
}

fn key(network: IpNet) -> Network {
    let (first, last) = range(network);
    (first, Reverse(last))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{super::event::words, *};
    use crate::model::{
        connection::Host,
        filter::{EndsFilter, Network as Filter},
        names::NamedNetwork,
    };

    /// The values of the map, as the programs search them.
    struct Map(Vec<NetworkRange>);

    impl Map {
        fn new(networks: &Networks, names: Option<&NetworkNames>) -> Self {
            let ranges = ranges(networks, names);
            assert!(ranges.is_sorted_by_key(|(first, _)| first));
            let zeros = size(&ranges) as usize - ranges.len();
            let zeros = std::iter::repeat_n(NetworkRange::default(), zeros);
            Self(zeros.chain(ranges.iter().map(value)).collect())
        }

        /// Whether a client passes, and its name.
        fn look_up(&self, client: IpAddr) -> (bool, usize) {
            let first = |index: u32| Some(self.0[index as usize].first);
            let index = NetworkRange::search(words(client), self.0.len() as u32, first);
            let range = self.0[index.unwrap() as usize];
            (range.passes != 0, range.name as usize)
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
        let with_state = |state: usize| -> Vec<Filter> {
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
            let map = Map::new(networks, None);
            for client in CLIENTS {
                let client: IpAddr = client.parse().unwrap();
                assert_eq!(
                    networks.is_empty() || map.look_up(client).0,
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
                let map = Map::new(networks, Some(&names));
                for client in &clients {
                    let expected = (
                        filter.wants_client(&Host::at(*client)),
                        names.index(*client),
                    );
                    assert_eq!(
                        map.look_up(*client),
                        expected,
                        "{client}: {networks:?}, {named:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn as_many_networks_as_there_can_be_are_found() {
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        // Every other address, each of another name than those around it.
        let named = |number: u32| format!("n{}={}", number % 2, address(4 * number + 1));
        let named: Vec<NamedNetwork> = (0..65_535).map(|at| named(at).parse().unwrap()).collect();
        let names = NetworkNames::new(&named).unwrap();
        let map = Map::new(&Networks::default(), Some(&names));
        assert!(map.0.len() <= 1 << 18);
        for number in (0..4 * 65_536).chain([u32::MAX - 1, u32::MAX]) {
            let client = address(number);
            assert_eq!(map.look_up(client), (true, names.index(client)), "{client}");
        }
    }
}
