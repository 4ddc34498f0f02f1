//! Runs a program as an ordinary user with only the given capabilities.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::itself;
use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// `nobody`.
pub const USER: u32 = 65534;

/// Runs a program as an ordinary user
#[derive(clap::Args)]
pub struct Args {
    /// Keep CAP_BPF and CAP_PERFMON
    #[arg(long)]
    bpf_and_perfmon: bool,
    /// Limit of locked memory, unlimited by default
    #[arg(long, value_name = "BYTES")]
    memory_lock: Option<u64>,
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Returns only if it fails.
pub fn run(args: &Args) -> Result<()> {
    let limit = Rlimit {
        current: args.memory_lock,
        maximum: args.memory_lock,
    };
    setrlimit(Resource::Memlock, limit).context("cannot set the memory lock limit")?;
    let capabilities = if args.bpf_and_perfmon {
        CapabilitySet::BPF | CapabilitySet::PERFMON
    } else {
        CapabilitySet::empty()
    };
    become_user(capabilities).context("cannot become an ordinary user")?;
    let error = Command::new(&args.command[0])
        .args(&args.command[1..])
        .exec();
    Err(error).with_context(|| format!("cannot run {}", args.command[0]))
}

/// Makes this process, which has only one thread so far, run as an ordinary user.
pub fn become_nobody() -> Result<()> {
    become_user(CapabilitySet::empty())
}

/// Makes this process's only thread run as an ordinary user; `capabilities` survive the next exec.
fn become_user(capabilities: CapabilitySet) -> Result<()> {
    set_keep_capabilities(true)?;
    let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let sets = CapabilitySets {
        effective: capabilities,
        permitted: capabilities,
        inheritable: capabilities,
    };
    set_capabilities(None, sets)?;
    for capability in capabilities.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// The command line that runs `program` as an ordinary user.
pub fn command(options: &[&str], program: &Command) -> Command {
    let mut command = itself::command("as-user");
    command.args(options).arg("--");
    command.arg(program.get_program()).args(program.get_args());
    command
}
