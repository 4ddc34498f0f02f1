//! Writes hosts and numbers without the formatting of std, which takes several times as long as
//! everything else that is done for a connection's line.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use super::put;
use crate::model::connection::Host;

/// Appends a host as its `Display` writes it.
pub(super) fn put_host(out: &mut Vec<u8>, host: &Host) {
    match host {
        Host::Address(IpAddr::V4(address)) => put_ipv4(out, *address),
        Host::Address(IpAddr::V6(address)) => put_ipv6(out, *address),
        Host::Name(name) => out.extend_from_slice(name.as_bytes()),
        Host::Unknown => put(out, format_args!("{host}")),
    }
}

fn put_ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    let mut text = [0; 16];
    let mut end = 0;
    for octet in address.octets() {
        let (digits, length) = OCTETS[usize::from(octet)];
        text[end..end + digits.len()].copy_from_slice(&digits);
        end += length;
    }
    // Without the last point.
    out.extend_from_slice(&text[..end - 1]);
}

/// Each octet's digits followed by a point, and their length in bytes.
const OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < octets.len() {
        let (hundreds, tens, ones) = (octet / 100, octet / 10 % 10, octet % 10);
        let digit = [b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8];
        octets[octet] = match octet {
            0..10 => ([digit[2], b'.', 0, 0], 2),
            10..100 => ([digit[1], digit[2], b'.', 0], 3),
            _ => ([digit[0], digit[1], digit[2], b'.'], 4),
        };
        octet += 1;
    }
    octets
};

/// As RFC 5952 has it.
fn put_ipv6(out: &mut Vec<u8>, address: Ipv6Addr) {
    if address.to_ipv4_mapped().is_some() {
        return put(out, format_args!("{address}"));
    }
    let segments = address.segments();
    let zeros = longest_zeros(&segments);
    let mut text = [0; 8 * 5];
    let mut end = 0;
    let mut push = |byte| {
        text[end] = byte;
        end += 1;
    };
    for (index, segment) in segments.into_iter().enumerate() {
        if zeros.contains(&index) {
            if index == zeros.start {
                push(b':');
            }
            continue;
        }
        if index > 0 {
            push(b':');
        }
        // Without leading zeros, but at least one digit.
        let digits = 4 - (segment | 1).leading_zeros() / 4;
        for digit in (0..digits).rev() {
            push(b"0123456789abcdef"[usize::from(segment >> (4 * digit) & 0xf)]);
        }
    }
    if zeros.end == segments.len() {
        push(b':');
    }
    out.extend_from_slice(&text[..end]);
}

/// The zeros that are left out: the first of the longest runs, unless that is a single one.
fn longest_zeros(segments: &[u16; 8]) -> Range<usize> {
    let mut longest = 0..0;
    let mut start = 0;
    for (index, &segment) in segments.iter().enumerate() {
        if segment != 0 {
            start = index + 1;
        } else if index + 1 - start > longest.len().max(1) {
            longest = start..index + 1;
        }
    }
    longest
}

/// Appends a number.
pub(super) fn put_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn put_host_matches_display() {
        let addresses = [
            "0.0.0.0",
            "9.10.99.100",
            "255.255.255.255",
            "::",
            "2001:db8::1",
            "::ffff:192.0.2.1",
        ];
        let every_octet = (0..=255).map(|octet| Host::at([octet, 255 - octet, octet, 7]));
        let mut hosts = addresses
            .map(|text| Host::Address(text.parse().unwrap()))
            .to_vec();
        hosts.extend(every_octet);
        // Each pattern of zeros, with segments of each length.
        let every_pattern = (0..=255_u8).flat_map(|pattern| {
            let segments = |value: u16| {
                let zero_or = |index| if pattern >> index & 1 == 0 { 0 } else { value };
                std::array::from_fn::<u16, 8, _>(zero_or)
            };
            [0x1, 0x20, 0x9af, 0xffff].map(|value| Host::Address(segments(value).into()))
        });
        hosts.extend(every_pattern);
        hosts.extend([Host::named(b"web-1.example.org").unwrap(), Host::Unknown]);
        for host in hosts {
            let mut out = Vec::new();
            put_host(&mut out, &host);
            assert_eq!(String::from_utf8(out).unwrap(), host.to_string());
        }
    }
}
