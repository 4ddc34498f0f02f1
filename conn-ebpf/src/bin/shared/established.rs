//! The tracepoint `sock:inet_sock_set_state`, from SYN_RECV to ESTABLISHED: the server's
//! end has completed a handshake. Whether the application accepts it is not seen, and the
//! task that runs is whichever the packet interrupted.
//!
//! A client's end goes from SYN_SENT to ESTABLISHED and is not counted. A further subflow
//! of a Multipath TCP connection is a handshake of its own.
//!
//! Not exact: the kernel skips it on a CPU where a kprobe or tracepoint program runs already, and
//! while a task there reads a BPF map (`kernel/trace/bpf_trace.c`, `trace_call_bpf`). A packet may
//! interrupt either.

use core::{
    ffi::c_void,
    mem::{MaybeUninit, offset_of},
};

use aya_ebpf::{EbpfContext as _, macros::tracepoint, programs::TracePointContext};
use conn_common::{Address, HOOK_TRACEPOINT};
use conn_ebpf::{
    config, filter, record,
    socket::{Ends, Fields as _, Socket},
};

/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`.
const TCP_ESTABLISHED: i32 = 1;
/// `TCP_SYN_RECV` of the same file.
const TCP_SYN_RECV: i32 = 3;
/// `IPPROTO_TCP`; the states of a Multipath TCP socket repeat those of its subflow.
const IPPROTO_TCP: u16 = 6;

/// The record of the tracepoint, `include/trace/events/sock.h`, the same since Linux 5.6.
/// The user side compares it with the running kernel's own description before it attaches.
#[repr(C)]
struct SetState {
    common: u64,
    socket: *const c_void,
    old_state: i32,
    new_state: i32,
    /// The local port, host byte order.
    sport: u16,
    /// The remote port, host byte order.
    dport: u16,
    family: u16,
    protocol: u16,
    saddr: u32,
    daddr: u32,
    /// Of an IPv4 socket, its IPv4-mapped address (`TP_STORE_ADDRS`).
    saddr_v6: Address,
    daddr_v6: Address,
}

/// The tracepoint `sock:inet_sock_set_state`.
#[tracepoint(category = "sock", name = "inet_sock_set_state")]
pub(crate) fn conn_state(ctx: TracePointContext) -> u32 {
    if try_conn_state(&ctx).is_err() {
        record::unreadable();
    }
    0
}

#[inline(always)]
fn try_conn_state(ctx: &TracePointContext) -> Result<(), i32> {
    // SAFETY: the kernel passes a pointer to this tracepoint's record, which is readable
    // and as described by SetState.
    let record = unsafe { &*ctx.as_ptr().cast::<SetState>() };
    if record.old_state != TCP_SYN_RECV
        || record.new_state != TCP_ESTABLISHED
        || record.protocol != IPPROTO_TCP
        || !config::watched(record.sport)
    {
        return Ok(());
    }
    let Some(socket) = Socket::new(record.socket) else {
        return Ok(());
    };
    let ends = Ends {
        remote_address: address(ctx, offset_of!(SetState, daddr_v6))?,
        local_address: address(ctx, offset_of!(SetState, saddr_v6))?,
        remote_port: record.dport,
        local_port: record.sport,
        family: record.family,
    };
    let netns = || {
        let mut common = MaybeUninit::uninit();
        socket.copy(&mut common).map_or(0, |copy| copy.netns())
    };
    if filter::wants_ends(&ends) && filter::wants_namespace(netns) {
        record::established(&ends, HOOK_TRACEPOINT, netns);
    }
    Ok(())
}

/// The verifier lets a program load single words of the record directly, but not through a
/// pointer into its middle, which the compiler makes of a load of 16 bytes.
#[inline(always)]
fn address(ctx: &TracePointContext, offset: usize) -> Result<Address, i32> {
    // SAFETY: any bytes are an Address, and the helper checks where it reads.
    unsafe { ctx.read_at(offset) }
}
