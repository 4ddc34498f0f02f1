//! The LSM hook `sock_graft`, which `security_sock_graft` calls if `bpf` is one of the active
//! security modules.
//!
//! Nothing makes the kernel skip it: since Linux 6.2, and in the stable releases of 6.1, an LSM
//! program has no recursion guard (`include/linux/bpf_verifier.h`, `bpf_prog_check_recur`). From
//! 5.12 until then it has the guard of an fentry program, and the kernel counts the skipped runs.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use aya_log_ebpf::debug;
use conn_common::HOOK_LSM;
use conn_ebpf::record;

use crate::graft::grafted;

/// The LSM program on `sock_graft`. The hook is void (`include/linux/lsm_hook_defs.h`), so the
/// return value has no effect.
#[lsm(hook = "sock_graft")]
pub(crate) fn conn_lsm(ctx: LsmContext) -> i32 {
    if grafted(ctx.arg(0), HOOK_LSM).is_err() {
        record::unreadable();
        debug!(&ctx, "unreadable socket");
    }
    0
}
