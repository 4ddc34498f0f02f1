//! The privileges that conn-cli needs, and its errors without them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Result, ensure};
use lab::as_user;
use lab::setting::Setting;
use lab::tracer::run_to_end;
use rustix::fs::{XattrFlags, setxattr};

use super::exact::Count;
use crate::context::Context;

const PERF_PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// A limit that is too small for any map of conn-cli.
const SMALL_MEMORY_LOCK: &str = "65536";

/// With two capabilities, an ordinary user counts as well as root.
pub(crate) fn two_capabilities(context: &Context) -> Result<String> {
    let _paranoid = Setting::set(PERF_PARANOID, "2")?;
    let as_user = Context {
        as_user: Some(&["--bpf-and-perfmon"]),
        ..context.clone()
    };
    Count::PLAIN.run(&as_user)
}

/// Debian's and Ubuntu's kernels can reserve perf events, which kprobes need, for root.
pub(crate) fn perf_paranoid(context: &Context) -> Result<String> {
    let _paranoid = Setting::set(PERF_PARANOID, "3")?;
    let mut command = as_user::command(&["--bpf-and-perfmon"], &context.conn_cli(context.port));
    refused(&mut command, 1, &["perf_event_paranoid"])
}

pub(crate) fn not_root(context: &Context) -> Result<String> {
    let mut command = as_user::command(&[], &context.conn_cli(context.port));
    refused(&mut command, 1, &["cap_bpf", "cap_perfmon", "sudo"])
}

pub(crate) fn memory_lock(context: &Context) -> Result<String> {
    let options = ["--bpf-and-perfmon", "--memory-lock", SMALL_MEMORY_LOCK];
    let mut command = as_user::command(&options, &context.conn_cli(context.port));
    refused(&mut command, 1, &["memory lock limit"])
}

pub(crate) fn lockdown(context: &Context) -> Result<String> {
    refused(&mut context.conn_cli(context.port), 1, &["lockdown"])
}

/// What reads only memory that the verifier knows is allowed there. Connections that waited and those in
/// another namespace show that all of it can be read.
pub(crate) fn exact_in_lockdown(context: &Context) -> Result<String> {
    Count::PLAIN.run(context)
}

/// An LSM program would attach there, but never run.
pub(crate) fn no_bpf_lsm(context: &Context) -> Result<String> {
    refused(
        &mut context.conn_cli(context.port),
        1,
        &["security modules", "lsm="],
    )
}

pub(crate) fn no_kprobes(context: &Context) -> Result<String> {
    refused(&mut context.conn_cli(context.port), 1, &["kprobes"])
}

pub(crate) fn bad_port(context: &Context) -> Result<String> {
    refused(
        context.conn_cli(context.port).args(["--port", "65536"]),
        2,
        &["65536"],
    )
}

/// conn-cli must end with `code`, print nothing to standard output, and name `words` in its error.
/// A failure, unlike bad usage, must have one line.
pub(crate) fn refused(command: &mut Command, code: i32, words: &[&str]) -> Result<String> {
    let ended = run_to_end(command)?;
    let stderr = ended.stderr.join(" | ");
    ensure!(
        ended.status.code() == Some(code),
        "ended with {}: {stderr}",
        ended.status
    );
    ensure!(ended.stdout.is_empty(), "conn-cli wrote {:?}", ended.stdout);
    // With `-v`, the causes follow.
    let is_verbose = command.get_args().any(|argument| argument == "-v");
    ensure!(
        code != 1 || is_verbose || ended.stderr.len() == 1,
        "the error is not one line: {stderr}"
    );
    for word in words {
        ensure!(
            stderr.to_lowercase().contains(word),
            "no {word:?} in: {stderr}"
        );
    }
    Ok(format!("stderr: {stderr}"))
}

/// An ordinary user runs a program that has the capabilities itself, as `setcap` gives them.
pub(crate) fn file_capabilities(context: &Context) -> Result<String> {
    let directory = std::env::temp_dir().join(format!("conn-cli-setcap-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let program = directory.join("conn-cli");
    fs::copy(&context.conn_cli, &program)?;
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(&program, mode.clone())?;
    fs::set_permissions(&directory, mode)?;
    let attribute: Vec<u8> = FILE_CAPABILITIES
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    setxattr(
        &program,
        "security.capability",
        &attribute,
        XattrFlags::empty(),
    )?;
    let _paranoid = Setting::set(PERF_PARANOID, "2")?;
    let result = Count::PLAIN.run(&Context {
        conn_cli: program,
        as_user: Some(&[]),
        ..context.clone()
    });
    fs::remove_dir_all(directory)?;
    result
}

/// `struct vfs_cap_data` of `include/uapi/linux/capability.h`: revision 2 with the effective bit, then
/// permitted and inheritable, of the lower capabilities and the upper ones. CAP_PERFMON is 38, CAP_BPF
/// 39.
const FILE_CAPABILITIES: [u32; 5] = [0x0200_0001, 0, 0, 1 << (38 - 32) | 1 << (39 - 32), 0];
