//! GroupKey is at both ends of what a call of accept gave.

use std::net::Ipv4Addr;

use crate::{
    connection::{Connection, Family, Host, Process, Record, Source, When},
    read::{
        batch::ParseError,
        parse::scan::{address, between, digits, ipv4, number, split_at_byte},
    },
};

const CUT: ParseError = "the line is cut";
const NO_ADDRESS: ParseError = "the address is cut or written in another way";

/// An end of a connection, as far as it is known.
type End = (Host, Option<u16>);

/// Both ends of a connection that was accepted.
pub(super) struct Ends {
    remote: End,
    local: End,
    family: Option<Family>,
}

impl Ends {
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
                tid,
                uid: None,
                cgroup: None,
                comm: None,
            }),
            netns: None,
            wait: None,
            source: Source::Record(Record::Strace),
        }
    }
}

/// What a call of accept gave; None if nothing, or a connection of another kind than TCP.
///
/// Inlined, since to hand on what it returns takes longer than to find it.
#[inline(always)]
pub(super) fn accepted(
    listener: &Descriptor,
    arguments: &[u8],
    result: &[u8],
) -> Result<Option<Ends>, ParseError> {
    // Otherwise the call failed: `-1 EAGAIN`, `? ERESTARTSYS`.
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
        // The kernel did not say, perhaps as the connection was reset: then it is the one that
        // was listened to.
        (_, Descriptor::Tcp(local, _)) => local.clone(),
        _ => (Host::Unknown, None),
    };
    Ok(Some(Ends {
        remote,
        local,
        family,
    }))
}

/// What a file descriptor is shown with.
pub(super) enum Descriptor {
    /// Nothing, or nothing of use.
    Plain,
    /// With -yy: the local end, and the remote one of a connection.
    Tcp(End, Option<End>),
    /// With -yy: a socket that is not of TCP.
    Other,
    /// Something that does not end.
    Cut,
}

/// `3`, `3<socket:[1234]>`, `3<TCP:[192.0.2.9:80->192.0.2.1:37822]>`,
/// `3<TCPv6:[[2001:db8::9]:80]>`, `3<UNIX-STREAM:[1234]>`; and what follows.
pub(super) fn descriptor(text: &[u8]) -> (Descriptor, &[u8]) {
    let (_, after) = digits(text);
    let Some(shown) = after.strip_prefix(b"<") else {
        return (Descriptor::Plain, after);
    };
    let mut end = 0;
    loop {
        end += match memchr::memchr(b'>', &shown[end..]) {
            Some(at) => at,
            None => return (Descriptor::Cut, shown),
        };
        // Not that of `->`.
        if !shown[..end].ends_with(b"-") {
            return (decoded(&shown[..end]), &shown[end + 1..]);
        }
        end += 1;
    }
}

/// What is between `<` and `>`.
fn decoded(shown: &[u8]) -> Descriptor {
    let tcp = ["TCP:[", "TCPv6:["]
        .iter()
        .find_map(|label| shown.strip_prefix(label.as_bytes()));
    let Some(ends) = tcp else {
        return match [&b"UNIX"[..], b"SCTP", b"NETLINK"]
            .iter()
            .any(|label| shown.starts_with(label))
        {
            true => Descriptor::Other,
            false => Descriptor::Plain,
        };
    };
    let Some(ends) = ends.strip_suffix(b"]") else {
        return Descriptor::Plain;
    };
    let (local, remote) = match split_at_byte(ends, b'>') {
        Some((local, remote)) => (local.strip_suffix(b"-").unwrap_or(local), Some(remote)),
        None => (ends, None),
    };
    match end(local) {
        // Else it is the number of an inode.
        Some(local) => Descriptor::Tcp(local, remote.and_then(end)),
        None => Descriptor::Plain,
    }
}

/// `192.0.2.9:80` or `[2001:db8::9]:80`
fn end(text: &[u8]) -> Option<End> {
    let colon = memchr::memrchr(b':', text)?;
    let host = &text[..colon];
    let host = match host.strip_prefix(b"[") {
        Some(host) => host.strip_suffix(b"]")?,
        None => host,
    };
    Some((address(host)?, Some(number(&text[colon + 1..])?)))
}

/// The client that the kernel wrote into the second argument, with which this begins, and the family of the socket;
/// None if it is of another family.
#[inline]
fn peer(arguments: &[u8]) -> Result<Option<(End, Option<Family>)>, ParseError> {
    let Some(sockaddr) = arguments.strip_prefix(b"{sa_family=") else {
        // NULL, or there was no room.
        return Ok(Some(((Host::Unknown, None), None)));
    };
    if let Some((address, port)) = ipv4_peer(sockaddr) {
        let end = (Host::Address(address.into()), Some(port));
        return Ok(Some((end, Some(Family::Ipv4))));
    }
    let (family, rest) = split_at_byte(sockaddr, b',').unwrap_or((sockaddr, b""));
    let (family, host) = match family {
        // With -X verbose names are in comments.
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

/// The same of IPv4 as strace nearly always writes it, without looking for anything.
fn ipv4_peer(sockaddr: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let rest = sockaddr.strip_prefix(b"AF_INET, sin_port=htons(")?;
    let (port, rest) = digits(rest);
    let rest = rest.strip_prefix(b"), sin_addr=inet_addr(\"")?;
    let (host, _) = split_at_byte(rest, b'"')?;
    Some((ipv4(host)?, number(port)?))
}

/// What is in quotation marks after `open`, which ends with the first of them. With
/// -X verbose there are others before it.
fn quoted<'a>(text: &'a [u8], open: &[u8]) -> Option<&'a [u8]> {
    let at = memchr::memchr(b'"', text)? + 1;
    match text[..at].ends_with(open) {
        true => split_at_byte(&text[at..], b'"').map(|(quoted, _)| quoted),
        false => between(text, open, b'"'),
    }
}
