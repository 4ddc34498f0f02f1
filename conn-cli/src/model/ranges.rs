//! Networks cut into ranges of addresses that do not overlap.

use std::net::IpAddr;

use ipnet::IpNet;

/// The ranges in which all addresses are, in their order: the first address of each, and what applies up to the next
/// one. `networks`: the [`range`] of each, and what is given for it; what contains another one comes before it. `rest`
/// applies outside of them. `value` makes what applies in a network of what is given and what applies around it.
pub(crate) fn ranges<G, T: Copy + PartialEq>(
    networks: impl IntoIterator<Item = ((u128, u128), G)>,
    rest: T,
    value: impl Fn(G, T) -> T,
) -> Vec<(u128, T)> {
    let mut ranges = vec![(0, rest)];
    let mut begin = |first, value| match ranges.last_mut() {
        Some(last) if last.0 == first => last.1 = value,
        Some(last) if last.1 == value => (),
        _ => ranges.push((first, value)),
    };
    // The last addresses of the networks around the current one, and what applies there.
    let mut around: Vec<(u128, T)> = Vec::new();
    let next = |around: &[(u128, T)]| around.last().map_or(rest, |(_, value)| *value);
    for ((first, last), given) in networks {
        while let Some((end, _)) = around.pop_if(|(end, _)| *end < first) {
            begin(end + 1, next(&around));
        }
        let value = value(given, next(&around));
        begin(first, value);
        around.push((last, value));
    }
    while let Some((end, _)) = around.pop() {
        if let Some(after) = end.checked_add(1) {
            begin(after, next(&around));
        }
    }
    ranges
}

/// The first and the last address of a network.
pub(crate) fn range(network: IpNet) -> (u128, u128) {
    (number(network.network()), number(network.broadcast()))
}

/// An address as a number: an IPv4 address as the IPv4-mapped one.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}
