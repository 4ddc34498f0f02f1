//! The types that conn-cli's eBPF programs and its user side share.
//!
//! Every structure is `#[repr(C)]`, without padding and without invalid bit patterns, so both sides
//! can treat it as plain bytes. Assertions on the sizes make a mismatch a compile error. Integers
//! have the machine's byte order, except where network byte order is documented.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod heavy;
mod networks;
mod offsets;
mod over;
mod series;

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};

pub use crate::{
    heavy::{HEAVY_WAYS, Heavy, HeavySet, count_heavy, heavy_hash},
    networks::NetworkRange,
    offsets::{COMMON_BYTES, RequestOffsets, SocketOffsets, TaskOffsets, UNKNOWN_OFFSET},
    over::{OVER_OFF, OverConfig, OverCount, OverCounters, OverEvent},
    series::{FirstClient, PORT_LABEL_WORDS},
};

/// An IP address: the 16 bytes of an IPv6 address in network byte order, stored as two words with
/// the same bytes in memory.
///
/// An IPv4 address has its IPv4-mapped form, `::ffff:a.b.c.d`, whichever family the socket has, so
/// a client of a dual-stack server is one client.
pub type Address = [u64; 2];

/// The second word of an IPv4-mapped address, without the IPv4 address; the first word is 0.
const V4_MAPPED: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);

/// The position of the IPv4 address in that word, in bits.
const V4_SHIFT: u32 = if cfg!(target_endian = "little") {
    32
} else {
    0
};

/// The IPv4-mapped form of an IPv4 address in network byte order.
#[inline(always)]
#[must_use]
pub const fn from_v4(address: u32) -> Address {
    [0, V4_MAPPED | (address as u64) << V4_SHIFT]
}

/// The IPv4 address, in network byte order, whose IPv4-mapped form this is; `None` for any other
/// address.
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

/// [`Event::hook`]: the event comes from the kprobe on `security_sock_graft`, and the kretprobe on
/// `inet_csk_accept` saw the connection first.
pub const HOOK_KRETPROBE: u16 = 1;
/// [`Event::hook`]: the event comes from the kprobe on `security_sock_graft`, and the kretprobe did
/// not see the connection.
pub const HOOK_KPROBE: u16 = 2;
/// [`Event::hook`]: the event comes from the fentry program on `security_sock_graft`.
pub const HOOK_FENTRY: u16 = 3;
/// [`Event::hook`]: the event comes from the raw tracepoint `inet_sock_set_state`.
pub const HOOK_TRACEPOINT: u16 = 4;
/// [`Event::hook`]: the event comes from the socket filter, which sees SYNs.
pub const HOOK_FILTER: u16 = 5;
/// [`Event::hook`]: the event comes from the LSM program on `sock_graft`.
pub const HOOK_LSM: u16 = 6;
/// [`Event::hook`]: the event comes from the `sock_ops` program of the root cgroup.
pub const HOOK_SOCK_OPS: u16 = 7;
/// [`Event::hook`]: the event comes from the fentry programs of TCP that see SYNs.
pub const HOOK_REQUESTS: u16 = 8;

/// The value of [`Event::wait_ns`] if the wait is not known.
pub const UNKNOWN_WAIT: u64 = u64::MAX;

/// A connection at one stage, as a record of the ring buffer: its SYN arrived, it was established,
/// or it was accepted. [`Self::hook`] implies the stage.
///
/// The fields of the accepting task are 0 without [`Config::details`], and at the earlier stages,
/// whose hooks run in whatever task the packet interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Event {
    /// When the hook ran, in nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// The cgroup v2 id of the accepting task (`bpf_get_current_cgroup_id`).
    pub cgroup: u64,
    /// The time from established to accepted, in nanoseconds, with the kernel's resolution of a
    /// microsecond; [`UNKNOWN_WAIT`] if it is not known, as always at the earlier stages.
    pub wait_ns: u64,
    /// The client's address.
    pub remote_address: Address,
    /// The address that the client connected to.
    pub local_address: Address,
    /// The command name of the accepting thread, padded with NUL. A thread can set its name to any
    /// bytes. Of a worker of io_uring it is the name of the process's first thread.
    pub comm: [u8; 16],
    /// The thread id of the accepting task, in conn-cli's PID namespace; 0 as [`Self::tgid`].
    pub pid: u32,
    /// The process id (thread group id) of the accepting task, in conn-cli's PID namespace; 0 if it has
    /// none there, or [`TaskOffsets`] are unknown and that is not the initial one.
    pub tgid: u32,
    /// The real user id of the accepting task, in the initial user namespace.
    pub uid: u32,
    /// The inode number of the socket's network namespace; 0 without [`Config::details`], and if
    /// [`SocketOffsets::netns_inum`] is unknown or cannot be read. With [`HOOK_FILTER`] the value of
    /// [`Config::netns`].
    pub netns: u32,
    /// The client's port, host byte order.
    pub remote_port: u16,
    /// The server's port, host byte order.
    pub local_port: u16,
    /// The family of the socket, or for a SYN of the packet: [`AF_INET`] or [`AF_INET6`].
    pub family: u8,
    /// What accepted it: one of the `TASK_` constants.
    pub task: u8,
    /// Which hook saw the connection: one of the `HOOK_` constants.
    pub hook: u16,
}
const _: () = assert!(size_of::<Event>() == 96);

/// [`Event::task`]: the accepting task is not known.
pub const TASK_UNKNOWN: u8 = 0;
/// [`Event::task`]: a thread of a process accepted it.
pub const TASK_PROCESS: u8 = 1;
/// [`Event::task`]: a kernel thread accepted it.
pub const TASK_KERNEL: u8 = 2;

/// The key of the maps of totals, `CLIENTS` and `SYN_CLIENTS`: a group of connections to a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Key {
    /// With [`BY_ADDRESS`] the client's address; with [`BY_PROCESS`] the process id as in
    /// [`Event::tgid`], and 0; with [`BY_CGROUP`] the cgroup id as in [`Event::cgroup`], and 0; with
    /// [`BY_USER`] the user id as in [`Event::uid`], and 0. With [`KERNEL_THREAD`] in place of the
    /// second 0 if a kernel thread accepted; its user and cgroup mean nothing, and are 0.
    pub group: Address,
    /// The server's port, host byte order.
    pub local_port: u64,
}
const _: () = assert!(size_of::<Key>() == 24);

/// The second word of [`Key::group`] for kernel threads, unless that is an address.
pub const KERNEL_THREAD: u64 = 1;

/// [`Config::count_by`]: count by the client's address.
pub const BY_ADDRESS: u32 = 0;
/// [`Config::count_by`]: count by the accepting process.
pub const BY_PROCESS: u32 = 1;
/// [`Config::count_by`]: count by the cgroup of the accepting process.
pub const BY_CGROUP: u32 = 2;
/// [`Config::count_by`]: count by the user of the accepting process.
pub const BY_USER: u32 = 3;
/// [`Config::count_by`]: count in the map `SERIES` only, by the name of the client's network.
pub const BY_NAME: u32 = 4;

/// Bit number in [`Config::emit`]: a SYN arrived for the first time.
pub const STAGE_SYN: u32 = 0;
/// Bit number in [`Config::emit`]: the handshake is complete.
pub const STAGE_ESTABLISHED: u32 = 1;
/// Bit number in [`Config::emit`]: the server accepted the connection.
pub const STAGE_ACCEPTED: u32 = 2;

/// The number of connections at each stage: the value of the maps of totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Stages {
    /// SYNs that arrived for the first time.
    pub syn: u64,
    /// Retransmitted SYNs.
    pub repeated: u64,
    /// SYNs that TCP answered with a reset, the first and retransmitted ones.
    pub refused: u64,
    /// Completed handshakes.
    pub established: u64,
    /// Connections that the server accepted.
    pub accepted: u64,
}
const _: () = assert!(size_of::<Stages>() == 40);

/// What the programs count besides the connections of each client: the values of the map `COUNTERS`,
/// one for each processor, in whole cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Counters {
    /// Events by stage for which the ring buffer had no room. The totals include their connections.
    pub lost: Stages,
    /// Connections that only the second hook of the kretprobe pair, on `security_sock_graft`, saw.
    pub second_hook_only: u64,
    /// Sockets that could not be read. No total includes their connections.
    pub unreadable: u64,
    /// Packets that may be SYNs and could not be read.
    pub unreadable_packets: u64,
    /// Connections by stage for whose [`Key`] the maps of totals had no room.
    pub other: Stages,
    /// Connections by stage for whose [`Key`] the kernel had no memory. A later connection of the
    /// same client may get an entry, which then lacks these.
    pub out_of_memory: Stages,
    /// Connections by stage that conn-cli made to itself, which no total includes.
    pub self_tests: Stages,
    /// Connections by stage in network namespaces of users, which no total includes, see
    /// [`Config::without_users`].
    pub of_users: Stages,
    /// Connections that kernel threads accepted, which no total includes, as [`Config::by_owner`] is
    /// set.
    pub by_kernel_threads: u64,
    /// With [`Config::sums`], connections by stage, of which the maps of totals have those of each client.
    pub sums: Stages,
    /// The entries of the maps of totals.
    pub entries: u64,
    /// The sum of the waits that the map `WAITS` counts, in nanoseconds.
    pub waits_ns: u64,
    /// When the last of [`Self::self_tests`] was seen, in nanoseconds of the `CLOCK_BOOTTIME` of the initial time
    /// namespace.
    pub self_test_ns: u64,
    /// The longest wait of an accepted connection in nanoseconds.
    pub longest_wait_ns: u64,
    /// SYNs that are remembered, to recognise them when they are sent again, or were.
    pub remembered: u64,
    /// Nothing. A cache line has 64 bytes.
    pub padding: u64,
}
const _: () = assert!(size_of::<Counters>() == 5 * 64);

/// The base-2 logarithm of the number of equal steps that the histogram of waits has for each power
/// of two.
pub const WAIT_STEP_BITS: u32 = 3;

/// The number of entries of a histogram of waits. The map `WAITS` has one for each value of the map
/// `COUNTERS`.
///
/// Entry `e << WAIT_STEP_BITS | s` counts the waits from `2^e` ns to below `2^(e + 1)` ns that fall
/// into step `s` of this range. Waits below `2^WAIT_STEP_BITS` ns count in the range that starts
/// there.
pub const WAIT_STEPS: usize = 64 << WAIT_STEP_BITS;

/// The configuration of the programs, the global `CONFIG`. The user side sets it before it loads
/// them; after that it is constant. A filter that is not set lets everything pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(Pod, Zeroable))]
#[repr(C)]
pub struct Config {
    /// The server's address that [`Self::by_local_address`] selects.
    pub local_address: Address,
    /// Both addresses of the connection that conn-cli makes to itself.
    pub self_test_address: Address,
    /// The thread name that [`Self::by_comm`] selects: the 16 bytes of [`Event::comm`].
    pub comm: [u64; 2],
    /// One bit for each stage, numbered by the `STAGE_` constants. 1: write an [`Event`] for every
    /// connection at this stage; 0: only count it.
    pub emit: u32,
    /// Not 0: fill in the fields of an [`Event`] for the accepting task and the network namespace.
    pub details: u32,
    /// What to count accepted connections by: one of the `BY_` constants. Earlier stages are always
    /// counted by address.
    pub count_by: u32,
    /// Not 0: at least one filter on ends or the accepting task is set. Accepted connections have the
    /// most filters; with 0 one test skips all of these.
    pub filters: u32,
    /// Not 0: only clients of this family, [`AF_INET`] or [`AF_INET6`].
    pub family: u32,
    /// How many ranges the map `NETWORKS` has, a power of two, in which clients are looked up: it decides, and names
    /// them. 0: they are not.
    pub networks: u32,
    /// Not 0: only connections to [`Self::local_address`].
    pub by_local_address: u32,
    /// Not 0: only connections in the network namespace with this inode number.
    pub netns: u32,
    /// Not 0: connections in network namespaces of users are not part of the totals, but summed in
    /// [`Counters::of_users`]. Such a namespace belongs to another user namespace than the initial
    /// one. Everybody can make one, and whichever connections in it.
    pub without_users: u32,
    /// The inode number of conn-cli's own network namespace, which is never left out for that.
    pub own_netns: u32,
    /// Not 0: the inode number of conn-cli's PID namespace, which is not the initial one.
    pub pid_namespace: u32,
    /// Not 0: there is a filter by process, user or cgroup, which cannot judge what kernel threads
    /// accept: that is counted in [`Counters::by_kernel_threads`].
    pub by_owner: u32,
    /// Not 0: only connections that the process with this [`Event::tgid`] accepts.
    pub tgid: u32,
    /// Not 0: only connections that the user [`Self::uid`] accepts.
    pub by_uid: u32,
    /// The user id, as in [`Event::uid`], that [`Self::by_uid`] selects.
    pub uid: u32,
    /// Not 0: only connections that a thread named [`Self::comm`] accepts.
    pub by_comm: u32,
    /// Not 0: only connections accepted in the first cgroup of the map `CGROUPS`, or below it.
    pub by_cgroup: u32,
    /// Not 0: the process that accepts conn-cli's own connection, as in [`Event::tgid`].
    pub self_test_tgid: u32,
    /// The local port of conn-cli's own connection, host byte order; 0 if there is none.
    pub self_test_port: u16,
    /// The remote port of conn-cli's own connection, host byte order.
    pub self_test_remote_port: u16,
    /// Not 0: [`Self::self_test_port`] is in [`PortBits`] for that connection only.
    pub self_test_port_only: u32,
    /// Not 0: the kernel may be locked down for confidentiality, which forbids
    /// `bpf_probe_read_kernel`.
    pub locked_down: u32,
    /// Not 0: count connections in [`Counters::sums`] too, for somebody who watches the run.
    pub sums: u32,
    /// The number of the running processor, and this, is the index of its [`Counters`]: the number of these,
    /// a power of two, less one.
    pub slot_mask: u32,
    /// How many [`HeavySet`]s each processor has, a power of two; 0 to keep no heavy clients.
    pub heavy_sets: u32,
    /// The seed of [`heavy_hash`].
    pub heavy_seed: u32,
    /// How many values of the map `SERIES` each of its slots has; 0 to count no series.
    pub series: u32,
    /// The number of the running processor, and this, is the index of its slot in `SERIES`.
    pub series_slot_mask: u32,
    /// How many names there are: a slot has the values of each port one after the other.
    pub series_names: u32,
    /// Not 0: count each of the first clients in the map `FIRST_CLIENTS`.
    pub first_clients: u32,
    /// Not 0: a SYN makes its sender one of the first clients. Anyone can send SYNs from any address.
    pub first_by_syn: u32,
}
const _: () = assert!(size_of::<Config>() == 168);

impl Config {
    /// No filter: every connection is counted by address and reported with details at every stage.
    pub const EVERYTHING: Self = Self {
        local_address: [0; 2],
        self_test_address: [0; 2],
        comm: [0; 2],
        emit: u32::MAX,
        details: 1,
        count_by: BY_ADDRESS,
        filters: 0,
        family: 0,
        networks: 0,
        by_local_address: 0,
        netns: 0,
        without_users: 0,
        own_netns: 0,
        pid_namespace: 0,
        by_owner: 0,
        tgid: 0,
        by_uid: 0,
        uid: 0,
        by_comm: 0,
        by_cgroup: 0,
        self_test_tgid: 0,
        self_test_port: 0,
        self_test_remote_port: 0,
        self_test_port_only: 0,
        locked_down: 0,
        sums: 0,
        slot_mask: 0,
        heavy_sets: 0,
        heavy_seed: 0,
        series: 0,
        series_slot_mask: 0,
        series_names: 0,
        first_clients: 0,
        first_by_syn: 0,
    };
}

/// The number of words of a [`PortBits`].
pub const PORT_WORDS: usize = 65536 / 64;

/// The local ports to watch, one bit each: port `p`, in host byte order, is bit `p % 64` of word
/// `p / 64`, counted from the least significant bit. The global `PORTS`.
pub type PortBits = [u64; PORT_WORDS];
