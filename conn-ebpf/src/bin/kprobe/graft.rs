//! The second hook of the pair: the entry of `security_sock_graft`, which `inet_accept`
//! calls in the accepting thread once `inet_csk_accept` has returned.
//!
//! This hook counts: the function never sleeps, so a probe on its entry needs no free instance, and
//! sees the calls of threads that waited before it was attached. The kernel skips it while a task
//! on the same CPU reads a BPF map (`kernel/trace/bpf_trace.c`, `trace_call_bpf`); only on a
//! preemptible kernel can that coincide with an accept. The hook sees sockets of every family.
//!
//! ```c
//! // security/security.c
//! void security_sock_graft(struct sock *sk, struct socket *parent);
//! ```

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use aya_log_ebpf::debug;
use conn_common::HOOK_KPROBE;
use conn_ebpf::{
    config, filter,
    namespace::OfSocket,
    record, self_test,
    socket::{Fields as _, Socket},
    stage::Stage,
};

use crate::handoff;

/// The kprobe on `security_sock_graft`.
#[kprobe(function = "security_sock_graft")]
pub(crate) fn conn_graft(ctx: ProbeContext) -> u32 {
    if try_conn_graft(&ctx).is_err() {
        record::unreadable();
        debug!(&ctx, "unreadable socket");
    }
    0
}

#[inline(always)]
fn try_conn_graft(ctx: &ProbeContext) -> Result<(), i32> {
    let Some(socket) = ctx.arg::<*const c_void>(0).and_then(Socket::new) else {
        return Ok(());
    };
    // Before the checks, since a connection that fails them must not leave it to the next one.
    let Some(handoff) = handoff::take() else {
        return Ok(());
    };
    let mut common = MaybeUninit::uninit();
    let fields = socket.copy(&mut common)?;
    if !fields.is_ip() {
        return Ok(());
    }
    let local_port = fields.local_port()?;
    if !config::watched(local_port) {
        return Ok(());
    }
    let protocol = fields.protocol()?;
    if !protocol.is_tcp() {
        return Ok(());
    }
    let mut ends = fields.ends(local_port);
    if self_test::is_done(&ends, Stage::Accepted, &OfSocket(&fields)) {
        return Ok(());
    }
    if filter::wants_accepted(&mut ends, &fields) {
        let hook = handoff.hook();
        record::accepted(&ends, hook, &fields, protocol);
        // Last, or the verifier would follow the rest twice. Detaching waits for running programs.
        if hook == HOOK_KPROBE {
            record::second_hook_only();
        }
    }
    Ok(())
}
