//! A kernel that does not publish its types.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::exact::Count;
use super::plan::{Bench, Hook};
use super::privileges::refused;

const BTF: &str = "/sys/kernel/btf";

/// Has `command` see an empty directory where the kernel has its types, and nobody else.
pub(super) fn hide(command: &mut Command) {
    let hide = || {
        // SAFETY: a mount namespace of its own changes nothing that memory safety rests on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(
            "/",
            MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
        )?;
        mount("tmpfs", BTF, "tmpfs", MountFlags::empty(), None)?;
        Ok(())
    };
    // SAFETY: what runs between fork and exec makes system calls and allocates nothing: the
    // paths are short enough for the stack.
    unsafe { command.pre_exec(hide) };
}

/// The kretprobe and the tracepoint do without; fentry says what it lacks.
pub(super) fn no_btf(bench: &Bench) -> Result<String> {
    let bench = Bench {
        hide_btf: true,
        ..bench.clone()
    };
    if bench.hook == Hook::Fentry {
        return refused(&mut bench.conn_cli(bench.port), 1, &["btf"]);
    }
    let (figures, ended) = Count::PLAIN.trace(&bench)?;
    let tracing = ended.stderr.first().context("conn-cli said nothing")?;
    ensure!(
        bench.hook != Hook::Kretprobe || tracing.contains("without BTF"),
        "not a word of BTF: {tracing}"
    );
    Ok(figures.to_string())
}
