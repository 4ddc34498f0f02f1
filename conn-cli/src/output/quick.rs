//! What each line of a connection has, without the formatting of std: that takes several times as
//! long as all else that is done for a line.

use std::net::{IpAddr, Ipv4Addr};

use super::put;
use crate::connection::Host;

/// Appends a host as its `Display` has it.
pub(super) fn put_host(out: &mut Vec<u8>, host: &Host) {
    match host {
        Host::Address(IpAddr::V4(address)) => put_ipv4(out, *address),
        Host::Name(name) => out.extend_from_slice(name.as_bytes()),
        Host::Address(IpAddr::V6(_)) | Host::Unknown => put(out, format_args!("{host}")),
    }
}

fn put_ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    let [first, rest @ ..] = address.octets();
    put_number(out, first);
    for octet in rest {
        out.push(b'.');
        put_number(out, octet);
    }
}

/// Appends a number.
pub(super) fn put_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_as_it_is_displayed() {
        let addresses = [
            "0.0.0.0",
            "9.10.99.100",
            "255.255.255.255",
            "::",
            "2001:db8::1",
        ];
        let mut hosts = addresses
            .map(|text| Host::at(text.parse::<IpAddr>().unwrap()))
            .to_vec();
        hosts.extend([Host::named(b"web-1.example.org").unwrap(), Host::Unknown]);
        for host in hosts {
            let mut out = Vec::new();
            put_host(&mut out, &host);
            assert_eq!(String::from_utf8(out).unwrap(), host.to_string());
        }
    }
}
