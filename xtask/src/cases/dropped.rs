//! What conn-cli may still do once its probes are attached.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::client::Load;
use super::kernel;
use super::plan::Context;
use super::process::Lines;
use super::report::Report;
use super::server::Server;
use super::tracer::Tracer;

/// `CAP_BPF` in the masks of `/proc/PID/status`.
const CAP_BPF: u64 = 1 << 39;

/// The kernel that lets a process without it read the maps that it has open.
const READS_MAPS_FREELY: (u32, u32) = (6, 1);

const SETS: [&str; 5] = ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"];

/// Every thread, that which writes too, has given up everything but what the end needs.
pub(super) fn privileges(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    // Into a socket a thread of its own writes, which has capabilities of its own.
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = context.conn_cli(context.port);
    let tracer = Tracer::start_onto(command.arg("--json"), OwnedFd::from(theirs))?;
    drop(command);
    let stdout = Lines::of("conn-cli", ours);
    Load::v4(context.port, 1).run()?;
    let mut lines = stdout.take(1)?;
    let tasks = format!("/proc/{}/task", tracer.process.child.id());
    let mut threads = 0;
    for task in fs::read_dir(tasks)? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        check_thread(&status)?;
        threads += 1;
    }
    ensure!(threads > 1, "the test is at fault: one thread only");
    let served = server.finish()?;
    // What is left is enough to read the totals.
    tracer.process.signal(Signal::INT)?;
    lines.extend(stdout.rest()?);
    let figures = Report::of(&tracer.wait(lines)?)?.check(&served)?;
    Ok(format!("threads={threads} {figures}"))
}

fn check_thread(status: &str) -> Result<()> {
    let needed = match kernel::version()? < READS_MAPS_FREELY {
        true => CAP_BPF,
        false => 0,
    };
    for set in SETS {
        let held = u64::from_str_radix(field(status, set)?, 16)?;
        let may_hold = match set {
            "CapInh" | "CapAmb" => 0,
            _ => needed,
        };
        ensure!(held & !may_hold == 0, "{set} of a thread is {held:#x}");
    }
    let no_new_privileges = field(status, "NoNewPrivs")?;
    ensure!(
        no_new_privileges == "1",
        "NoNewPrivs is {no_new_privileges}"
    );
    Ok(())
}

fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
        .with_context(|| format!("/proc/PID/status has no {name}"))
}
