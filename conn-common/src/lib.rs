//! The types that conn-cli's eBPF programs and its user side share.
//!
//! Every structure is `#[repr(C)]`, without padding and without invalid bit patterns, so both sides
//! can treat it as plain bytes. Assertions on the sizes make a mismatch a compile error. Integers
//! have the machine's byte order, except where network byte order is documented.
#![no_std]

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};
#[cfg(feature = "user")]
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// SYNs that this machine answered with a reset, the first and retransmitted ones.
    pub refused: u64,
    /// Completed handshakes.
    pub established: u64,
    /// Connections that the server accepted.
    pub accepted: u64,
}
const _: () = assert!(size_of::<Stages>() == 40);

/// What the programs count besides the connections of each client: the only value of the map
/// `COUNTERS`.
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
    /// When the last of [`Self::self_tests`] was seen, in nanoseconds of the `CLOCK_BOOTTIME` of the initial time
    /// namespace.
    pub self_test_ns: u64,
}
const _: () = assert!(size_of::<Counters>() == 240);

/// The base-2 logarithm of the number of equal steps that the histogram of waits has for each power
/// of two.
pub const WAIT_STEP_BITS: u32 = 3;

/// The number of entries of the histogram of waits, the map `WAITS`.
///
/// Entry `e << WAIT_STEP_BITS | s` counts the waits from `2^e` ns to below `2^(e + 1)` ns that fall
/// into step `s` of this range. Waits below `2^WAIT_STEP_BITS` ns count in the range that starts
/// there.
pub const WAIT_STEPS: usize = 64 << WAIT_STEP_BITS;

/// The offsets of a socket's fields in the running kernel, in bytes from the start of the named
/// structure.
///
/// The fields named `skc_` are in `struct sock_common` (`include/net/sock.h`), with which
/// `struct sock`, `struct inet_sock` and `struct tcp_sock` begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(Pod, Zeroable, Serialize, Deserialize),
    serde(deny_unknown_fields)
)]
#[repr(C)]
pub struct SocketOffsets {
    /// `skc_daddr`: the remote IPv4 address, 32 bits, network byte order.
    pub daddr: u16,
    /// `skc_rcv_saddr`: the local IPv4 address, 32 bits, network byte order.
    pub rcv_saddr: u16,
    /// `skc_dport`: the remote port, 16 bits, network byte order.
    pub dport: u16,
    /// `skc_num`: the local port, 16 bits, host byte order.
    pub num: u16,
    /// `skc_family`: the address family, 16 bits, host byte order.
    pub family: u16,
    /// `skc_v6_daddr`: the remote IPv6 address, 128 bits, network byte order; [`UNKNOWN_OFFSET`] in a
    /// kernel without IPv6.
    pub v6_daddr: u16,
    /// `skc_v6_rcv_saddr`: the local IPv6 address, 128 bits, network byte order; [`UNKNOWN_OFFSET`] in
    /// a kernel without IPv6.
    pub v6_rcv_saddr: u16,
    /// `skc_net`: a pointer to `struct net`, 64 bits; [`UNKNOWN_OFFSET`] in a kernel without network
    /// namespaces.
    pub net: u16,
    /// `sk_protocol` of `struct sock`: an `IPPROTO_` number, 16 bits wide since Linux 5.6, host
    /// byte order; [`UNKNOWN_OFFSET`] without BTF.
    pub protocol: u16,
    /// `ns.inum` of `struct net` (`include/net/net_namespace.h`): the inode number of the
    /// namespace, 32 bits; [`UNKNOWN_OFFSET`] without BTF.
    pub netns_inum: u16,
    /// `user_ns` of `struct net`: a pointer to the `struct user_namespace` that owns the network
    /// namespace, 64 bits; [`UNKNOWN_OFFSET`] without BTF.
    pub netns_owner: u16,
    /// `level` of `struct user_namespace` (`include/linux/user_namespace.h`): its depth, 32 bits, 0
    /// for the initial one; [`UNKNOWN_OFFSET`] without BTF.
    pub user_ns_level: u16,
    /// `inet_sport` of `struct inet_sock` (`include/net/inet_sock.h`): the local port, 16 bits,
    /// network byte order, which a closed socket keeps; [`UNKNOWN_OFFSET`] without BTF.
    pub sport: u16,
    /// `rcvq_space.time` of `struct tcp_sock` (`include/linux/tcp.h`), 64 bits: when the connection
    /// was established, in microseconds of `CLOCK_MONOTONIC`, until the application reads for the
    /// first time (`net/ipv4/tcp_input.c`, `tcp_init_buffer_space`); [`UNKNOWN_OFFSET`] without
    /// BTF.
    pub established: u16,
    /// `sk_socket` of `struct sock`: a pointer to the `struct socket` of the application, 64 bits,
    /// null before a connection is accepted; [`UNKNOWN_OFFSET`] without BTF.
    pub owner: u16,
    /// `state` of `struct socket` (`include/linux/net.h`), 32 bits; [`UNKNOWN_OFFSET`] without BTF.
    pub owner_state: u16,
}
const _: () = assert!(size_of::<SocketOffsets>() == 32);

/// The offsets of a task's fields in the running kernel, in bytes from the start of the named
/// structure. All are known, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(Pod, Zeroable, Serialize, Deserialize),
    serde(deny_unknown_fields)
)]
#[repr(C)]
pub struct TaskOffsets {
    /// `flags` of `struct task_struct` (`include/linux/sched.h`): the `PF_` bits, 32 bits.
    pub flags: u16,
    /// `comm` of the same structure, 16 bytes.
    pub comm: u16,
    /// `group_leader` of the same structure: a pointer to the one of the process's first thread.
    pub group_leader: u16,
    /// `thread_pid` of the same structure: a pointer to `struct pid`.
    pub thread_pid: u16,
    /// `level` of `struct pid` (`include/linux/pid.h`), 32 bits.
    pub pid_level: u16,
    /// `numbers` of the same structure: a `struct upid` for each level up to that, a number and, at 8,
    /// a pointer to its `struct pid_namespace`.
    pub pid_numbers: u16,
    /// `ns.inum` of `struct pid_namespace` (`include/linux/pid_namespace.h`), 32 bits.
    pub pid_ns_inum: u16,
}
const _: () = assert!(size_of::<TaskOffsets>() == 14);

impl TaskOffsets {
    /// Without BTF.
    pub const UNKNOWN: Self = Self {
        flags: UNKNOWN_OFFSET,
        comm: UNKNOWN_OFFSET,
        group_leader: UNKNOWN_OFFSET,
        thread_pid: UNKNOWN_OFFSET,
        pid_level: UNKNOWN_OFFSET,
        pid_numbers: UNKNOWN_OFFSET,
        pid_ns_inum: UNKNOWN_OFFSET,
    };
}

/// The offset of a field that is not known; the programs do not read the field.
pub const UNKNOWN_OFFSET: u16 = u16::MAX;

/// The number of bytes of `struct sock_common` that the programs copy: up to the end of
/// `skc_v6_rcv_saddr`.
pub const COMMON_BYTES: usize = 88;

impl SocketOffsets {
    /// Whether the programs can use these offsets: all fields of `struct sock_common` are aligned
    /// and end within [`COMMON_BYTES`]. Does not check the other fields.
    #[must_use]
    pub fn fit(&self) -> bool {
        let fits = |offset: u16, size: usize, align: usize| {
            let offset = usize::from(offset);
            offset + size <= COMMON_BYTES && offset.is_multiple_of(align)
        };
        let fits_if_known = |offset: u16, size: usize, align: usize| {
            offset == UNKNOWN_OFFSET || fits(offset, size, align)
        };
        fits(self.daddr, 4, 4)
            && fits(self.rcv_saddr, 4, 4)
            && fits(self.dport, 2, 2)
            && fits(self.num, 2, 2)
            && fits(self.family, 2, 2)
            && fits_if_known(self.v6_daddr, 16, 8)
            && fits_if_known(self.v6_rcv_saddr, 16, 8)
            && fits_if_known(self.net, 8, 8)
    }

    /// The offsets to use without BTF: on 64-bit machines every kernel from 5.8 to 7.2 has the same
    /// start of `struct sock_common`.
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
        netns_owner: UNKNOWN_OFFSET,
        user_ns_level: UNKNOWN_OFFSET,
        sport: UNKNOWN_OFFSET,
        established: UNKNOWN_OFFSET,
        owner: UNKNOWN_OFFSET,
        owner_state: UNKNOWN_OFFSET,
    };
}

/// The offsets that the programs which see SYNs in TCP need besides [`SocketOffsets`], in bytes from
/// the start of the named structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(Pod, Zeroable, Serialize, Deserialize),
    serde(deny_unknown_fields)
)]
#[repr(C)]
pub struct RequestOffsets {
    /// `head` of `struct sk_buff` (`include/linux/skbuff.h`): a pointer to the packet's buffer, 64
    /// bits.
    pub head: u16,
    /// `network_header` of `struct sk_buff`: where the IP header begins in the buffer, 16 bits.
    pub network_header: u16,
    /// `transport_header` of `struct sk_buff`: where the TCP header begins in the buffer, 16 bits.
    pub transport_header: u16,
    /// `tcp_flags` of `struct tcp_skb_cb` (`include/net/tcp.h`), which is in `cb` of `struct
    /// sk_buff`: the flags of the TCP header, 8 bits.
    pub tcp_flags: u16,
    /// `dev` of `struct sk_buff`: a pointer to the `struct net_device` of the interface, 64 bits.
    pub dev: u16,
    /// `nd_net` of `struct net_device` (`include/linux/netdevice.h`): a pointer to `struct net`, 64
    /// bits; [`UNKNOWN_OFFSET`] in a kernel without network namespaces.
    pub dev_net: u16,
    /// `skc_state` of `struct sock_common`: the state of a socket, 8 bits.
    pub state: u16,
}
const _: () = assert!(size_of::<RequestOffsets>() == 14);

impl RequestOffsets {
    /// The value for programs that do not use them.
    pub const NONE: Self = Self {
        head: UNKNOWN_OFFSET,
        network_header: UNKNOWN_OFFSET,
        transport_header: UNKNOWN_OFFSET,
        tcp_flags: UNKNOWN_OFFSET,
        dev: UNKNOWN_OFFSET,
        dev_net: UNKNOWN_OFFSET,
        state: UNKNOWN_OFFSET,
    };
}

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
    /// Not 0: look up clients in the map `NETWORKS`, whose longest matching prefix decides.
    pub by_network: u32,
    /// With [`Self::by_network`], not 0: clients in none of the networks pass.
    pub pass_others: u32,
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
}
const _: () = assert!(size_of::<Config>() == 136);

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
        by_network: 0,
        pass_others: 0,
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
    };
}

/// The number of words of a [`PortBits`].
pub const PORT_WORDS: usize = 65536 / 64;

/// The local ports to watch, one bit each: port `p`, in host byte order, is bit `p % 64` of word
/// `p / 64`, counted from the least significant bit. The global `PORTS`.
pub type PortBits = [u64; PORT_WORDS];
