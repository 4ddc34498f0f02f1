//! The entry of `security_sock_graft`, through a trampoline of the kernel instead of a
//! breakpoint: the cheapest hook, and alone enough.
//!
//! The kernel may preempt such a program, and skips it for another thread on that CPU
//! meanwhile (`kernel/bpf/trampoline.c`, `__bpf_prog_enter_recur`). It counts these, and the
//! account tells.
//!
//! ```c
//! // security/security.c
//! void security_sock_graft(struct sock *sk, struct socket *parent);
//! ```

use core::ffi::c_void;

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use aya_log_ebpf::debug;
use conn_common::HOOK_FENTRY;
use conn_ebpf::{
    config, filter, record,
    socket::{Direct, Fields as _, Socket},
};

/// The fentry program on `security_sock_graft`.
#[fentry(function = "security_sock_graft")]
pub(crate) fn conn_fentry(ctx: FEntryContext) -> u32 {
    if try_conn_fentry(&ctx).is_err() {
        record::unreadable();
        debug!(&ctx, "unreadable socket");
    }
    0
}

#[inline(always)]
fn try_conn_fentry(ctx: &FEntryContext) -> Result<(), i32> {
    let Some(socket) = Socket::new(ctx.arg::<*const c_void>(0)) else {
        return Ok(());
    };
    let fields = Direct::new(socket);
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
    let ends = fields.ends(local_port);
    if filter::wants_accepted(&ends, &fields) {
        record::accepted(&ends, HOOK_FENTRY, &fields, protocol);
    }
    Ok(())
}
