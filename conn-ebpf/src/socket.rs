//! The one place that reads a kernel socket.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_probe_read_kernel;
use conn_common::{AF_INET, AF_INET6, Address, UNKNOWN_OFFSET, UNKNOWN_WAIT, V4_MAPPED};

use crate::config::offset;

/// `IPPROTO_TCP` of `include/uapi/linux/in.h`.
const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_MPTCP` of the same file: a Multipath TCP socket, which the server accepts
/// in the place of its first TCP subflow.
const IPPROTO_MPTCP: u16 = 262;

/// The error of a closed socket on a kernel without BTF.
pub const NO_PORT: i32 = -1;

/// A `struct sock *` of the kernel, not null.
#[derive(Clone, Copy)]
pub struct Socket(*const c_void);

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

    /// The local port, host byte order; 0 of a socket that is not of an IP family.
    ///
    /// # Errors
    /// The kernel's, when the memory cannot be read; [`NO_PORT`] when the port is nowhere to
    /// be found.
    #[inline(always)]
    pub fn local_port(self) -> Result<u16, i32> {
        let port = self.port_or_error();
        if port < 0 { Err(port) } else { Ok(port as u16) }
    }

    /// The port, or a negative error, as the kernel's own functions have it: a Result that
    /// is passed on from a call to a call has a part that is not set, which the compiler
    /// may read all the same and the verifier then refuses.
    #[inline(always)]
    fn port_or_error(self) -> i32 {
        match self.read::<u16>(offset(|at| &at.num)) {
            Ok(0) => self.kept_port(),
            Ok(port) => i32::from(port),
            Err(error) => error,
        }
    }

    /// A connection that was reset while it waited is accepted all the same, closed already,
    /// and closing has cleared `skc_num` (`tcp_set_state`, `inet_put_port`).
    #[inline(always)]
    fn kept_port(self) -> i32 {
        match self.read(offset(|at| &at.family)) {
            Ok(family) if !is_ip(family) => return 0,
            Ok(_) => (),
            Err(error) => return error,
        }
        match offset(|at| &at.sport) {
            UNKNOWN_OFFSET => NO_PORT,
            at_sport => match self.read(at_sport) {
                Ok(port) => i32::from(u16::from_be(port)),
                Err(error) => error,
            },
        }
    }

    /// Both ends of a TCP connection, None for any other kind of socket.
    ///
    /// # Errors
    /// The kernel's, when the memory cannot be read.
    #[inline(always)]
    pub fn tcp_ends(self, local_port: u16) -> Result<Option<Ends>, i32> {
        let family = self.read(offset(|at| &at.family))?;
        if !is_ip(family) {
            return Ok(None);
        }
        let at_protocol = offset(|at| &at.protocol);
        if at_protocol != UNKNOWN_OFFSET {
            let protocol: u16 = self.read(at_protocol)?;
            if protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP {
                return Ok(None);
            }
        }
        let (remote_address, local_address) = if family == AF_INET6 {
            (
                self.read(offset(|at| &at.v6_daddr))?,
                self.read(offset(|at| &at.v6_rcv_saddr))?,
            )
        } else {
            (
                v4_mapped(self.read(offset(|at| &at.daddr))?),
                v4_mapped(self.read(offset(|at| &at.rcv_saddr))?),
            )
        };
        Ok(Some(Ends {
            remote_address,
            local_address,
            remote_port: u16::from_be(self.read(offset(|at| &at.dport))?),
            local_port,
            family,
        }))
    }

    /// How long the connection had been established by the time `now_ns` of `CLOCK_MONOTONIC`;
    /// [`UNKNOWN_WAIT`] if that cannot be told, as of a Multipath TCP socket, which is no
    /// `struct tcp_sock`.
    #[inline(always)]
    #[must_use]
    pub fn waited(self, now_ns: u64) -> u64 {
        let at_established = offset(|at| &at.established);
        let at_protocol = offset(|at| &at.protocol);
        if at_established == UNKNOWN_OFFSET || at_protocol == UNKNOWN_OFFSET {
            return UNKNOWN_WAIT;
        }
        match self.read::<u16>(at_protocol) {
            Ok(IPPROTO_TCP) => (),
            _ => return UNKNOWN_WAIT,
        }
        match self.read::<u64>(at_established) {
            // The kernel has cut the time to microseconds. 0 is before the first connection.
            Ok(established_us @ 1..) => now_ns.saturating_sub(established_us * 1000),
            _ => UNKNOWN_WAIT,
        }
    }

    /// The inode number of the socket's network namespace, 0 if it cannot be told.
    #[inline(always)]
    #[must_use]
    pub fn netns(self) -> u32 {
        let at_inum = offset(|at| &at.netns_inum);
        if at_inum == UNKNOWN_OFFSET {
            return 0;
        }
        match self.read::<*const c_void>(offset(|at| &at.net)) {
            Ok(net) if !net.is_null() => Self(net).read(at_inum).unwrap_or(0),
            _ => 0,
        }
    }

    #[inline(always)]
    fn read<T>(self, offset: u16) -> Result<T, i32> {
        // SAFETY: the helper checks the address and fails on one that is not mapped;
        // every T used here (integers, words of an address, a pointer that is only
        // read through the helper again) is valid for any bytes.
        unsafe { bpf_probe_read_kernel(self.0.byte_add(usize::from(offset)).cast()) }
    }
}

#[inline(always)]
fn is_ip(family: u16) -> bool {
    family == AF_INET || family == AF_INET6
}

/// The IPv4-mapped form of an IPv4 address in network byte order.
#[inline(always)]
pub(crate) fn v4_mapped(address: u32) -> Address {
    [0, 0, V4_MAPPED, address]
}
