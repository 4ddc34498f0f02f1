//! `cargo xtask native`: runs the cases that need only this machine's kernel.

use std::net::{Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use lab::machine::Machine;
use lab::outcome::Results;
use lab::packages::{self, Install};
use lab::{command, workspace};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::cases::{Depth, PROGRAMS, planned, run_one};

/// Where tracefs belongs.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Exists if the kernel has kprobes.
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Run the cases that this machine's own kernel allows, with sudo if necessary
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The conn-cli to test, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    packages::require(&PROGRAMS, Install::Yes)?;
    let conn_cli = workspace::conn_cli(args.conn_cli.as_deref())?;
    if !rustix::process::geteuid().is_root() {
        // Only the cases need root, and root may have no cargo.
        let mut as_root = command::as_root(std::env::current_exe()?);
        return command::run(as_root.arg("native").arg("--conn-cli").arg(conn_cli));
    }
    mount_tracefs().context("cannot mount tracefs")?;
    let has_kprobes = Path::new(KPROBE_PMU).exists();
    let names = planned(Machine::Native { has_kprobes }, &[], Depth::Usual);
    let mut results = Results::new(names.clone());
    for name in &names {
        let outcome = run_one(name, &conn_cli, free_port()?);
        println!("native {outcome}");
        results.record(outcome);
    }
    println!("native: {results}");
    if !results.all_passed() {
        bail!("not every case ran and passed on this machine");
    }
    Ok(())
}

/// Mounts tracefs for this process and its children alone, where it is not mounted.
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

/// A port without a listener, in either family.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}
