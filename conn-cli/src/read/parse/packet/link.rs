//! Parses what precedes the network layer.

use super::{CUT, NOT_IP, UNKNOWN_LINK_TYPE, ether_type};
use crate::{model::link_type::*, read::event::ParseError};

/// The address families in [`NULL`], [`LOOP`], [`PFLOG`] and [`NFLOG`] headers. `AF_INET6` differs
/// between systems.
const AF_INET: u32 = 2;
const AF_INET6: [u32; 4] = [10, 24, 28, 30];

/// The payload in the attributes of [`NFLOG`]: `NFULA_PAYLOAD`.
const NFLOG_PAYLOAD: u16 = 9;

/// The EtherType of the network-layer packet, and that packet.
pub(super) fn network(link_type: u16, packet: &[u8]) -> Result<(u16, &[u8]), ParseError> {
    match link_type {
        ETHERNET => split_header(packet, 12, 14),
        LINUX_SLL => split_header(packet, 14, 16),
        LINUX_SLL2 => split_header(packet, 0, 20),
        C_HDLC => split_header(packet, 2, 4),
        RAW | DLT_RAW | DLT_RAW_OPENBSD | IPV4 | IPV6 => raw(packet),
        NULL | LOOP => {
            let (&family, rest) = packet.split_first_chunk().ok_or(CUT)?;
            // In the byte order of the capturing machine, which may differ from that of the file.
            let family = u32::from_le_bytes(family).min(u32::from_be_bytes(family));
            Ok((of_family(family), rest))
        }
        PPP | PPP_HDLC => ppp(packet),
        PPP_ETHER => pppoe(packet),
        PFLOG => {
            let &[length, family, ..] = packet else {
                return Err(CUT);
            };
            // Padded to words.
            let rest = packet.get(usize::from(length).next_multiple_of(4)..);
            Ok((of_family(family.into()), rest.ok_or(CUT)?))
        }
        NFLOG => nflog(packet),
        _ => Err(UNKNOWN_LINK_TYPE),
    }
}

/// An IP packet without any header before it.
pub(super) fn raw(packet: &[u8]) -> Result<(u16, &[u8]), ParseError> {
    match packet.first().ok_or(CUT)? >> 4 {
        4 => Ok((ether_type::IPV4, packet)),
        6 => Ok((ether_type::IPV6, packet)),
        _ => Err(NOT_IP),
    }
}

/// The EtherType of this address family; 0 if it is not IP.
fn of_family(family: u32) -> u16 {
    match family {
        AF_INET => ether_type::IPV4,
        _ if AF_INET6.contains(&family) => ether_type::IPV6,
        _ => 0,
    }
}

/// RFC 1661, section 2, and RFC 1662, section 3.1; the address and control fields and the first byte of
/// the protocol may be left out.
pub(super) fn ppp(frame: &[u8]) -> Result<(u16, &[u8]), ParseError> {
    let frame = frame.strip_prefix(&[0xff, 0x03]).unwrap_or(frame);
    let (protocol, rest) = match frame {
        [0xff] => return Err(CUT),
        [short, rest @ ..] if short & 1 == 1 => (u16::from(*short), rest),
        _ => split_header(frame, 0, 2)?,
    };
    Ok(match protocol {
        0x21 => (ether_type::IPV4, rest),
        0x57 => (ether_type::IPV6, rest),
        _ => (0, rest),
    })
}

/// RFC 2516, section 4.
pub(super) fn pppoe(packet: &[u8]) -> Result<(u16, &[u8]), ParseError> {
    ppp(packet.get(6..).ok_or(CUT)?)
}

/// RFC 3032, section 2.1: below the last label is an IP packet, or something else.
pub(super) fn mpls(mut packet: &[u8]) -> Result<(u16, &[u8]), ParseError> {
    loop {
        let (label, rest) = packet.split_at_checked(4).ok_or(CUT)?;
        packet = rest;
        if label[2] & 1 == 1 {
            return match raw(packet) {
                Err(NOT_IP) => Ok((0, packet)),
                parsed => parsed,
            };
        }
    }
}

/// The header of NFLOG, then attributes, of which the last is the packet.
fn nflog(packet: &[u8]) -> Result<(u16, &[u8]), ParseError> {
    let (header, mut rest) = packet.split_at_checked(4).ok_or(CUT)?;
    loop {
        let (&[a, b, c, d], value) = rest.split_first_chunk().ok_or(CUT)?;
        // In the byte order of the capturing machine; all types and most lengths are below 256.
        let smaller = |bytes: [u8; 2]| u16::from_le_bytes(bytes).min(u16::from_be_bytes(bytes));
        if smaller([c, d]) == NFLOG_PAYLOAD {
            return Ok((of_family(header[0].into()), value));
        }
        let length = usize::from(smaller([a, b])).max(4);
        rest = rest.get(length.next_multiple_of(4)..).ok_or(CUT)?;
    }
}

/// The EtherType at `at` in a header of `length` bytes, and the bytes after the header.
pub(super) fn split_header(
    bytes: &[u8],
    at: usize,
    length: usize,
) -> Result<(u16, &[u8]), ParseError> {
    let (header, rest) = bytes.split_at_checked(length).ok_or(CUT)?;
    let protocol = u16::from_be_bytes([header[at], header[at + 1]]);
    Ok((protocol, rest))
}
