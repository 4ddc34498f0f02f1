//! The one place that reads a kernel socket.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use conn_common::{
    AF_INET, AF_INET6, Address, COMMON_BYTES, UNKNOWN_OFFSET, UNKNOWN_WAIT, from_v4,
};

use crate::config::offset;

/// `IPPROTO_TCP` of `include/uapi/linux/in.h`.
const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_MPTCP` of the same file: a Multipath TCP socket, which the server accepts
/// in the place of its first TCP subflow.
const IPPROTO_MPTCP: u16 = 262;

/// The error of a closed socket on a kernel without BTF.
pub const NO_PORT: i32 = -1;

/// A `struct sock *` of the kernel.
#[derive(Clone, Copy)]
pub struct Socket(*const c_void);

/// The fields of a socket, by the way that the program may read them.
pub trait Fields {
    /// A field of `struct sock_common`.
    fn common<T: Copy>(&self, offset: u16) -> T;

    /// The protocol, which lies in `struct sock`.
    ///
    /// # Errors
    /// The kernel's, when the memory cannot be read.
    fn protocol_at(&self, offset: u16) -> Result<u16, i32>;

    /// The socket itself.
    fn socket(&self) -> Socket;

    /// Whether it is a socket of an IP family.
    #[inline(always)]
    fn is_ip(&self) -> bool {
        let family = self.family();
        family == AF_INET || family == AF_INET6
    }

    /// The local port of a socket of an IP family, host byte order.
    ///
    /// # Errors
    /// The kernel's, when the memory cannot be read; [`NO_PORT`] when the port is nowhere to
    /// be found.
    #[inline(always)]
    fn local_port(&self) -> Result<u16, i32> {
        match self.common(offset(|at| &at.num)) {
            0 => self.kept_port(),
            port => Ok(port),
        }
    }

    /// A connection that was reset while it waited is accepted all the same, closed already,
    /// and closing has cleared `skc_num` (`tcp_set_state`, `inet_put_port`).
    #[inline(always)]
    fn kept_port(&self) -> Result<u16, i32> {
        match offset(|at| &at.sport) {
            UNKNOWN_OFFSET => Err(NO_PORT),
            at_sport => self.socket().read(at_sport).map(u16::from_be),
        }
    }

    /// The protocol of a socket of an IP family.
    ///
    /// # Errors
    /// The kernel's, when the memory cannot be read.
    #[inline(always)]
    fn protocol(&self) -> Result<Protocol, i32> {
        match offset(|at| &at.protocol) {
            UNKNOWN_OFFSET => Ok(Protocol(IPPROTO_TCP)),
            at_protocol => self.protocol_at(at_protocol).map(Protocol),
        }
    }

    /// Both ends of the connection of a socket of an IP family.
    #[inline(always)]
    fn ends(&self, local_port: u16) -> Ends {
        let (remote_address, local_address) = if self.family() == AF_INET6 {
            (
                self.common(offset(|at| &at.v6_daddr)),
                self.common(offset(|at| &at.v6_rcv_saddr)),
            )
        } else {
            (
                from_v4(self.common(offset(|at| &at.daddr))),
                from_v4(self.common(offset(|at| &at.rcv_saddr))),
            )
        };
        Ends {
            remote_address,
            local_address,
            remote_port: u16::from_be(self.common(offset(|at| &at.dport))),
            local_port,
            // Read once more: of the value above the verifier knows by now what it is, and would
            // follow both families to the end.
            family: self.family(),
        }
    }

    /// The inode number of the socket's network namespace, 0 if it cannot be told.
    #[inline(always)]
    fn netns(&self) -> u32 {
        let at_inum = offset(|at| &at.netns_inum);
        if at_inum == UNKNOWN_OFFSET {
            return 0;
        }
        Socket(self.common(offset(|at| &at.net))).read_or_zero(at_inum)
    }

    /// How long the connection had been established by the time `now_ns` of `CLOCK_MONOTONIC`;
    /// [`UNKNOWN_WAIT`] if that cannot be told, as of a Multipath TCP socket, which is no
    /// `struct tcp_sock`.
    #[inline(always)]
    fn waited(&self, protocol: Protocol, now_ns: u64) -> u64 {
        let at_established = offset(|at| &at.established);
        if protocol.0 != IPPROTO_TCP || at_established == UNKNOWN_OFFSET {
            return UNKNOWN_WAIT;
        }
        // The kernel has cut the time to microseconds. 0 is before the first connection.
        match self.socket().read_or_zero::<u64>(at_established) {
            0 => UNKNOWN_WAIT,
            established_us => now_ns.saturating_sub(established_us * 1000),
        }
    }

    /// `AF_INET`, `AF_INET6` or any other.
    #[inline(always)]
    fn family(&self) -> u16 {
        self.common(offset(|at| &at.family))
    }
}

/// What a socket begins with.
pub type Common = [u64; COMMON_BYTES / 8];

/// The fields of a socket that a program has only the address of: a copy of what it begins with,
/// since one call of the helper costs more than to copy all of it does.
pub struct Copied<'a> {
    socket: Socket,
    common: &'a Common,
}

/// The fields of a socket that the verifier knows to be one (`PTR_TO_BTF_ID`): they are read where
/// they are, and the kernel sees to it that nothing happens if they are not there.
pub struct Direct(Socket);

/// The protocol of a socket, or on a kernel without BTF that of TCP.
#[derive(Clone, Copy)]
pub struct Protocol(u16);

impl Protocol {
    /// Whether it is TCP, or Multipath TCP.
    #[inline(always)]
    #[must_use]
    pub fn is_tcp(self) -> bool {
        // In one look, since the verifier would follow both protocols to the end.
        self.0 & !(IPPROTO_TCP ^ IPPROTO_MPTCP) == IPPROTO_TCP
    }
}
const _: () = assert!((IPPROTO_TCP ^ IPPROTO_MPTCP).is_power_of_two());

/// The two ends of a connection, as [`conn_common::Event`] holds them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client's address.
    pub remote_address: Address,
    /// The server's address.
    pub local_address: Address,
    /// The client's port, host byte order.
    pub remote_port: u16,
    /// The server's port, host byte order.
    pub local_port: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
}

impl Socket {
    /// None for a null pointer.
    #[inline(always)]
    #[must_use]
    pub fn new(sock: *const c_void) -> Option<Self> {
        (!sock.is_null()).then_some(Self(sock))
    }

    /// Copies what it begins with to `place`.
    ///
    /// # Errors
    /// The kernel's, when the memory cannot be read.
    #[inline(always)]
    pub fn copy(self, place: &mut MaybeUninit<Common>) -> Result<Copied<'_>, i32> {
        // SAFETY: the place has the bytes that the helper is told of; the helper checks the address
        // and fails on one that is not mapped.
        let result = unsafe {
            generated::bpf_probe_read_kernel(place.as_mut_ptr().cast(), COMMON_BYTES as u32, self.0)
        };
        match result {
            0 => Ok(Copied {
                socket: self,
                // SAFETY: the helper has written all of it.
                common: unsafe { place.assume_init_ref() },
            }),
            error => Err(error as i32),
        }
    }

    #[inline(always)]
    fn read<T>(self, offset: u16) -> Result<T, i32> {
        // SAFETY: the helper checks the address and fails on one that is not mapped;
        // every T used here (integers, words of an address, a pointer that is only
        // read through the helper again) is valid for any bytes.
        unsafe { bpf_probe_read_kernel(self.0.byte_add(usize::from(offset)).cast()) }
    }

    /// The same, and zero if it cannot be read, which the helper writes then
    /// (`bpf_probe_read_kernel_common`): that takes no branch for the verifier to follow both ways.
    #[inline(always)]
    fn read_or_zero<T>(self, offset: u16) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: as in `read`; the helper writes all of `value`, whatever it finds.
        unsafe {
            let source = self.0.byte_add(usize::from(offset)).cast();
            let size = size_of::<T>() as u32;
            generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size, source);
            value.assume_init()
        }
    }
}

impl Fields for Copied<'_> {
    #[inline(always)]
    fn common<T: Copy>(&self, offset: u16) -> T {
        // SAFETY: the user side gives no offsets but those that SocketOffsets::fit, and every T
        // used here is valid for any bytes. Volatile, so that what is read twice is, see `ends`.
        unsafe {
            let field = self.common.as_ptr().byte_add(usize::from(offset));
            field.cast::<T>().read_volatile()
        }
    }

    #[inline(always)]
    fn protocol_at(&self, offset: u16) -> Result<u16, i32> {
        self.socket.read(offset)
    }

    #[inline(always)]
    fn socket(&self) -> Socket {
        self.socket
    }
}

impl Direct {
    /// The fields of the socket that the kernel has passed to an LSM or fentry program. Of any other
    /// pointer the verifier refuses the program.
    #[inline(always)]
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self(socket)
    }
}

impl Fields for Direct {
    #[inline(always)]
    fn common<T: Copy>(&self, offset: u16) -> T {
        // SAFETY: the verifier lets a program only read within `struct sock`, and the kernel
        // makes zeros of what is not mapped. Volatile, since others write it.
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
    fn socket(&self) -> Socket {
        self.0
    }
}
