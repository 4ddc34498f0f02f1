//! The raw tracepoint `inet_sock_set_state`, from SYN_RECV to ESTABLISHED: a listener's connection
//! completed its handshake. It does not see whether the application accepts the connection, and
//! runs in whichever task the packet interrupted.
//!
//! A client's end goes from SYN_SENT to ESTABLISHED and is not counted, nor, on a kernel with BTF, a
//! socket whose connect met another one (simultaneous open). Each further subflow of a Multipath TCP
//! connection counts as a handshake.
//!
//! Since Linux 6.2, and in the stable releases of 6.1, the kernel skips the program on a CPU that it
//! has interrupted there, and counts that (`kernel/trace/bpf_trace.c`, `__bpf_trace_run`).
//!
//! ```c
//! // include/trace/events/sock.h
//! TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)
//! ```

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use conn_common::HOOK_TRACEPOINT;
use conn_ebpf::{
    config, filter,
    namespace::OfSocket,
    record, self_test,
    socket::{Fields as _, Socket},
    stage::Stage,
};

/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`.
const TCP_ESTABLISHED: i32 = 1;
/// `TCP_SYN_RECV` of the same file.
const TCP_SYN_RECV: i32 = 3;

/// The raw tracepoint `inet_sock_set_state`.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub(crate) fn conn_state(ctx: RawTracePointContext) -> i32 {
    if try_conn_state(&ctx).is_err() {
        record::unreadable();
    }
    0
}

#[inline(always)]
fn try_conn_state(ctx: &RawTracePointContext) -> Result<(), i32> {
    if ctx.arg::<i32>(1) != TCP_SYN_RECV || ctx.arg::<i32>(2) != TCP_ESTABLISHED {
        return Ok(());
    }
    let Some(socket) = Socket::new(ctx.arg::<*const c_void>(0)) else {
        return Ok(());
    };
    let mut common = MaybeUninit::uninit();
    let fields = socket.copy(&mut common)?;
    if !fields.is_ip() {
        return Ok(());
    }
    let local_port = fields.local_port()?;
    // The states of a Multipath TCP socket repeat those of its subflow.
    if !config::watched(local_port) || !fields.protocol()?.is_plain_tcp() || fields.connects() {
        return Ok(());
    }
    let mut ends = fields.ends(local_port);
    if self_test::is_done(&ends, Stage::Established, &OfSocket(&fields)) {
        return Ok(());
    }
    if filter::wants_ends(&mut ends)
        && filter::wants_namespace(&OfSocket(&fields), Stage::Established)
    {
        record::established(&ends, HOOK_TRACEPOINT, || fields.netns());
    }
    Ok(())
}
