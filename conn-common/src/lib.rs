//! The types that cross from conn-cli's eBPF programs to its user side.
//!
//! Every type is `#[repr(C)]`, has no padding and no invalid bit pattern, so that
//! both sides may treat it as plain bytes. Sizes are asserted when this crate is
//! compiled; a mismatch between the two sides cannot be built.
#![no_std]

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};

/// An IP address: the 16 bytes of an IPv6 address in network order, as four words
/// that hold them as they lie in memory.
///
/// An IPv4 address is kept in its IPv4-mapped form, `::ffff:a.b.c.d`, whichever
/// family the socket has: a client of a dual-stack server is one client.
pub type Address = [u32; 4];

/// The third word of an IPv4-mapped address: `00 00 ff ff` in memory.
pub const V4_MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// `AF_INET` of `include/linux/socket.h`.
pub const AF_INET: u16 = 2;
/// `AF_INET6` of `include/linux/socket.h`.
pub const AF_INET6: u16 = 10;

/// The event came from the kretprobe on `inet_csk_accept`.
pub const HOOK_KRETPROBE: u16 = 1;
/// The event came from the kprobe on `security_sock_graft`: the kretprobe did not
/// see this connection.
pub const HOOK_KPROBE: u16 = 2;
/// The event came from the fentry program on `security_sock_graft`.
pub const HOOK_FENTRY: u16 = 3;
/// The event came from the tracepoint `sock:inet_sock_set_state`.
pub const HOOK_TRACEPOINT: u16 = 4;

/// One accepted connection, a record of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Event {
    /// When the hook ran: nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// The cgroup v2 id of the accepting task; 0 from the tracepoint.
    pub cgroup: u64,
    /// The client's address.
    pub remote_address: Address,
    /// The address that the client connected to.
    pub local_address: Address,
    /// The command name of the accepting thread, padded with NUL; zero from the
    /// tracepoint. Its owner chooses it freely: any bytes.
    pub comm: [u8; 16],
    /// The accepting thread; 0 from the tracepoint, which runs in whatever task
    /// the packet interrupted.
    pub pid: u32,
    /// The accepting process (its thread group); 0 from the tracepoint.
    pub tgid: u32,
    /// The user of the accepting process; 0 from the tracepoint.
    pub uid: u32,
    /// The inode number of the socket's network namespace; 0 where the kernel's
    /// BTF does not tell where it is.
    pub netns: u32,
    /// The client's port, host byte order.
    pub remote_port: u16,
    /// The server's port, host byte order.
    pub local_port: u16,
    /// The socket's family, [`AF_INET`] or [`AF_INET6`].
    pub family: u16,
    /// Which hook saw it, one of the `HOOK_` constants.
    pub hook: u16,
}
const _: () = assert!(size_of::<Event>() == 88);

/// The key of the map of totals; its value is a `u64`, the number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct ClientKey {
    /// The client's address.
    pub remote_address: Address,
    /// The server's port, host byte order.
    pub local_port: u32,
}
const _: () = assert!(size_of::<ClientKey>() == 20);

/// What the programs count apart from the connections of each client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Counters {
    /// Events that found no room in the ring buffer. Their connections are in the
    /// totals all the same.
    pub ring_full: u64,
    /// Connections that only `security_sock_graft` saw, of the kretprobe pair.
    pub second_hook_only: u64,
    /// Connections of clients that found no room in the map of totals.
    pub other_clients: u64,
    /// Sockets that could not be read, whose connections are in no total.
    pub unreadable: u64,
}
const _: () = assert!(size_of::<Counters>() == 32);

/// Where the fields of a socket are: bytes from the start of the named structure
/// of the running kernel.
///
/// Those that begin with `skc_` lie in `struct sock_common`, with which `struct sock` and
/// `struct inet_sock` begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct SocketOffsets {
    /// `skc_daddr`: the remote IPv4 address, network byte order.
    pub daddr: u16,
    /// `skc_rcv_saddr`: the local IPv4 address, network byte order.
    pub rcv_saddr: u16,
    /// `skc_dport`: the remote port, network byte order.
    pub dport: u16,
    /// `skc_num`: the local port, host byte order.
    pub num: u16,
    /// `skc_family`.
    pub family: u16,
    /// `skc_v6_daddr`: the remote IPv6 address.
    pub v6_daddr: u16,
    /// `skc_v6_rcv_saddr`: the local IPv6 address.
    pub v6_rcv_saddr: u16,
    /// `skc_net`: a pointer to `struct net`.
    pub net: u16,
    /// `sk_protocol` of `struct sock`, 16 bits wide since Linux 5.6;
    /// [`UNKNOWN_OFFSET`] without BTF.
    pub protocol: u16,
    /// `ns.inum` of `struct net`; [`UNKNOWN_OFFSET`] without BTF.
    pub netns_inum: u16,
    /// `inet_sport` of `struct inet_sock`: the local port, network byte order, which a
    /// socket keeps when it is closed; [`UNKNOWN_OFFSET`] without BTF.
    pub sport: u16,
}
const _: () = assert!(size_of::<SocketOffsets>() == 22);

/// A field whose place is not known; what it holds is not read.
pub const UNKNOWN_OFFSET: u16 = u16::MAX;

impl SocketOffsets {
    /// What holds without BTF: the start of `struct sock_common` has been the same
    /// in every kernel from 5.8 to 7.2, on 64-bit machines.
    pub const STABLE: Self = Self {
        daddr: 0,
        rcv_saddr: 4,
        dport: 12,
        num: 14,
        family: 16,
        v6_daddr: 56,
        v6_rcv_saddr: 72,
        net: 48,
        protocol: UNKNOWN_OFFSET,
        netns_inum: UNKNOWN_OFFSET,
        sport: UNKNOWN_OFFSET,
    };
}

/// How the user side wants the programs to run; constant once they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Config {
    /// Not 0: write an [`Event`] for every connection; 0: only count it.
    pub emit_events: u32,
}
const _: () = assert!(size_of::<Config>() == 4);

/// The words of a [`PortBits`].
pub const PORT_WORDS: usize = 65536 / 64;

/// The local ports to watch, a bit for each: port `p` is bit `p % 64` of word `p / 64`.
pub type PortBits = [u64; PORT_WORDS];
