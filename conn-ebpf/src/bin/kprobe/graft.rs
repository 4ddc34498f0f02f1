//! The second hook of the pair: the entry of `security_sock_graft`, which `inet_accept`
//! calls in the accepting thread once `inet_csk_accept` has returned.
//!
//! It never sleeps, so an entry probe on it misses nobody: it is the one that counts. Sockets of
//! every family pass here.
//!
//! ```c
//! // security/security.c
//! void security_sock_graft(struct sock *sk, struct socket *parent);
//! ```

use core::ffi::c_void;

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use aya_log_ebpf::debug;
use conn_common::{HOOK_KPROBE, HOOK_KRETPROBE};
use conn_ebpf::{
    config, filter, record,
    socket::{Fields as _, Kind, Socket},
};

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
    // Whatever becomes of this one, the mark is not for the next.
    let mark = seen::take();
    let copy = socket.copy()?;
    let local_port = copy.local_port()?;
    if !config::watched(local_port) {
        return Ok(());
    }
    let kind = copy.kind()?;
    if kind == Kind::Other {
        return Ok(());
    }
    let ends = copy.ends(local_port);
    if !filter::wants_accepted(&ends, &copy) {
        return Ok(());
    }
    let hook = if mark.is_of_this_thread() {
        HOOK_KRETPROBE
    } else {
        record::second_hook_only();
        HOOK_KPROBE
    };
    record::accepted(&ends, hook, &copy, kind);
    Ok(())
}
