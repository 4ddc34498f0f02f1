//! Hides directories of the kernel from conn-cli, or what its BTF tells.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Where the kernel exposes its BTF.
pub(crate) const BTF: &str = "/sys/kernel/btf";
/// Where the kernel lists the processors.
pub(crate) const PROCESSORS: &str = "/sys/devices/system/cpu";
/// The mount point of debugfs, which also shows the preemption mode.
pub(crate) const DEBUGFS: &str = "/sys/kernel/debug";

/// Makes `directory` empty for `command`, and for no other process.
pub(crate) fn hide(command: &mut Command, directory: &'static str) {
    with_own_mounts(command, move || {
        mount("tmpfs", directory, "tmpfs", MountFlags::empty(), None)?;
        Ok(())
    });
}

/// The kernel's BTF, and where conn-cli keeps what it has read of it.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const CACHE: &str = "/run";

/// A copy of the kernel's BTF without some members.
#[derive(Debug)]
pub(crate) struct EditedBtf {
    path: PathBuf,
    without: &'static [&'static str],
}

impl EditedBtf {
    /// Gives these members other names.
    pub(crate) fn without(members: &'static [&'static str]) -> Result<Self> {
        let mut btf = fs::read(VMLINUX).with_context(|| format!("cannot read {VMLINUX}"))?;
        for member in members {
            let name = format!("\0{member}\0").into_bytes();
            let found = btf.windows(name.len()).position(|bytes| bytes == name);
            let at = found.with_context(|| format!("the BTF has no {member}"))?;
            btf[at + 1] = b'?';
            ensure!(
                !btf.windows(name.len()).any(|bytes| bytes == name),
                "the BTF has {member} twice"
            );
        }
        let path = std::env::temp_dir().join(format!("btf-{}", std::process::id()));
        fs::write(&path, btf)?;
        Ok(Self {
            path,
            without: members,
        })
    }

    pub(crate) fn has(&self, member: &str) -> bool {
        !self.without.contains(&member)
    }

    /// Shows it to `command`, and to no other process, as the kernel's BTF.
    pub(crate) fn show(&self, command: &mut Command) {
        let path = self.path.clone();
        with_own_mounts(command, move || {
            mount_bind(&path, VMLINUX)?;
            mount("tmpfs", CACHE, "tmpfs", MountFlags::empty(), None)?;
            Ok(())
        });
    }
}

impl Drop for EditedBtf {
    fn drop(&mut self) {
        // The directory is for temporary files.
        let _ = fs::remove_file(&self.path);
    }
}

/// Runs `change` before the command, in a mount namespace of its own.
fn with_own_mounts(
    command: &mut Command,
    change: impl Fn() -> std::io::Result<()> + Send + Sync + 'static,
) {
    let change = move || {
        // SAFETY: a separate mount namespace changes nothing that memory safety depends on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(
            "/",
            MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
        )?;
        change()
    };
    // SAFETY: between fork and exec, this makes system calls and allocates nothing: the paths are
    // short enough for the stack.
    unsafe { command.pre_exec(change) };
}
