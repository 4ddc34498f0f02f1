//! Reads kernel sockets; nothing else does.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated;
use conn_common::{
    AF_INET, AF_INET6, Address, COMMON_BYTES, UNKNOWN_OFFSET, UNKNOWN_WAIT, from_v4,
};

use crate::{
    config::{is_on, offset},
    memory,
};

/// `IPPROTO_TCP` of `include/uapi/linux/in.h`.
const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_MPTCP` of the same file: a Multipath TCP socket, which the server accepts instead of
/// its first TCP subflow.
const IPPROTO_MPTCP: u16 = 262;

/// `SS_CONNECTING` of `include/uapi/linux/net.h`.
const SS_CONNECTING: u32 = 2;

/// The error of [`Fields::local_port`] for a closed socket on a kernel without BTF; not an `errno`
/// of the kernel.
pub const NO_PORT: i32 = -1;

/// A `struct sock *` of the kernel (`include/net/sock.h`).
#[derive(Clone, Copy)]
pub struct Socket(*const c_void);

/// The fields of a socket. Kprobe and tracepoint programs read them with [`Copied`], LSM and fentry
/// programs with [`Direct`].
pub trait Fields {
    /// A field of `struct sock_common`, in the byte order that it has there. The offset is in bytes
    /// and must be one that [`fit`](conn_common::SocketOffsets::fit) has checked; `T` must be valid
    /// for any bytes.
    fn common<T: Copy>(&self, offset: u16) -> T;

    /// The protocol at this offset, in bytes, of `struct sock`: an `IPPROTO_` number in host byte
    /// order.
    ///
    /// # Errors
    /// A negative `errno` of the kernel if the memory cannot be read.
    fn protocol_at(&self, offset: u16) -> Result<u16, i32>;

    /// The port, network byte order, at this offset, in bytes, of `struct inet_sock`.
    ///
    /// # Errors
    /// A negative `errno` of the kernel if the memory cannot be read, or [`NO_PORT`].
    fn inet_port(&self, offset: u16) -> Result<u16, i32>;

    /// The 64 bits at this offset, in bytes, of the `struct tcp_sock`; 0 if they cannot be read.
    fn tcp_word(&self, offset: u16) -> u64;

    /// The 32 bits at `inner`, in bytes, of what the pointer at `outer` of `struct sock` points to; 0 if
    /// they cannot be read. `outer` is an offset in `struct sock_common`.
    fn pointed_word(&self, outer: u16, inner: u16) -> u32;

    /// Like [`Self::pointed_word`], with a pointer at `middle` in between.
    fn twice_pointed_word(&self, outer: u16, middle: u16, inner: u16) -> u32;

    /// Whether the socket's family is `AF_INET` or `AF_INET6`.
    #[inline(always)]
    fn is_ip(&self) -> bool {
        let family = self.family();
        family == AF_INET || family == AF_INET6
    }

    /// The local port of a socket of an IP family, host byte order.
    ///
    /// # Errors
    /// Those of [`Self::kept_port`], which closed sockets need.
    #[inline(always)]
    fn local_port(&self) -> Result<u16, i32> {
        match self.common(offset(|offsets| &offsets.num)) {
            0 => self.kept_port(),
            port => Ok(port),
        }
    }

    /// The local port of a closed socket of an IP family, host byte order, from `inet_sport`.
    ///
    /// `accept` also returns a connection that was reset while it waited. It is closed, which
    /// cleared `skc_num` (`tcp_set_state`, `inet_put_port`).
    ///
    /// # Errors
    /// A negative `errno` of the kernel if the memory cannot be read; [`NO_PORT`] on a kernel
    /// without BTF.
    #[inline(always)]
    fn kept_port(&self) -> Result<u16, i32> {
        match offset(|offsets| &offsets.sport) {
            UNKNOWN_OFFSET => Err(NO_PORT),
            sport_offset => self.inet_port(sport_offset).map(u16::from_be),
        }
    }

    /// The protocol of a socket of an IP family; TCP on a kernel without BTF.
    ///
    /// # Errors
    /// A negative `errno` of the kernel if the memory cannot be read.
    #[inline(always)]
    fn protocol(&self) -> Result<Protocol, i32> {
        match offset(|offsets| &offsets.protocol) {
            UNKNOWN_OFFSET => Ok(Protocol(IPPROTO_TCP)),
            protocol_offset => self.protocol_at(protocol_offset).map(Protocol),
        }
    }

    /// Both ends of the connection of a socket of an IP family. `local_port` is in host byte order,
    /// from [`Self::local_port`].
    #[inline(always)]
    fn ends(&self, local_port: u16) -> Ends {
        let v6_daddr = offset(|offsets| &offsets.v6_daddr);
        let v6_rcv_saddr = offset(|offsets| &offsets.v6_rcv_saddr);
        let has_v6 = v6_daddr != UNKNOWN_OFFSET && v6_rcv_saddr != UNKNOWN_OFFSET;
        let (remote_address, local_address) = if has_v6 && self.family() == AF_INET6 {
            (self.common(v6_daddr), self.common(v6_rcv_saddr))
        } else {
            (
                from_v4(self.common(offset(|offsets| &offsets.daddr))),
                from_v4(self.common(offset(|offsets| &offsets.rcv_saddr))),
            )
        };
        Ends {
            remote_address,
            local_address,
            remote_port: u16::from_be(self.common(offset(|offsets| &offsets.dport))),
            local_port,
            // Read again: in each branch above the verifier knows the value, and would follow both
            // families to the end.
            family: self.family(),
            network_name: 0,
        }
    }

    /// The inode number of the socket's network namespace; 0 if it is not known.
    #[inline(always)]
    fn netns(&self) -> u32 {
        let net_offset = offset(|offsets| &offsets.net);
        let inum_offset = offset(|offsets| &offsets.netns_inum);
        if net_offset == UNKNOWN_OFFSET || inum_offset == UNKNOWN_OFFSET {
            return 0;
        }
        self.pointed_word(net_offset, inum_offset)
    }

    /// The address of the `struct net` of the socket's network namespace; 0 if it has none.
    #[inline(always)]
    fn net(&self) -> u64 {
        match offset(|offsets| &offsets.net) {
            UNKNOWN_OFFSET => 0,
            net_offset => self.common(net_offset),
        }
    }

    /// The level of the user namespace to which the socket's network namespace belongs: 0 for the
    /// initial one, and if it is not known.
    #[inline(always)]
    fn owner_level(&self) -> u32 {
        let net_offset = offset(|offsets| &offsets.net);
        let owner_offset = offset(|offsets| &offsets.netns_owner);
        let level_offset = offset(|offsets| &offsets.user_ns_level);
        if [net_offset, owner_offset, level_offset].contains(&UNKNOWN_OFFSET) {
            return 0;
        }
        self.twice_pointed_word(net_offset, owner_offset, level_offset)
    }

    /// For how many nanoseconds the connection has been established at `now_ns`, nanoseconds of
    /// `CLOCK_MONOTONIC`. [`UNKNOWN_WAIT`] if that is not known, as for a Multipath TCP socket,
    /// which is not a `struct tcp_sock`.
    #[inline(always)]
    fn waited(&self, protocol: Protocol, now_ns: u64) -> u64 {
        let established_offset = offset(|offsets| &offsets.established);
        if protocol.0 != IPPROTO_TCP || established_offset == UNKNOWN_OFFSET {
            return UNKNOWN_WAIT;
        }
        // The kernel truncates the time to microseconds. 0 is before any connection.
        match self.tcp_word(established_offset) {
            0 => UNKNOWN_WAIT,
            established_us => now_ns.saturating_sub(established_us * 1000),
        }
    }

    /// The address family, host byte order: `AF_INET`, `AF_INET6` or any other.
    #[inline(always)]
    fn family(&self) -> u16 {
        self.common(offset(|offsets| &offsets.family))
    }
}

/// The first [`COMMON_BYTES`] bytes of a socket.
pub type Common = [u64; COMMON_BYTES / 8];

/// The fields of a socket of which the program only has the address. They are in a copy of the
/// start of the socket: a call of the helper costs more than copying all of it.
pub struct Copied<'a> {
    socket: Socket,
    common: &'a Common,
}

/// The fields of a socket whose type the verifier knows (`PTR_TO_BTF_ID`). The program reads them
/// in place; if they are not mapped, the kernel handles the fault and the value is 0. Where a helper
/// is used for others, it is allowed and costs less: on Linux 6.1, a program that can call
/// `bpf_skc_to_tcp_sock` takes 1,100 instructions more for each accept.
pub struct Direct(Socket);

/// The protocol of a socket, an `IPPROTO_` number in host byte order; TCP on a kernel without BTF.
#[derive(Clone, Copy)]
pub struct Protocol(u16);

impl Protocol {
    /// Whether it is TCP, but not Multipath TCP.
    #[inline(always)]
    #[must_use]
    pub fn is_plain_tcp(self) -> bool {
        self.0 == IPPROTO_TCP
    }

    /// Whether it is TCP, or Multipath TCP.
    #[inline(always)]
    #[must_use]
    pub fn is_tcp(self) -> bool {
        // One test, since the verifier would follow both protocols to the end.
        self.0 & !(IPPROTO_TCP ^ IPPROTO_MPTCP) == IPPROTO_TCP
    }
}
const _: () = assert!((IPPROTO_TCP ^ IPPROTO_MPTCP).is_power_of_two());

/// The two ends of a connection, in the form that [`conn_common::Event`] has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client's address.
    pub remote_address: Address,
    /// The address that the client connected to.
    pub local_address: Address,
    /// The client's port, host byte order.
    pub remote_port: u16,
    /// The server's port, host byte order.
    pub local_port: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// The number of the name of the client's network, which [`crate::filter::wants_ends`] finds out.
    pub network_name: u32,
}

impl Socket {
    /// The socket at this address; `None` for a null pointer.
    #[inline(always)]
    #[must_use]
    pub fn new(sock: *const c_void) -> Option<Self> {
        (!sock.is_null()).then_some(Self(sock))
    }

    /// Copies the start of the socket to `buffer`.
    ///
    /// # Errors
    /// A negative `errno` of the kernel if the memory cannot be read.
    #[inline(always)]
    pub fn copy(self, buffer: &mut MaybeUninit<Common>) -> Result<Copied<'_>, i32> {
        // SAFETY: the buffer has the bytes that are passed as its size; the helper checks the
        // address and fails on one that is not mapped.
        let result = unsafe {
            generated::bpf_probe_read_kernel(
                buffer.as_mut_ptr().cast(),
                COMMON_BYTES as u32,
                self.0,
            )
        };
        match result {
            0 => Ok(Copied {
                socket: self,
                // SAFETY: the helper wrote all of it.
                common: unsafe { buffer.assume_init_ref() },
            }),
            error => Err(error as i32),
        }
    }
}

impl Copied<'_> {
    /// Whether it is the socket of an application that is connecting it. The socket of a listener's
    /// connection is no application's until it is accepted. `false` on a kernel without BTF.
    #[inline(always)]
    #[must_use]
    pub fn connects(&self) -> bool {
        let owner_offset = offset(|offsets| &offsets.owner);
        let state_offset = offset(|offsets| &offsets.owner_state);
        if owner_offset == UNKNOWN_OFFSET || state_offset == UNKNOWN_OFFSET {
            return false;
        }
        let owner = memory::read_or_zero::<*const c_void>(self.socket.0, owner_offset);
        !owner.is_null() && memory::read_or_zero::<u32>(owner, state_offset) == SS_CONNECTING
    }
}

impl Fields for Copied<'_> {
    #[inline(always)]
    fn common<T: Copy>(&self, offset: u16) -> T {
        // SAFETY: the user side only passes offsets that SocketOffsets::fit accepts, and every T
        // used here is valid for any bytes. Volatile, so that `ends` does read the family twice.
        unsafe {
            let field = self.common.as_ptr().byte_add(usize::from(offset));
            field.cast::<T>().read_volatile()
        }
    }

    #[inline(always)]
    fn protocol_at(&self, offset: u16) -> Result<u16, i32> {
        memory::read(self.socket.0, offset)
    }

    #[inline(always)]
    fn inet_port(&self, offset: u16) -> Result<u16, i32> {
        memory::read(self.socket.0, offset)
    }

    #[inline(always)]
    fn tcp_word(&self, offset: u16) -> u64 {
        memory::read_or_zero(self.socket.0, offset)
    }

    #[inline(always)]
    fn pointed_word(&self, outer: u16, inner: u16) -> u32 {
        memory::read_or_zero(self.common(outer), inner)
    }

    #[inline(always)]
    fn twice_pointed_word(&self, outer: u16, middle: u16, inner: u16) -> u32 {
        memory::read_or_zero(memory::read_or_zero(self.common(outer), middle), inner)
    }
}

impl Direct {
    /// The same socket as a `struct tcp_sock`, whose fields the verifier knows, too. None if it is not
    /// one.
    #[inline(always)]
    fn as_tcp(&self) -> Option<Self> {
        Self::tcp(self.0)
    }

    /// The fields of a socket that the kernel passed to the program, of whichever type, as those of a
    /// `struct tcp_sock`. None if it is not one. The verifier refuses a program that uses any other
    /// pointer.
    #[inline(always)]
    #[must_use]
    pub fn tcp(socket: Socket) -> Option<Self> {
        // SAFETY: the helper only looks at the socket that the kernel passed to the program.
        let tcp = unsafe { generated::bpf_skc_to_tcp_sock(socket.0.cast_mut()) };
        Socket::new(tcp.cast_const().cast()).map(Self)
    }

    /// The fields of the socket that the kernel passed to an LSM or fentry program. The verifier
    /// refuses a program that uses any other pointer.
    #[inline(always)]
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self(socket)
    }
}

impl Fields for Direct {
    #[inline(always)]
    fn common<T: Copy>(&self, offset: u16) -> T {
        // SAFETY: the verifier lets a program read only within `struct sock`, and a load from
        // unmapped memory gives zeros. Volatile, since the kernel changes it meanwhile.
        unsafe {
            self.0
                .0
                .byte_add(usize::from(offset))
                .cast::<T>()
                .read_volatile()
        }
    }

    #[inline(always)]
    fn protocol_at(&self, offset: u16) -> Result<u16, i32> {
        Ok(self.common(offset))
    }

    #[inline(always)]
    fn inet_port(&self, offset: u16) -> Result<u16, i32> {
        if is_on(|config| &config.locked_down) {
            // A tcp_sock begins with an inet_sock.
            self.as_tcp().map(|tcp| tcp.common(offset)).ok_or(NO_PORT)
        } else {
            memory::read(self.0.0, offset)
        }
    }

    #[inline(always)]
    fn tcp_word(&self, offset: u16) -> u64 {
        if is_on(|config| &config.locked_down) {
            self.as_tcp().map_or(0, |tcp| tcp.common(offset))
        } else {
            memory::read_or_zero(self.0.0, offset)
        }
    }

    #[inline(always)]
    fn pointed_word(&self, outer: u16, inner: u16) -> u32 {
        // The verifier knows what a pointer that it lets a program load points to.
        Self(Socket(self.common(outer))).common(inner)
    }

    #[inline(always)]
    fn twice_pointed_word(&self, outer: u16, middle: u16, inner: u16) -> u32 {
        let pointed = Self(Socket(self.common(outer)));
        Self(Socket(pointed.common(middle))).common(inner)
    }
}
