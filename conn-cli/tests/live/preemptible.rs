//! Whether the kernel preempts its own code, and what follows from it.

use std::fs;
use std::thread;

use anyhow::Result;
use lab::hook::Hook;
use lab::kernel;

use crate::context::Context;

/// Whether the kernel of this guest preempts its own code: Linux 7 always does, and Debian's older
/// kernels do if the command line says so.
pub(crate) fn is_preemptible() -> Result<bool> {
    let is_requested = fs::read_to_string("/proc/cmdline")?.contains("preempt=full");
    Ok(is_requested || kernel::version()? >= (7, 0))
}

/// Whether a program that reads many entries of a map always makes the hook miss connections: on
/// one processor, each connection preempts the reader.
pub(crate) fn always_misses(context: &Context) -> Result<bool> {
    let has_one_processor = thread::available_parallelism()?.get() == 1;
    Ok(has_one_processor && context.hook == Hook::Kretprobe && is_preemptible()?)
}
