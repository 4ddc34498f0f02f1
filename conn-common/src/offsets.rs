//! The offsets of fields in the running kernel's structures, which the user side reads from its BTF.

#[cfg(feature = "user")]
use bytemuck::{Pod, Zeroable};
#[cfg(feature = "user")]
use serde::{Deserialize, Serialize};

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
