//! Hides directories of the kernel from conn-cli.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Where the kernel exposes its BTF.
pub(crate) const BTF: &str = "/sys/kernel/btf";
/// Where the kernel lists the processors.
pub(crate) const PROCESSORS: &str = "/sys/devices/system/cpu";
/// The mount point of debugfs, which also shows the preemption mode.
pub(crate) const DEBUGFS: &str = "/sys/kernel/debug";

/// Makes `directory` empty for `command`, and for no other process.
pub(crate) fn hide(command: &mut Command, directory: &'static str) {
    let hide = move || {
        // SAFETY: a separate mount namespace changes nothing that memory safety depends on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(
            "/",
            MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
        )?;
        mount("tmpfs", directory, "tmpfs", MountFlags::empty(), None)?;
        Ok(())
    };
    // SAFETY: between fork and exec, this makes system calls and allocates nothing: the paths are
    // short enough for the stack.
    unsafe { command.pre_exec(hide) };
}
