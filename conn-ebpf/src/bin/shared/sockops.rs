//! The `sock_ops` program of the root cgroup, `BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB`: a listener's
//! connection is established (`net/ipv4/tcp_input.c`, `tcp_rcv_state_process`), or was opened by TCP
//! Fast Open, at its SYN (`net/ipv4/tcp_fastopen.c`, `tcp_fastopen_create_child`). It does not see
//! whether the application accepts the connection, and runs in whichever task the packet
//! interrupted, in every network namespace.
//!
//! Nothing makes the kernel skip it (`kernel/bpf/cgroup.c`, `__cgroup_bpf_run_filter_sock_ops`), and
//! no program of another cgroup hides one of the root that allows others. It leaves the reply as it
//! is, which is the answer to the caller of other callbacks.
//!
//! A socket that began with a connect of its own, and met another one (simultaneous open), gets here
//! too. It has sent its SYN, while the socket of a listener has sent nothing: the listener's request
//! answers for it (`tcp_make_synack`). Each further subflow of a Multipath TCP connection counts.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, bpf_sock_ops},
    macros::sock_ops,
    programs::SockOpsContext,
};
use conn_common::{AF_INET6, HOOK_SOCK_OPS, UNKNOWN_OFFSET, from_v4};
use conn_ebpf::{
    config, filter,
    namespace::{OfSocket, Unknown},
    record, self_test,
    socket::{Direct, Ends, Fields as _, Socket},
    stage::Stage,
};

/// A word of the context, an element of an array of them, or a pointer.
macro_rules! word {
    ($ops:expr, $($field:tt)+) => {
        // SAFETY: the kernel passes a valid context. Volatile, since the verifier lets a program
        // load single fields of it only.
        unsafe { (&raw const (*$ops).$($field)+).read_volatile() }
    };
}

/// The `sock_ops` program.
#[sock_ops]
pub(crate) fn conn_sockops(ctx: SockOpsContext) -> u32 {
    try_conn_sockops(ctx.as_ptr().cast());
    1
}

#[inline(always)]
fn try_conn_sockops(ops: *const bpf_sock_ops) {
    if word!(ops, op) != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        return;
    }
    // Host byte order, unlike the remote one.
    let local_port = word!(ops, local_port) as u16;
    if !config::watched(local_port) || word!(ops, segs_out) != 0 {
        return;
    }
    let family = word!(ops, family) as u16;
    // Read whatever the family is: of one place in two branches the compiler would make one pointer,
    // and the verifier lets a program read the context at constant offsets only.
    let (remote_v4, local_v4) = (word!(ops, remote_ip4), word!(ops, local_ip4));
    let remote_v6 = [
        joined(word!(ops, remote_ip6[0]), word!(ops, remote_ip6[1])),
        joined(word!(ops, remote_ip6[2]), word!(ops, remote_ip6[3])),
    ];
    let local_v6 = [
        joined(word!(ops, local_ip6[0]), word!(ops, local_ip6[1])),
        joined(word!(ops, local_ip6[2]), word!(ops, local_ip6[3])),
    ];
    let (remote_address, local_address) = if family == AF_INET6 {
        (remote_v6, local_v6)
    } else {
        (from_v4(remote_v4), from_v4(local_v4))
    };
    let mut ends = Ends {
        remote_address,
        local_address,
        remote_port: u32::from_be(word!(ops, remote_port)) as u16,
        local_port,
        family,
        network_name: 0,
    };
    if !self_test::is_done(&ends, Stage::Established, &Unknown)
        && filter::wants_ends(&mut ends)
        && wants_namespace(ops)
    {
        record::established(&ends, HOOK_SOCK_OPS, || netns(ops));
    }
}

#[inline(always)]
fn wants_namespace(ops: *const bpf_sock_ops) -> bool {
    !filter::is_by_namespace()
        || socket(ops)
            .is_none_or(|socket| filter::wants_namespace(&OfSocket(&socket), Stage::Established))
}

#[inline(always)]
fn netns(ops: *const bpf_sock_ops) -> u32 {
    socket(ops).map_or(0, |socket| socket.netns())
}

/// The connection's socket, if the kernel has BTF: without it, the verifier knows no field of it.
#[inline(always)]
fn socket(ops: *const bpf_sock_ops) -> Option<Direct> {
    if config::offset(|offsets| &offsets.netns_inum) == UNKNOWN_OFFSET {
        return None;
    }
    Direct::tcp(Socket::new(word!(ops, __bindgen_anon_2.sk).cast())?)
}

/// Two words as they follow each other in memory.
#[inline(always)]
fn joined(first: u32, second: u32) -> u64 {
    let (first, second) = (u64::from(first), u64::from(second));
    if cfg!(target_endian = "little") {
        second << 32 | first
    } else {
        first << 32 | second
    }
}
