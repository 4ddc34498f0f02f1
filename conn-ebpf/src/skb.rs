//! Reads the kernel's packets, `struct sk_buff`, as TCP gets them; nothing else does.

use core::ffi::c_void;

use conn_common::{AF_INET, AF_INET6, Address, UNKNOWN_OFFSET, from_v4};

use crate::{
    config::{self, offset, request_offset},
    memory,
    namespace::Namespace,
    packet::is_syn,
    socket::Ends,
    syn::Syn,
};

/// A `struct sk_buff *` that the kernel passes to an fentry program, with a TCP segment whose headers
/// are in one piece, and whose control block TCP has filled in (`net/ipv4/tcp_ipv4.c`,
/// `tcp_v4_fill_cb`).
#[derive(Clone, Copy)]
pub struct Skb(*const c_void);

/// The IPv6 header, or an IPv4 header and what follows it, at least that of TCP.
#[repr(C)]
struct IpHeader([u64; 5]);

/// The start of a TCP header; network byte order.
#[repr(C)]
struct Tcp {
    source: u16,
    destination: u16,
    sequence: u32,
}

impl Skb {
    /// The packet that the kernel passed to the program. The verifier refuses a program that uses any
    /// other pointer.
    #[inline(always)]
    #[must_use]
    pub fn new(skb: *const c_void) -> Self {
        Self(skb)
    }

    /// The SYN for a watched port; `None` for any other segment.
    ///
    /// # Errors
    /// A negative `errno` of the kernel if the memory cannot be read.
    #[inline(always)]
    pub fn syn(self) -> Result<Option<Syn>, i32> {
        // The cheapest first: most segments that come here are the last of a handshake.
        if !is_syn(self.field(request_offset(|offsets| &offsets.tcp_flags))) {
            return Ok(None);
        }
        let tcp: Tcp = self.header(request_offset(|offsets| &offsets.transport_header))?;
        let local_port = u16::from_be(tcp.destination);
        if !config::watched(local_port) {
            return Ok(None);
        }
        let ip: IpHeader = self.header(request_offset(|offsets| &offsets.network_header))?;
        let (remote_address, local_address, family) = ip.addresses();
        Ok(Some(Syn {
            ends: Ends {
                remote_address,
                local_address,
                remote_port: u16::from_be(tcp.source),
                local_port,
                family,
                network_name: 0,
            },
            sequence: tcp.sequence,
        }))
    }

    /// The header whose place in the packet's buffer is in the field at this offset.
    #[inline(always)]
    fn header<T>(self, offset: u16) -> Result<T, i32> {
        let head = self.field(request_offset(|offsets| &offsets.head));
        memory::read(head, self.field(offset))
    }

    /// The field at this offset, in bytes.
    #[inline(always)]
    fn field<T: Copy>(self, offset: u16) -> T {
        // SAFETY: the verifier lets a program read only within `struct sk_buff`, and a load from
        // unmapped memory gives zeros; every T used here is valid for any bytes.
        unsafe {
            let field = self.0.byte_add(usize::from(offset));
            field.cast::<T>().read_volatile()
        }
    }
}

/// The network namespace of the interface that the packet came from.
impl Namespace for Skb {
    #[inline(always)]
    fn address(&self) -> u64 {
        let net_offset = request_offset(|offsets| &offsets.dev_net);
        if net_offset == UNKNOWN_OFFSET {
            return 0;
        }
        memory::read_or_zero(
            self.field(request_offset(|offsets| &offsets.dev)),
            net_offset,
        )
    }

    #[inline(always)]
    fn inode(&self) -> u32 {
        let inum_offset = offset(|offsets| &offsets.netns_inum);
        if inum_offset == UNKNOWN_OFFSET {
            return 0;
        }
        memory::read_or_zero(self.address() as *const c_void, inum_offset)
    }

    #[inline(always)]
    fn owner_level(&self) -> u32 {
        let owner_offset = offset(|offsets| &offsets.netns_owner);
        let level_offset = offset(|offsets| &offsets.user_ns_level);
        if [owner_offset, level_offset].contains(&UNKNOWN_OFFSET) {
            return 0;
        }
        let owner = memory::read_or_zero(self.address() as *const c_void, owner_offset);
        memory::read_or_zero(owner, level_offset)
    }
}

impl IpHeader {
    /// The source, the destination, and the family.
    #[inline(always)]
    fn addresses(&self) -> (Address, Address, u16) {
        let Self([_, second, third, fourth, fifth]) = *self;
        let start: *const u8 = (&raw const self.0).cast();
        // SAFETY: within the header.
        if unsafe { start.read() } >> 4 == 6 {
            return ([second, third], [fourth, fifth], AF_INET6);
        }
        // SAFETY: within the header, and aligned as that is.
        let (source, destination) = unsafe {
            let words = start.cast::<u32>();
            (words.add(3).read(), words.add(4).read())
        };
        (from_v4(source), from_v4(destination), AF_INET)
    }
}
