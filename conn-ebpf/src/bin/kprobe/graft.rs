//! The second hook of the pair: the entry of `security_sock_graft`, which `inet_accept`
//! calls in the accepting thread once `inet_csk_accept` has returned.
//!
//! It never sleeps, so an entry probe on it misses nobody: it records what the first hook
//! did not see. Sockets of every family pass here.
//!
//! ```c
//! // security/security.c
//! void security_sock_graft(struct sock *sk, struct socket *parent);
//! ```

use core::ffi::c_void;

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use aya_log_ebpf::debug;
use conn_common::HOOK_KPROBE;
use conn_ebpf::{config, filter, record, socket::Socket};

use crate::seen;

/// The kprobe on `security_sock_graft`.
#[kprobe(function = "security_sock_graft")]
pub(crate) fn conn_graft(ctx: ProbeContext) -> u32 {
    if try_conn_graft(&ctx).is_err() {
        record::unreadable();
        debug!(&ctx, "security_sock_graft: unreadable socket");
    }
    0
}

#[inline(always)]
fn try_conn_graft(ctx: &ProbeContext) -> Result<(), i32> {
    let Some(socket) = ctx.arg::<*const c_void>(0).and_then(Socket::new) else {
        return Ok(());
    };
    let local_port = socket.local_port()?;
    if !config::watched(local_port) {
        return Ok(());
    }
    let Some(ends) = socket.tcp_ends(local_port)? else {
        return Ok(());
    };
    if filter::wants_accepted(&ends, socket) && !seen::take(&ends) {
        record::second_hook_only();
        record::accepted(&ends, HOOK_KPROBE, socket);
    }
    Ok(())
}
