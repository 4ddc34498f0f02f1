//! The one place that reads a packet.

use aya_ebpf::{bindings::__sk_buff, programs::SkBuffContext};
use conn_common::{AF_INET, AF_INET6, Address, from_v4};

use crate::{config, socket::Ends};

/// `ETH_P_IP` of `include/uapi/linux/if_ether.h`.
const ETH_P_IP: u16 = 0x0800;
/// `ETH_P_IPV6` of the same file.
const ETH_P_IPV6: u16 = 0x86dd;
/// `PACKET_HOST` of `include/uapi/linux/if_packet.h`: the link layer has it that this machine
/// is meant.
const PACKET_HOST: u32 = 0;

/// `IPPROTO_TCP` of `include/uapi/linux/in.h`, and the headers that may come before it in IPv6,
/// of `include/uapi/linux/in6.h`.
const TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// More extension headers than any packet that is meant well has.
const MAX_EXTENSIONS: u32 = 8;

/// The flags of TCP, in the second of the four bytes that they are in.
const FIN_SYN_RST_ACK: u8 = 0x17;
const SYN: u8 = 0x02;

/// A client's request for a connection.
pub struct Syn {
    /// Who asks whom.
    pub ends: Ends,
    /// The number of the packet, network byte order: the same when it is sent again.
    pub sequence: u32,
}

/// RFC 791; network byte order.
#[repr(C)]
struct Ipv4 {
    version_and_words: u8,
    service: u8,
    length: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

/// RFC 8200; network byte order.
#[repr(C)]
struct Ipv6 {
    version_and_flow: u32,
    length: u16,
    next: u8,
    hops: u8,
    source: Address,
    destination: Address,
}

/// The part of RFC 9293's header that is read; network byte order.
#[repr(C)]
struct Tcp {
    source: u16,
    destination: u16,
    sequence: u32,
    acknowledged: u32,
    offset_flags_window: [u8; 4],
}

/// A packet as a packet socket of the kind `SOCK_DGRAM` has it: it begins with the header of
/// IP, whatever the link is, and VLAN tags have been taken off (`net/packet/af_packet.c`,
/// `packet_rcv`).
pub struct Packet<'a>(&'a SkBuffContext);

/// What lies between the header of IP and that of TCP.
struct Way {
    source: Address,
    destination: Address,
    family: u16,
    tcp: u32,
}

impl<'a> Packet<'a> {
    /// The packet that a socket filter is run for.
    #[inline(always)]
    #[must_use]
    pub fn new(ctx: &'a SkBuffContext) -> Self {
        Self(ctx)
    }

    /// The number of the interface that it has come by.
    #[inline(always)]
    #[must_use]
    pub fn interface(&self) -> u32 {
        // SAFETY: the kernel passes a valid __sk_buff.
        unsafe { (*self.skb()).ifindex }
    }

    /// A SYN for a watched port of this machine; None for any other packet, and for one that
    /// is cut short.
    #[inline(always)]
    #[must_use]
    pub fn syn(&self) -> Option<Syn> {
        // SAFETY: as above.
        let (kind, protocol) = unsafe { ((*self.skb()).pkt_type, (*self.skb()).protocol) };
        if kind != PACKET_HOST {
            return None;
        }
        let way = match u16::from_be(protocol as u16) {
            ETH_P_IP => self.ipv4()?,
            ETH_P_IPV6 => self.ipv6()?,
            _ => return None,
        };
        let tcp: Tcp = self.load(way.tcp)?;
        let local_port = u16::from_be(tcp.destination);
        if tcp.offset_flags_window[1] & FIN_SYN_RST_ACK != SYN || !config::watched(local_port) {
            return None;
        }
        Some(Syn {
            ends: Ends {
                remote_address: way.source,
                local_address: way.destination,
                remote_port: u16::from_be(tcp.source),
                local_port,
                family: way.family,
            },
            sequence: tcp.sequence,
        })
    }

    #[inline(always)]
    fn ipv4(&self) -> Option<Way> {
        let ip: Ipv4 = self.load(0)?;
        let is_later_fragment = ip.fragment & 0x1fff_u16.to_be() != 0;
        (ip.protocol == TCP && !is_later_fragment).then_some(Way {
            source: from_v4(ip.source),
            destination: from_v4(ip.destination),
            family: AF_INET,
            tcp: u32::from(ip.version_and_words & 0xf) * 4,
        })
    }

    #[inline(always)]
    fn ipv6(&self) -> Option<Way> {
        let ip: Ipv6 = self.load(0)?;
        let mut next = ip.next;
        let mut at = size_of::<Ipv6>() as u32;
        for _ in 0..MAX_EXTENSIONS {
            if next == TCP {
                return Some(Way {
                    source: ip.source,
                    destination: ip.destination,
                    family: AF_INET6,
                    tcp: at,
                });
            }
            let extension: [u8; 4] = self.load(at)?;
            let length = u32::from(extension[1]);
            at += match next {
                HOP_BY_HOP | ROUTING | DESTINATION => (length + 1) * 8,
                AUTHENTICATION => (length + 2) * 4,
                FRAGMENT if u16::from_be_bytes([extension[2], extension[3]]) >> 3 == 0 => 8,
                _ => return None,
            };
            next = extension[0];
        }
        None
    }

    #[inline(always)]
    fn load<T>(&self, at: u32) -> Option<T> {
        self.0.load(at as usize).ok()
    }

    #[inline(always)]
    fn skb(&self) -> *const __sk_buff {
        self.0.skb.skb
    }
}
