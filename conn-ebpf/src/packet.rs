//! Reads packets; nothing else does.

use aya_ebpf::{bindings::__sk_buff, programs::SkBuffContext};
use conn_common::{AF_INET, AF_INET6, Address, from_v4};

use crate::{config, socket::Ends, syn::Syn};

/// `ETH_P_IP` of `include/uapi/linux/if_ether.h`.
const ETH_P_IP: u16 = 0x0800;
/// `ETH_P_IPV6` of the same file.
const ETH_P_IPV6: u16 = 0x86dd;
/// `PACKET_HOST` of `include/uapi/linux/if_packet.h`: the link layer's destination is this machine.
const PACKET_HOST: u32 = 0;

/// `IPPROTO_TCP` of `include/uapi/linux/in.h`, and the IPv6 extension headers that can precede TCP,
/// of `include/uapi/linux/in6.h`.
const TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// More extension headers than any legitimate packet has.
const MAX_EXTENSIONS: u32 = 8;

/// TCP flags.
const FIN_SYN_RST_ACK: u8 = 0x17;
const SYN: u8 = 0x02;

/// The IPv4 header (RFC 791); network byte order.
#[repr(C)]
struct Ipv4 {
    version_and_ihl: u8,
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

/// The IPv6 header (RFC 8200); network byte order.
#[repr(C)]
struct Ipv6 {
    version_and_flow: u32,
    length: u16,
    next: u8,
    hops: u8,
    source: Address,
    destination: Address,
}

/// The start of the TCP header (RFC 9293), which the first fragment of a packet always has; network
/// byte order.
#[repr(C)]
struct Tcp {
    source: u16,
    destination: u16,
    sequence: u32,
}

/// The offset of data offset, flags and window in the TCP header, in bytes.
const OFFSET_FLAGS_WINDOW: u32 = 12;

/// The packet may be a SYN, but what would tell is not where it can be read.
#[derive(Clone, Copy)]
pub struct Unreadable;

/// Whether a segment with these flags, the second byte from [`OFFSET_FLAGS_WINDOW`] on, is a SYN
/// without ACK.
#[inline(always)]
pub(crate) fn is_syn(flags: u8) -> bool {
    flags & FIN_SYN_RST_ACK == SYN
}

/// A packet as a packet socket of the type `SOCK_DGRAM` gets it: it begins with the IP header,
/// whatever the link layer is, without VLAN tags (`net/packet/af_packet.c`, `packet_rcv`).
pub struct Packet<'a>(&'a SkBuffContext);

/// What the IP headers of a TCP packet contain.
struct IpHeaders {
    source: Address,
    destination: Address,
    family: u16,
    /// The offset of the TCP header, in bytes from the start of the packet.
    tcp_offset: u32,
}

impl<'a> Packet<'a> {
    /// The packet that a socket filter runs for.
    #[inline(always)]
    #[must_use]
    pub fn new(ctx: &'a SkBuffContext) -> Self {
        Self(ctx)
    }

    /// The index of the interface on which the packet arrived (`ifindex` of `struct __sk_buff`,
    /// `include/uapi/linux/bpf.h`).
    #[inline(always)]
    #[must_use]
    pub fn interface(&self) -> u32 {
        // SAFETY: the kernel passes a valid __sk_buff.
        unsafe { (*self.skb()).ifindex }
    }

    /// The SYN for a watched port of this machine; `None` for any other packet, for a later fragment
    /// of one, and for a truncated one.
    ///
    /// # Errors
    /// It has more extension headers than this reads, or it is the first fragment of a TCP packet to
    /// a watched port, without the flags.
    #[inline(always)]
    pub fn syn(&self) -> Result<Option<Syn>, Unreadable> {
        // SAFETY: the kernel passes a valid __sk_buff.
        let (packet_type, protocol) = unsafe { ((*self.skb()).pkt_type, (*self.skb()).protocol) };
        if packet_type != PACKET_HOST {
            return Ok(None);
        }
        let headers = match u16::from_be(protocol as u16) {
            ETH_P_IP => self.ipv4(),
            ETH_P_IPV6 => self.ipv6()?,
            _ => None,
        };
        let Some(headers) = headers else {
            return Ok(None);
        };
        let Some(tcp) = self.load::<Tcp>(headers.tcp_offset) else {
            return Ok(None);
        };
        let local_port = u16::from_be(tcp.destination);
        if !config::watched(local_port) {
            return Ok(None);
        }
        let flags = self.load::<[u8; 4]>(headers.tcp_offset + OFFSET_FLAGS_WINDOW);
        if !is_syn(flags.ok_or(Unreadable)?[1]) {
            return Ok(None);
        }
        Ok(Some(Syn {
            ends: Ends {
                remote_address: headers.source,
                local_address: headers.destination,
                remote_port: u16::from_be(tcp.source),
                local_port,
                family: headers.family,
                network_name: 0,
            },
            sequence: tcp.sequence,
        }))
    }

    #[inline(always)]
    fn ipv4(&self) -> Option<IpHeaders> {
        let ip: Ipv4 = self.load(0)?;
        let is_later_fragment = ip.fragment & 0x1fff_u16.to_be() != 0;
        (ip.protocol == TCP && !is_later_fragment).then_some(IpHeaders {
            source: from_v4(ip.source),
            destination: from_v4(ip.destination),
            family: AF_INET,
            tcp_offset: u32::from(ip.version_and_ihl & 0xf) * 4,
        })
    }

    #[inline(always)]
    fn ipv6(&self) -> Result<Option<IpHeaders>, Unreadable> {
        let Some(ip) = self.load::<Ipv6>(0) else {
            return Ok(None);
        };
        let mut next = ip.next;
        let mut offset = size_of::<Ipv6>() as u32;
        for _ in 0..=MAX_EXTENSIONS {
            if next == TCP {
                return Ok(Some(IpHeaders {
                    source: ip.source,
                    destination: ip.destination,
                    family: AF_INET6,
                    tcp_offset: offset,
                }));
            }
            let Some(extension) = self.load::<[u8; 4]>(offset) else {
                return Ok(None);
            };
            let length = u32::from(extension[1]);
            offset += match next {
                HOP_BY_HOP | ROUTING | DESTINATION => (length + 1) * 8,
                AUTHENTICATION => (length + 2) * 4,
                FRAGMENT if u16::from_be_bytes([extension[2], extension[3]]) >> 3 == 0 => 8,
                _ => return Ok(None),
            };
            next = extension[0];
        }
        Err(Unreadable)
    }

    #[inline(always)]
    fn load<T>(&self, offset: u32) -> Option<T> {
        self.0.load(offset as usize).ok()
    }

    #[inline(always)]
    fn skb(&self) -> *const __sk_buff {
        self.0.skb.skb
    }
}
