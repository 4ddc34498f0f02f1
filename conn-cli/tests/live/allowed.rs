//! What this machine allows: whether it can run a case at all, and what it needs before.

use std::path::Path;

use anyhow::{Context as _, Result};
use lab::machine::Machine;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, unshare_unsafe};

/// Where tracefs belongs.
const TRACEFS: &str = "/sys/kernel/tracing";

/// If this variable is `ignore`, every case is ignored.
const VARIABLE: &str = "LIVE_CASES";

/// Why this machine can run no case, if so. Prepares it unless nothing is going to run.
pub(crate) fn refusal(machine: Machine, only_list: bool) -> Option<String> {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "ignore") {
        return Some(format!("{VARIABLE}=ignore"));
    }
    let is_root =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    if !is_root {
        return Some("they need root, with all capabilities".to_owned());
    }
    if only_list {
        return None;
    }
    prepare(machine).err().map(|error| format!("{error:#}"))
}

/// Gives this process, and its children alone, what the cases need of the machine.
pub(crate) fn prepare(machine: Machine) -> Result<()> {
    match machine {
        Machine::Native { .. } => mount_tracefs().context("cannot mount tracefs"),
        // Its PID 1 has prepared it.
        Machine::Guest(_) | Machine::Preemptible(..) | Machine::LockedDown => Ok(()),
    }
}

/// Mounts tracefs where it is not mounted.
fn mount_tracefs() -> Result<()> {
    if Path::new(TRACEFS).join("events").exists() {
        return Ok(());
    }
    // SAFETY: this process has one thread, and a mount namespace does not affect memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private)?;
    mount("tracefs", TRACEFS, "tracefs", MountFlags::empty(), None)?;
    Ok(())
}
