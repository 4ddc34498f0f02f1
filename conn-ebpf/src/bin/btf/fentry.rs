//! The entry of `security_sock_graft`, through a kernel trampoline instead of a breakpoint: the
//! cheapest hook, and sufficient alone.
//!
//! A preemptible kernel can preempt the program, and then skips it for another thread that accepts
//! on that CPU (`kernel/bpf/trampoline.c`, `__bpf_prog_enter_recur`). It counts the skipped runs,
//! and conn-cli reports them. No other program makes the kernel skip it.

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use aya_log_ebpf::debug;
use conn_common::HOOK_FENTRY;
use conn_ebpf::record;

use crate::graft::grafted;

/// The fentry program on `security_sock_graft`.
#[fentry(function = "security_sock_graft")]
pub(crate) fn conn_fentry(ctx: FEntryContext) -> u32 {
    if grafted(ctx.arg(0), HOOK_FENTRY).is_err() {
        record::unreadable();
        debug!(&ctx, "unreadable socket");
    }
    0
}
