//! Parses the packets inside of tunnels.

use super::{CUT, NOT_IP, Segment, ether_type, handshake};
use crate::{
    model::link_type::{ETHERNET, PPP, RAW},
    read::event::ParseError,
};

/// A packet in a tunnel is cut.
pub(super) const INNER_CUT: ParseError =
    "the packet in the tunnel was cut before the end of its TCP header";

/// An Ethernet frame in a tunnel: Transparent Ethernet Bridging.
const FRAME: u16 = 0x6558;
/// The PPP frames of PPTP.
const PPTP: u16 = 0x880b;

/// The UDP ports of VXLAN, and of Linux' VXLAN before it had one.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
const GENEVE_PORT: u16 = 6081;

/// IP in IP: RFC 2003, RFC 4213, RFC 2473.
pub(super) fn ip(payload: &[u8]) -> Result<Option<Segment>, ParseError> {
    inner(handshake(RAW, payload))
}

/// RFC 2784 and RFC 2890; RFC 2637, section 4.1.
pub(super) fn gre(payload: &[u8]) -> Result<Option<Segment>, ParseError> {
    const ROUTING: u16 = 0x4000;
    const VERSION: u16 = 0x0007;
    let Some(&[a, b, c, d]) = payload.first_chunk() else {
        return Err(INNER_CUT);
    };
    let (flags, protocol) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if flags & ROUTING != 0 || flags & VERSION > 1 {
        return Ok(None);
    }
    // The checksum, the key, the sequence number and the acknowledgment number.
    let fields = [0x8000, 0x2000, 0x1000, 0x0080].into_iter();
    let length = 4 + 4 * fields.filter(|field| flags & field != 0).count();
    encapsulated(protocol, payload.get(length..))
}

/// RFC 7348 and RFC 8926, by the port of the receiver.
pub(super) fn udp(payload: &[u8]) -> Result<Option<Segment>, ParseError> {
    let Some((&[_, _, high, low, _, _, _, _], payload)) = payload.split_first_chunk() else {
        return Ok(None);
    };
    let port = u16::from_be_bytes([high, low]);
    if !VXLAN_PORTS.contains(&port) && port != GENEVE_PORT {
        return Ok(None);
    }
    let Some((&[first, _, high, low, _, _, _, last], rest)) = payload.split_first_chunk() else {
        return Ok(None);
    };
    if port != GENEVE_PORT {
        // The network is valid, and the last byte reserved.
        let is_vxlan = first & 0x08 != 0 && last == 0;
        return if is_vxlan {
            encapsulated(FRAME, Some(rest))
        } else {
            Ok(None)
        };
    }
    if first >> 6 != 0 {
        return Ok(None);
    }
    let options = usize::from(first & 0x3f) * 4;
    encapsulated(u16::from_be_bytes([high, low]), rest.get(options..))
}

/// What a header announces with an EtherType.
fn encapsulated(protocol: u16, packet: Option<&[u8]>) -> Result<Option<Segment>, ParseError> {
    let link_type = match protocol {
        ether_type::IPV4 | ether_type::IPV6 => RAW,
        FRAME => ETHERNET,
        PPTP => PPP,
        _ => return Ok(None),
    };
    inner(handshake(link_type, packet.ok_or(INNER_CUT)?))
}

fn inner(parsed: Result<Option<Segment>, ParseError>) -> Result<Option<Segment>, ParseError> {
    match parsed {
        Ok(segment) => Ok(segment.map(|segment| Segment {
            is_inner: true,
            ..segment
        })),
        Err(CUT) => Err(INNER_CUT),
        // It only looked like a tunnel.
        Err(NOT_IP) => Ok(None),
        Err(parse_error) => Err(parse_error),
    }
}
