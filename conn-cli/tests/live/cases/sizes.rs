//! How large the ring buffer and the tables of clients are.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use lab::cgroup::Cgroup;
use lab::client::Load;
use lab::kernel;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

/// `BPF_MAP_TYPE_HASH` and `BPF_MAP_TYPE_RINGBUF` of `include/uapi/linux/bpf.h`.
const HASH: u32 = 1;
const RINGBUF: u32 = 27;

/// The bytes that conn-cli's cgroup may have, and how many clients it counts with that.
const LIMIT: u64 = 8 << 20;
const CLIENTS: u16 = 6000;

/// With little memory, conn-cli takes at most a quarter of it for the buffer and the tables, says so, and ends
/// with a summary.
pub(crate) fn little_memory(context: &Context) -> Result<String> {
    let port = context.port;
    let mut command = context.conn_cli(port);
    command.args(["--json", "--quiet"]);
    // A thread of its own, whose mounts end with it.
    let case = move || {
        Cgroup::show_those_with_memory()?;
        let cgroup = Cgroup::new("conn-cli-sizes")?;
        cgroup.limit_memory(Some(LIMIT))?;
        enter(&mut command, &cgroup);
        count(&mut command, port)
    };
    thread::spawn(case).join().expect("the case does not panic")
}

fn count(command: &mut Command, port: u16) -> Result<String> {
    let server = Server::plain(port)?;
    let mut tracer = Tracer::start(command)?;
    let stdout = tracer.stdout()?;
    let said = tracer.wait_for("note: for little memory: ")?;
    let sizes = sizes(tracer.pid())?;
    check_said(&said, sizes)?;
    let (buffer, clients) = sizes;
    // The least that a client takes: its address and its port with three counts, and what the kernel adds.
    ensure!(
        u64::from(buffer) + u64::from(clients) * 112 <= LIMIT / 4 && clients > CLIENTS.into(),
        "a buffer of {buffer} bytes and {clients} clients"
    );
    let load = Load {
        from: (0..CLIENTS).map(client_address).collect(),
        threads: 4,
        ..Load::v4(port, CLIENTS.into())
    };
    load.run()?;
    let served = server.finish()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    let figures = report.check_totals(&served)?;
    Ok(format!("{figures}, --max-clients {clients}"))
}

fn client_address(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low).into()
}

/// Starts the command in this cgroup.
fn enter(command: &mut Command, cgroup: &Cgroup) {
    let processes = cgroup.path().join("cgroup.procs");
    let enter = move || fs::write(&processes, "0");
    // SAFETY: between fork and exec, it opens and writes a file whose path was made before.
    unsafe { command.pre_exec(enter) };
}

/// By default the buffer is as large as the processors need, and the table of clients has what 64 MiB hold.
pub(crate) fn defaults(context: &Context) -> Result<String> {
    let verbose = Context {
        verbose: true,
        ..context.clone()
    };
    let mut tracer = Tracer::start(verbose.conn_cli(context.port).arg("--quiet"))?;
    let stdout = tracer.stdout()?;
    let said = tracer.wait_for("sizes: ")?;
    let sizes = sizes(tracer.pid())?;
    check_said(&said, sizes)?;
    let (buffer, clients) = sizes;
    let preallocates = kernel::version()? < (6, 1);
    // Less what the tables take that do not grow with the clients, which more processors have more of.
    let most = if preallocates { 524_288 } else { 431_766 };
    let online = fs::read_to_string("/proc/cpuinfo")?;
    let processors = online
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let expected_buffer = match processors {
        0..=4 => 512 << 10,
        5..=32 => 4 << 20,
        33.. => 16 << 20,
    };
    ensure!(
        buffer == expected_buffer && (most / 10 * 9..most).contains(&clients),
        "a buffer of {buffer} bytes and {clients} clients for {processors} processors"
    );
    tracer.finish(Signal::INT, &stdout)?;
    Ok(said)
}

/// The line about sizes has those that the kernel was asked for.
fn check_said(said: &str, (buffer, clients): (u32, u32)) -> Result<()> {
    let expected = format!(": --buffer-size {buffer} --max-clients {clients}");
    ensure!(said.ends_with(&expected), "{said:?}, not {expected:?}");
    Ok(())
}

/// The bytes of the largest ring buffer of a process, and the entries of its largest hash map.
fn sizes(pid: u32) -> Result<(u32, u32)> {
    let (mut buffer, mut clients) = (0, 0);
    for file in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor that has been closed meanwhile is not a map.
        let info = fs::read_to_string(file?.path()).unwrap_or_default();
        let field = |name| -> Option<u32> {
            let value = info.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse().ok()
        };
        let Some(kind) = field("map_type:") else {
            continue;
        };
        let entries = field("max_entries:").context("no max_entries")?;
        match kind {
            HASH => clients = clients.max(entries),
            RINGBUF => buffer = buffer.max(entries),
            _ => {}
        }
    }
    Ok((buffer, clients))
}
