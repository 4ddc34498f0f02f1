//! The first hook of the pair: the return of `inet_csk_accept`, which returns the socket of an
//! accepted connection, or null.
//!
//! It only leaves a handoff. The second hook counts, since this one misses connections: the
//! function sleeps, and a call that began before the probe was attached, or that found no free
//! kretprobe instance (`kernel/kprobes.c`, `pre_handler_kretprobe`), returns unseen. The second
//! hook sees it.
//!
//! ```c
//! // net/ipv4/inet_connection_sock.c, up to Linux 6.9, and since 6.10
//! struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern);
//! struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg);
//! ```

use core::ffi::c_void;

use aya_ebpf::{macros::kretprobe, programs::RetProbeContext};

use crate::handoff;

/// The kretprobe on `inet_csk_accept`.
#[kretprobe(function = "inet_csk_accept")]
pub(crate) fn conn_accept(ctx: RetProbeContext) -> u32 {
    if !ctx.ret::<*const c_void>().is_null() {
        handoff::leave();
    }
    0
}
