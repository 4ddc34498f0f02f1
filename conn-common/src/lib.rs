//! The types that cross from conn-cli's eBPF programs to its user side.
//!
//! Every type is `#[repr(C)]`, has no padding and no invalid bit pattern, so that
//! both sides may treat it as plain bytes. Sizes are asserted when this crate is
//! compiled; a mismatch between the two sides cannot be built.
#![no_std]

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};
#[cfg(feature = "user")]
use serde::{Deserialize, Serialize};

/// An IP address: the 16 bytes of an IPv6 address in network order, as two words
/// that hold them as they lie in memory.
///
/// An IPv4 address is kept in its IPv4-mapped form, `::ffff:a.b.c.d`, whichever
/// family the socket has: a client of a dual-stack server is one client.
pub type Address = [u64; 2];

/// The second word of an IPv4-mapped address, where the IPv4 address is still missing; the first
/// is 0.
const V4_MAPPED: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);

/// Where the IPv4 address is in that word.
const V4_SHIFT: u32 = if cfg!(target_endian = "little") {
    32
} else {
    0
};

/// The IPv4-mapped form of an IPv4 address in network order.
#[inline(always)]
#[must_use]
pub const fn from_v4(address: u32) -> Address {
    [0, V4_MAPPED | (address as u64) << V4_SHIFT]
}

/// The IPv4 address, in network order, that this is the IPv4-mapped form of.
#[inline(always)]
#[must_use]
pub const fn to_v4(address: Address) -> Option<u32> {
    let v4 = (address[1] >> V4_SHIFT) as u32;
    let [first, second] = from_v4(v4);
    if address[0] == first && address[1] == second {
        Some(v4)
    } else {
        None
    }
}

/// `AF_INET` of `include/linux/socket.h`.
pub const AF_INET: u16 = 2;
/// `AF_INET6` of `include/linux/socket.h`.
pub const AF_INET6: u16 = 10;

/// The kretprobe on `inet_csk_accept` saw the connection, and then the kprobe on
/// `security_sock_graft`, which the event comes from.
pub const HOOK_KRETPROBE: u16 = 1;
/// The event came from the kprobe on `security_sock_graft`, and the kretprobe did not see this
/// connection.
pub const HOOK_KPROBE: u16 = 2;
/// The event came from the fentry program on `security_sock_graft`.
pub const HOOK_FENTRY: u16 = 3;
/// The event came from the tracepoint `sock:inet_sock_set_state`.
pub const HOOK_TRACEPOINT: u16 = 4;
/// The event came from the socket filter, which sees SYNs.
pub const HOOK_FILTER: u16 = 5;
/// The event came from the LSM program on `sock_graft`.
pub const HOOK_LSM: u16 = 6;

/// A wait that is not known, see [`Event::wait_ns`].
pub const UNKNOWN_WAIT: u64 = u64::MAX;

/// One connection at one of its stages, a record of the ring buffer: a client asked for it, it
/// was established, or it was accepted. The hook tells which.
///
/// What tells of the accepting task is 0 at the stages before that, whose hooks run in whatever
/// task the packet interrupted, and without [`Config::details`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Event {
    /// When the hook ran: nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// The cgroup v2 id of the accepting task.
    pub cgroup: u64,
    /// How long it was established before it was accepted, in nanoseconds, with the
    /// kernel's resolution of a microsecond; [`UNKNOWN_WAIT`] where that is not known.
    pub wait_ns: u64,
    /// The client's address.
    pub remote_address: Address,
    /// The address that the client connected to.
    pub local_address: Address,
    /// The command name of the accepting thread, padded with NUL. Its owner chooses it freely: any bytes.
    pub comm: [u8; 16],
    /// The accepting thread.
    pub pid: u32,
    /// The accepting process (its thread group).
    pub tgid: u32,
    /// The user of the accepting process.
    pub uid: u32,
    /// The inode number of the socket's network namespace; 0 without [`Config::details`], and
    /// where the kernel's BTF does not tell where it is.
    pub netns: u32,
    /// The client's port, host byte order.
    pub remote_port: u16,
    /// The server's port, host byte order.
    pub local_port: u16,
    /// The socket's family, or the packet's: [`AF_INET`] or [`AF_INET6`].
    pub family: u16,
    /// Which hook saw it, one of the `HOOK_` constants.
    pub hook: u16,
}
const _: () = assert!(size_of::<Event>() == 96);

/// The key of the maps of totals: whose connections they are, and to which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Key {
    /// By [`BY_ADDRESS`] the client's address; by [`BY_PROCESS`] the thread's name as in
    /// [`Event::comm`]; by [`BY_CGROUP`] the cgroup id and 0; by [`BY_USER`] the user id and 0.
    pub group: Address,
    /// By [`BY_PROCESS`] the process id, else 0.
    pub pid: u32,
    /// The server's port, host byte order.
    pub local_port: u32,
}
const _: () = assert!(size_of::<Key>() == 24);

/// Count by the client's address.
pub const BY_ADDRESS: u32 = 0;
/// Count by the accepting process.
pub const BY_PROCESS: u32 = 1;
/// Count by the accepting process's cgroup.
pub const BY_CGROUP: u32 = 2;
/// Count by the accepting process's user.
pub const BY_USER: u32 = 3;

/// A SYN has come for the first time.
pub const STAGE_SYN: u32 = 0;
/// The handshake is complete.
pub const STAGE_ESTABLISHED: u32 = 1;
/// The server has accepted it.
pub const STAGE_ACCEPTED: u32 = 2;

/// How many connections got to each stage: the value of the maps of totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Stages {
    /// SYNs that came for the first time.
    pub syn: u64,
    /// SYNs that were sent again.
    pub repeated: u64,
    /// Completed handshakes.
    pub established: u64,
    /// Connections that the server has accepted.
    pub accepted: u64,
}
const _: () = assert!(size_of::<Stages>() == 32);

/// What the programs count apart from the connections of each client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Counters {
    /// Events, stage by stage, that found no room in the ring buffer. Their connections are
    /// in the totals all the same.
    pub lost: Stages,
    /// Connections that only `security_sock_graft` saw, of the kretprobe pair.
    pub second_hook_only: u64,
    /// Sockets that could not be read, whose connections are in no total.
    pub unreadable: u64,
    /// The connections, stage by stage, whose [`Key`] found no room in the maps of totals.
    pub other: Stages,
    /// Those for whose key the kernel had no memory. The next of this client may find some, and
    /// then these are missing from its entry.
    pub out_of_memory: Stages,
}
const _: () = assert!(size_of::<Counters>() == 112);

/// In how many equal steps each power of two of a wait is divided: as a power of two.
pub const WAIT_STEP_BITS: u32 = 3;

/// The entries of the histogram of waits. Entry `e << WAIT_STEP_BITS | s` counts those of at
/// least `2^e` ns, and less than `2^(e + 1)`, that are in step `s` of these.
pub const WAIT_STEPS: usize = 64 << WAIT_STEP_BITS;

/// Where the fields of a socket are: bytes from the start of the named structure
/// of the running kernel.
///
/// Those that begin with `skc_` lie in `struct sock_common`, with which `struct sock` and
/// `struct inet_sock` begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(Pod, Zeroable, Serialize, Deserialize),
    serde(deny_unknown_fields)
)]
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
    /// `rcvq_space.time` of `struct tcp_sock`: until the application reads for the first time,
    /// when the connection was established, in microseconds of `CLOCK_MONOTONIC`
    /// (`net/ipv4/tcp_input.c`, `tcp_init_buffer_space`); [`UNKNOWN_OFFSET`] without BTF.
    pub established: u16,
}
const _: () = assert!(size_of::<SocketOffsets>() == 24);

/// A field whose place is not known; what it holds is not read.
pub const UNKNOWN_OFFSET: u16 = u16::MAX;

/// As much of `struct sock_common` as the programs copy: up to the end of `skc_v6_rcv_saddr`.
pub const COMMON_BYTES: usize = 88;

impl SocketOffsets {
    /// Whether the programs can read with these: the fields of `struct sock_common` are within
    /// [`COMMON_BYTES`] and where a field of their size can be.
    #[must_use]
    pub fn fit(&self) -> bool {
        let fits = |offset: u16, size: usize, align: usize| {
            let offset = usize::from(offset);
            offset + size <= COMMON_BYTES && offset.is_multiple_of(align)
        };
        fits(self.daddr, 4, 4)
            && fits(self.rcv_saddr, 4, 4)
            && fits(self.dport, 2, 2)
            && fits(self.num, 2, 2)
            && fits(self.family, 2, 2)
            && fits(self.v6_daddr, 16, 8)
            && fits(self.v6_rcv_saddr, 16, 8)
            && fits(self.net, 8, 8)
    }

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
        established: UNKNOWN_OFFSET,
    };
}

/// How the user side wants the programs to run; constant once they are loaded. A filter that
/// is not set lets everything pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Config {
    /// See [`Self::by_local_address`].
    pub local_address: Address,
    /// See [`Self::by_comm`]; padded with NUL.
    pub comm: [u64; 2],
    /// For each stage a bit, `1 << ` one of the `STAGE_` constants: write an [`Event`] for every
    /// connection at this stage; without it, only count it.
    pub emit: u32,
    /// Not 0: an [`Event`] tells which task accepts, and in which network namespace.
    pub details: u32,
    /// What to count accepted connections by, one of the `BY_` constants; the stages before
    /// that are always counted by address.
    pub count_by: u32,
    /// Not 0: a filter is set, of those that follow or of those above. For accepts, which have most
    /// filters, all are passed in one look if none is.
    pub filters: u32,
    /// Not 0: only clients of this family, [`AF_INET`] or [`AF_INET6`].
    pub family: u32,
    /// Not 0: look clients up in the trie of networks.
    pub by_network: u32,
    /// Not 0: clients that are in none of the networks pass.
    pub pass_others: u32,
    /// Not 0: only connections to [`Self::local_address`].
    pub by_local_address: u32,
    /// Not 0: only in the network namespace with this inode number.
    pub netns: u32,
    /// Not 0: only those that this process accepts.
    pub tgid: u32,
    /// Not 0: only those that [`Self::uid`] accepts.
    pub by_uid: u32,
    /// See [`Self::by_uid`].
    pub uid: u32,
    /// Not 0: only those that a thread named [`Self::comm`] accepts.
    pub by_comm: u32,
    /// Not 0: only those that are accepted in the cgroup of the map of cgroups, or below it.
    pub by_cgroup: u32,
}
const _: () = assert!(size_of::<Config>() == 88);

impl Config {
    /// Report everything, by address.
    pub const EVERYTHING: Self = Self {
        local_address: [0; 2],
        comm: [0; 2],
        emit: u32::MAX,
        details: 1,
        count_by: BY_ADDRESS,
        filters: 0,
        family: 0,
        by_network: 0,
        pass_others: 0,
        by_local_address: 0,
        netns: 0,
        tgid: 0,
        by_uid: 0,
        uid: 0,
        by_comm: 0,
        by_cgroup: 0,
    };
}

/// The words of a [`PortBits`].
pub const PORT_WORDS: usize = 65536 / 64;

/// The local ports to watch, a bit for each: port `p` is bit `p % 64` of word `p / 64`.
pub type PortBits = [u64; PORT_WORDS];
