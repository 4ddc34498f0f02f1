//! The privileges that conn-cli keeps once its probes are attached.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::kernel;
use lab::process::Lines;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

/// `CAP_BPF` in the masks of `/proc/PID/status`.
const CAP_BPF: u64 = 1 << 39;

/// Since this version, a process without `CAP_BPF` may read the maps that it has open.
const READS_MAPS_WITHOUT_CAP_BPF: (u32, u32) = (6, 1);

const CAPABILITY_SETS: [&str; 5] = ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"];

/// Checks that every thread, including the writer, keeps only what the end of the run needs.
pub(crate) fn privileges(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    // To write to a socket, conn-cli starts a thread, which has its own capabilities.
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start_onto(command.arg("--json"), OwnedFd::from(theirs))?;
    drop(command);
    // The thread that searches for listeners has its privileges until it ends.
    tracer.wait_for("listening: ")?;
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
    ensure!(
        threads > 1,
        "the test is at fault: conn-cli has only one thread"
    );
    let served = server.finish()?;
    // The remaining capabilities must be enough to read the totals.
    tracer.process.signal(Signal::INT)?;
    lines.extend(stdout.rest()?);
    let figures = Report::new(&tracer.wait(lines)?)?.check(&served)?;
    Ok(format!("threads={threads} {figures}"))
}

fn check_thread(status: &str) -> Result<()> {
    let needed = if kernel::version()? < READS_MAPS_WITHOUT_CAP_BPF {
        CAP_BPF
    } else {
        0
    };
    for set in CAPABILITY_SETS {
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
