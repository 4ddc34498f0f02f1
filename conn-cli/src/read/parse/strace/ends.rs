//! Parses the endpoints of a connection that accept returned.

use std::net::Ipv4Addr;

use super::call::{family, is_address};
use crate::{
    model::connection::{Connection, Family, Host, Process, Record, Source, When},
    read::{
        event::ParseError,
        parse::scan::{
            address, between, digits, leading_ipv4, leading_number, number, split_at_byte,
        },
    },
};

const CUT: ParseError = "the line is cut";
const NO_ADDRESS: ParseError = "the address is cut or has an unknown format";

/// What precedes the port of an IPv4 client.
pub(super) const IPV4_PEER: &[u8] = b"{sa_family=AF_INET, sin_port=htons(";

/// An endpoint of a connection, as far as it is known.
type Endpoint = (Host, Option<u16>);

/// Both endpoints of an accepted connection.
pub(super) struct Endpoints {
    remote: Endpoint,
    local: Endpoint,
    family: Option<Family>,
}

impl Endpoints {
    /// Of these, only the client is known.
    #[inline]
    pub(super) fn ipv4_client((address, port): (Ipv4Addr, u16)) -> Self {
        Self {
            remote: (Host::Address(address.into()), Some(port)),
            local: (Host::Unknown, None),
            family: Some(Family::Ipv4),
        }
    }

    #[inline]
    pub(super) fn connection(self, tid: Option<u32>, time: When) -> Connection {
        Connection {
            time,
            remote: self.remote.0,
            remote_port: self.remote.1,
            local: self.local.0,
            local_port: self.local.1,
            family: self.family,
            process: tid.map(|tid| Process {
                pid: None,
                tid: Some(tid),
                uid: None,
                cgroup: None,
                comm: None,
                is_kernel_thread: false,
            }),
            ..Connection::unknown(Source::Record(Record::Strace))
        }
    }
}

/// The connection that a call of accept returned; None if the call failed or it is not TCP.
///
/// Inlined, because returning the large result takes longer than parsing it.
#[inline(always)]
pub(super) fn accepted(
    listener: &Descriptor,
    arguments: &[u8],
    result: &[u8],
) -> Result<Option<Endpoints>, ParseError> {
    // A failed call has `-1 EAGAIN` or `? ERESTARTSYS`.
    if !result.first().is_some_and(u8::is_ascii_digit) {
        return Ok(None);
    }
    let (accepted, _) = descriptor(result);
    if matches!(listener, Descriptor::Other) || matches!(accepted, Descriptor::Other) {
        return Ok(None);
    }
    let Some((mut remote, family)) = peer(arguments)? else {
        return Ok(None);
    };
    if let (Descriptor::Cut, Host::Unknown) = (&accepted, &remote.0) {
        return Err(CUT);
    }
    let local = match (accepted, listener) {
        (Descriptor::Tcp(local, peer), _) => {
            if let (Host::Unknown, Some(peer)) = (&remote.0, peer) {
                remote = peer;
            }
            local
        }
        // The kernel did not report the new socket's addresses, perhaps because the connection
        // was reset. Use the listener's.
        (_, Descriptor::Tcp(local, _)) => local.clone(),
        _ => (Host::Unknown, None),
    };
    Ok(Some(Endpoints {
        remote,
        local,
        family,
    }))
}

/// What strace prints in `<>` after a file descriptor.
pub(super) enum Descriptor {
    /// Nothing, or nothing useful.
    Plain,
    /// With -yy: the local endpoint, and the remote one if it is a connection.
    Tcp(Endpoint, Option<Endpoint>),
    /// With -yy: a socket that is not TCP.
    Other,
    /// The closing `>` is missing.
    Cut,
}

/// `3`, `3<socket:[1234]>`, `3<TCP:[192.0.2.9:80->192.0.2.1:37822]>`,
/// `3<TCPv6:[[2001:db8::9]:80]>` or `3<UNIX-STREAM:[1234]>`, and the text after it.
#[inline]
pub(super) fn descriptor(text: &[u8]) -> (Descriptor, &[u8]) {
    // Most have one digit.
    let after = match text {
        [b'0'..=b'9', after @ ..] if !after.first().is_some_and(u8::is_ascii_digit) => after,
        _ => digits(text).1,
    };
    match after {
        [b'<', shown @ ..] => shown_descriptor(shown),
        _ => (Descriptor::Plain, after),
    }
}

/// The same after `3<`.
fn shown_descriptor(shown: &[u8]) -> (Descriptor, &[u8]) {
    let mut end = 0;
    loop {
        end += match memchr::memchr(b'>', &shown[end..]) {
            Some(at) => at,
            None => return (Descriptor::Cut, shown),
        };
        // Skips the `>` of `->`.
        if !shown[..end].ends_with(b"-") {
            return (decoded(&shown[..end]), &shown[end + 1..]);
        }
        end += 1;
    }
}

/// Parses the text between `<` and `>`.
fn decoded(shown: &[u8]) -> Descriptor {
    let tcp = ["TCP:[", "TCPv6:["]
        .iter()
        .find_map(|label| shown.strip_prefix(label.as_bytes()));
    let Some(ends) = tcp else {
        return if [&b"UNIX"[..], b"SCTP", b"NETLINK"]
            .iter()
            .any(|label| shown.starts_with(label))
        {
            Descriptor::Other
        } else {
            Descriptor::Plain
        };
    };
    let Some(ends) = ends.strip_suffix(b"]") else {
        return Descriptor::Plain;
    };
    let (local, remote) = match split_at_byte(ends, b'>') {
        Some((local, remote)) => (local.strip_suffix(b"-").unwrap_or(local), Some(remote)),
        None => (ends, None),
    };
    match endpoint(local) {
        Some(local) => Descriptor::Tcp(local, remote.and_then(endpoint)),
        // An inode number.
        None => Descriptor::Plain,
    }
}

/// `192.0.2.9:80` or `[2001:db8::9]:80`
fn endpoint(text: &[u8]) -> Option<Endpoint> {
    let colon = memchr::memrchr(b':', text)?;
    let host = &text[..colon];
    let host = match host.strip_prefix(b"[") {
        Some(host) => host.strip_suffix(b"]")?,
        None => host,
    };
    Some((address(host)?, Some(number(&text[colon + 1..])?)))
}

/// The client in the second argument, with which `arguments` begins, and the family of the
/// socket; None if the family is not IPv4 or IPv6.
#[inline(always)]
fn peer(arguments: &[u8]) -> Result<Option<(Endpoint, Option<Family>)>, ParseError> {
    if let Some((address, port)) = ipv4_peer(arguments) {
        let client = (Host::Address(address.into()), Some(port));
        return Ok(Some((client, Some(Family::Ipv4))));
    }
    any_peer(arguments)
}

/// The same for any client.
fn any_peer(arguments: &[u8]) -> Result<Option<(Endpoint, Option<Family>)>, ParseError> {
    let Some(sockaddr) = family(arguments) else {
        // NULL, or an empty buffer. What a call began with is not in the line of its end.
        return if is_address(arguments) || arguments.is_empty() || arguments.starts_with(b", ") {
            Ok(Some(((Host::Unknown, None), None)))
        } else {
            Err(NO_ADDRESS)
        };
    };
    let (family, rest) = split_at_byte(sockaddr, b',').unwrap_or((sockaddr, b""));
    let (family, host) = match family {
        // -X verbose prints names as comments.
        b"AF_INET" | b"0x2 /* AF_INET */" => (Family::Ipv4, quoted(rest, b"inet_addr(\"")),
        b"AF_INET6" | b"0xa /* AF_INET6 */" => {
            (Family::Ipv6, quoted(rest, b"inet_pton(AF_INET6, \""))
        }
        _ if family.starts_with(b"AF_") => return Ok(None),
        _ => return Err(NO_ADDRESS),
    };
    let host = host.and_then(address).ok_or(NO_ADDRESS)?;
    let port = match split_at_byte(rest, b'(') {
        Some((name, port)) if name.ends_with(b"htons") => number(digits(port).0),
        _ => None,
    };
    let port = port.ok_or(NO_ADDRESS)?;
    Ok(Some(((host, Some(port)), Some(family))))
}

/// A fast path for the usual form of an IPv4 address, without any searching.
#[inline]
fn ipv4_peer(arguments: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let (client, rest) = port_and_host(arguments.strip_prefix(IPV4_PEER)?)?;
    (rest.first() == Some(&b'"')).then_some(client)
}

/// The client in the text after [`IPV4_PEER`], and the text after its address.
#[inline]
pub(super) fn port_and_host(text: &[u8]) -> Option<((Ipv4Addr, u16), &[u8])> {
    let (port, rest) = leading_number(text)?;
    let rest = rest.strip_prefix(b"), sin_addr=inet_addr(\"")?;
    let (host, rest) = leading_ipv4(rest)?;
    Some(((host, port), rest))
}

/// The quoted text after `open`, which ends with the opening quotation mark. With -X verbose
/// other quoted text precedes it.
fn quoted<'a>(text: &'a [u8], open: &[u8]) -> Option<&'a [u8]> {
    let at = memchr::memchr(b'"', text)? + 1;
    if text[..at].ends_with(open) {
        split_at_byte(&text[at..], b'"').map(|(quoted, _)| quoted)
    } else {
        between(text, open, b'"')
    }
}
