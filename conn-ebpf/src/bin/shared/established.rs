//! The tracepoint `sock:inet_sock_set_state`, from SYN_RECV to ESTABLISHED: the server's end
//! completed a handshake. It does not see whether the application accepts the connection, and runs
//! in whichever task the packet interrupted.
//!
//! A client's end goes from SYN_SENT to ESTABLISHED and is not counted. Each further subflow of a
//! Multipath TCP connection counts as a handshake.
//!
//! Not exact: the kernel skips the program on a CPU that already runs a kprobe or tracepoint
//! program, or while a task there reads a BPF map (`kernel/trace/bpf_trace.c`, `trace_call_bpf`). A
//! packet can interrupt either.

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
/// `IPPROTO_TCP` of `include/uapi/linux/in.h`; the states of a Multipath TCP socket repeat those of
/// its subflow.
const IPPROTO_TCP: u16 = 6;

/// The record of the tracepoint (`include/trace/events/sock.h`), the same since Linux 5.6. Before
/// it attaches, the user side compares it with the format that the running kernel describes.
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
    /// For an IPv4 socket the IPv4-mapped address (`TP_STORE_ADDRS`), like `daddr_v6`.
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
    // SAFETY: the kernel passes a pointer to this tracepoint's record, which is readable and has
    // the layout of SetState.
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

/// The address at this offset of the record, in bytes. Read by the helper: the verifier lets a
/// program load single words of the record, but not through a pointer into its middle, which the
/// compiler would use for a load of 16 bytes.
#[inline(always)]
fn address(ctx: &TracePointContext, offset: usize) -> Result<Address, i32> {
    // SAFETY: any bytes are a valid Address, and the helper checks the memory that it reads.
    unsafe { ctx.read_at(offset) }
}
