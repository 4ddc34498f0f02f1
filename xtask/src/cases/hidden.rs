//! Directories of the kernel that conn-cli does not see.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Where the kernel publishes its types.
pub(super) const BTF: &str = "/sys/kernel/btf";
/// Where the kernel has what helps to debug it, its preemption among it.
pub(super) const DEBUGFS: &str = "/sys/kernel/debug";

/// Has `command` see an empty directory there, and nobody else.
pub(super) fn hide(command: &mut Command, directory: &'static str) {
    let hide = move || {
        // SAFETY: a mount namespace of its own changes nothing that memory safety rests on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(
            "/",
            MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
        )?;
        mount("tmpfs", directory, "tmpfs", MountFlags::empty(), None)?;
        Ok(())
    };
    // SAFETY: what runs between fork and exec makes system calls and allocates nothing: the
    // paths are short enough for the stack.
    unsafe { command.pre_exec(hide) };
}
