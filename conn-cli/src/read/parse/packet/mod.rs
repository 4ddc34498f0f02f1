//! Parses packets and finds SYNs, the answers to them, and the ends of connections.

mod link;
mod tunnel;

use std::net::IpAddr;

use jiff::Timestamp;

use crate::{
    model::{
        connection::{Connection, Host, Record, Source, When},
        format::Format,
    },
    read::{
        batch::{Batch, Room},
        event::{Event, PacketId, ParseError},
        parse::lines::Wanted,
        piece::Packets,
    },
};

/// The first bytes of captures: pcapng; pcap with microseconds and with nanoseconds, in either
/// byte order; and the magic number of a modified libpcap for Linux.
const MAGICS: [[u8; 4]; 6] = [
    [0x0a, 0x0d, 0x0d, 0x0a],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0x34, 0xcd, 0xb2, 0xa1],
];

/// The EtherTypes: <https://www.iana.org/assignments/ieee-802-numbers>.
mod ether_type {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    /// VLAN tags, which another EtherType follows: 802.1Q, 802.1ad, and two older ones.
    pub(super) const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
    pub(super) const MPLS: [u16; 2] = [0x8847, 0x8848];
    /// The stage of PPPoE in which there are packets.
    pub(super) const PPPOE_SESSION: u16 = 0x8864;
}

/// The IP protocol numbers: <https://www.iana.org/assignments/protocol-numbers>.
mod protocol {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const IPV4: u8 = 4;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const IPV6: u8 = 41;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const GRE: u8 = 47;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

const CUT: ParseError = "the packet was cut before the end of its TCP header";
const UNKNOWN_LINK_TYPE: ParseError = "packets of this link type are not supported";
const NOT_IP: ParseError = "this is not an IP header";

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// The length of a TCP header up to and including its flags.
const TCP_PREFIX_LEN: usize = 14;

/// Whether an input that begins with `head` is a pcap or pcapng file.
#[must_use]
pub(crate) fn is_capture(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(|head| MAGICS.contains(head))
}

/// Parses the packets of a piece.
#[must_use]
pub(crate) fn parse(packets: &Packets, wanted: &Wanted, room: Room) -> Batch {
    let mut batch = Batch::within(Format::Pcap, room);
    let mut last = None;
    for (packet, bytes) in packets.iter() {
        let parsed = match handshake(packet.link_type, bytes) {
            Ok(None) => Ok(()),
            Ok(Some(segment)) => {
                if !segment.is_inner || wanted.inner {
                    batch.events.push(segment.event(packet.time));
                } else if matches!(segment.kind, Kind::Syn(_)) {
                    batch.events.push(Event::Inner);
                }
                Ok(())
            }
            Err(tunnel::INNER_CUT) if !wanted.inner => Ok(()),
            Err(parse_error) => {
                if parse_error == UNKNOWN_LINK_TYPE {
                    let packets = batch.unknown_link_types.entry(packet.link_type);
                    *packets.or_default() += 1;
                }
                Err(parse_error)
            }
        };
        batch.count_packet(parsed);
        last = packet.time;
    }
    let first = packets.iter().next().and_then(|(packet, _)| packet.time);
    batch.ends = [first, last].map(when);
    batch
}

/// A TCP segment with one of the flags SYN, FIN and RST.
struct Segment {
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    destination_port: u16,
    kind: Kind,
    /// The id field of the IPv4 header.
    ip_id: Option<u16>,
    /// Whether it is in a tunnel.
    is_inner: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A SYN with this sequence number.
    Syn(u32),
    /// The answer to the SYN with this sequence number.
    Answer(u32),
    /// A FIN or RST.
    End,
}

/// The segment that begins or ends a connection in a packet, if it has one.
fn handshake(link_type: u16, packet: &[u8]) -> Result<Option<Segment>, ParseError> {
    let (mut protocol, mut rest) = link::network(link_type, packet)?;
    while ether_type::VLAN.contains(&protocol) {
        (protocol, rest) = link::split_header(rest, 2, 4)?;
    }
    if ether_type::MPLS.contains(&protocol) {
        (protocol, rest) = link::mpls(rest)?;
    } else if protocol == ether_type::PPPOE_SESSION {
        (protocol, rest) = link::pppoe(rest)?;
    }
    match protocol {
        ether_type::IPV4 => ipv4(rest),
        ether_type::IPV6 => ipv6(rest),
        _ => Ok(None),
    }
}

/// RFC 791, section 3.1.
fn ipv4(packet: &[u8]) -> Result<Option<Segment>, ParseError> {
    let header: &[u8; 20] = packet.first_chunk().ok_or(CUT)?;
    let length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || length < header.len() {
        return Err(NOT_IP);
    }
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if fragment_offset > 0 {
        return Ok(None);
    }
    let [.., a, b, c, d, e, f, g, h] = *header;
    let addresses = ([a, b, c, d].into(), [e, f, g, h].into());
    // The total length is ignored: it is 0 if the network card does the segmentation (TSO).
    let payload = packet.get(length..).ok_or(CUT)?;
    let mut segment = transport(header[9], addresses, payload);
    if let Ok(Some(segment)) = &mut segment {
        let id = u16::from_be_bytes([header[4], header[5]]);
        segment.ip_id.get_or_insert(id);
    }
    segment
}

/// RFC 8200, section 3.
fn ipv6(packet: &[u8]) -> Result<Option<Segment>, ParseError> {
    let (header, mut payload) = packet.split_first_chunk::<40>().ok_or(CUT)?;
    if header[0] >> 4 != 6 {
        return Err(NOT_IP);
    }
    let address = |at: usize| {
        let mut address = [0; 16];
        address.copy_from_slice(&header[at..at + 16]);
        IpAddr::from(address)
    };
    let addresses = (address(8), address(24));
    let mut protocol = header[6];
    // This terminates because each header takes at least eight bytes.
    while let Some(length) = extension(protocol, payload)? {
        let (header, rest) = payload.split_at_checked(length).ok_or(CUT)?;
        protocol = header[0];
        payload = rest;
    }
    transport(protocol, addresses, payload)
}

/// The length of the extension header at the start of the payload: RFC 8200, section 4. None if
/// `protocol` is not an extension header, or is that of a fragment other than the first.
fn extension(protocol: u8, payload: &[u8]) -> Result<Option<usize>, ParseError> {
    let byte = |at: usize| payload.get(at).copied().ok_or(CUT);
    Ok(match protocol {
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
            Some((usize::from(byte(1)?) + 1) * 8)
        }
        protocol::AUTHENTICATION => Some((usize::from(byte(1)?) + 2) * 4),
        protocol::FRAGMENT => {
            let offset = u16::from_be_bytes([byte(2)?, byte(3)?]) >> 3;
            (offset == 0).then_some(8)
        }
        _ => None,
    })
}

/// The segment in the payload of an IP packet; in a tunnel, that of the inner packet. The
/// recursion terminates because each header takes some bytes.
fn transport(
    protocol: u8,
    addresses: (IpAddr, IpAddr),
    payload: &[u8],
) -> Result<Option<Segment>, ParseError> {
    match protocol {
        protocol::TCP => tcp(addresses, payload),
        protocol::IPV4 | protocol::IPV6 => tunnel::ip(payload),
        protocol::GRE => tunnel::gre(payload),
        protocol::UDP => tunnel::udp(payload),
        _ => Ok(None),
    }
}

/// Parses the start of the TCP header only, because tcpdump -s may have cut the rest.
fn tcp(
    (source, destination): (IpAddr, IpAddr),
    segment: &[u8],
) -> Result<Option<Segment>, ParseError> {
    let header: &[u8; TCP_PREFIX_LEN] = segment.first_chunk().ok_or(CUT)?;
    let u16 = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let u32 = |at: usize| u32::from(u16(at)) << 16 | u32::from(u16(at + 2));
    let kind = match header[13] & (SYN | FIN | RST) {
        0 => return Ok(None),
        SYN if header[13] & ACK == 0 => Kind::Syn(u32(4)),
        // Its acknowledgment number is the next one.
        SYN => Kind::Answer(u32(8).wrapping_sub(1)),
        flags if flags & SYN == 0 => Kind::End,
        // Linux drops a SYN that also has RST or FIN.
        _ => return Ok(None),
    };
    Ok(Some(Segment {
        source,
        source_port: u16(0),
        destination,
        destination_port: u16(2),
        kind,
        ip_id: None,
        is_inner: false,
    }))
}

impl Segment {
    fn event(self, time: Option<(i64, u32)>) -> Event {
        let source = (self.source, self.source_port);
        let destination = (self.destination, self.destination_port);
        let (client, server) = match self.kind {
            Kind::Syn(_) | Kind::End => (source, destination),
            Kind::Answer(_) => (destination, source),
        };
        let connection = Connection {
            time: when(time),
            remote: Host::at(client.0),
            remote_port: Some(client.1),
            local: Host::at(server.0),
            local_port: Some(server.1),
            ..Connection::unknown(Source::Record(Record::Pcap))
        };
        match self.kind {
            Kind::Syn(sequence) => {
                let id = PacketId {
                    sequence: Some(sequence),
                    ip_id: self.ip_id,
                };
                Event::Syn(connection, id)
            }
            Kind::Answer(sequence) => Event::Answer(connection, PacketId::sequence(sequence)),
            Kind::End => Event::End(connection),
        }
    }
}

fn when(time: Option<(i64, u32)>) -> When {
    time.and_then(timestamp).map_or(When::Unknown, When::At)
}

/// The timestamp, or None if a damaged file has an invalid one.
fn timestamp((second, nanosecond): (i64, u32)) -> Option<Timestamp> {
    if nanosecond >= 1_000_000_000 {
        return None;
    }
    Timestamp::new(second, nanosecond.cast_signed()).ok()
}

#[cfg(test)]
mod tests;
