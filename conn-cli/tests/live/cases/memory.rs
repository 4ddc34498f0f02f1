//! Little memory. Without any for new clients the total stays exact, and conn-cli reports for how many
//! connections it did not record the client. At the end, the total needs none, and the summary not much.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::process;

use anyhow::{Context as _, Result, ensure};
use lab::cgroup::Cgroup;
use lab::client::Load;
use lab::counts::Counts;
use lab::diagnostics::{CountLine, LastLine};
use lab::family::Family;
use lab::kernel;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::Tracer;
use rustix::io::ioctl_fionread;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;

use crate::context::Context;

/// More than fit into what a cgroup is charged for in advance: 64 pages for each processor
/// (`mm/memcontrol.c`, `MEMCG_CHARGE_BATCH`), of 32 entries each.
const CLIENTS: u16 = 6000;

/// Each client connects once. Before Linux 6.1, all entries are preallocated.
pub(crate) fn out_of_memory(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::V4.listen()), context.port)?;
    Cgroup::enable_memory_accounting()?;
    let cgroup = Cgroup::new("conn-cli-memory")?;
    // The kernel charges a map to the cgroup that it was created in, even if its process moves.
    cgroup.add(process::id())?;
    let tracer = Tracer::start(context.conn_cli(context.port).args(["--json", "--quiet"]));
    Cgroup::move_to_root(process::id())?;
    let mut tracer = tracer?;
    let stdout = tracer.stdout()?;
    tracer.wait_for("listening: ")?;

    // Otherwise conn-cli would be killed for its own memory.
    Cgroup::move_to_root(tracer.process.child.id())?;
    cgroup.limit_memory(Some(cgroup.memory()?))?;
    let load = Load {
        from: (0..CLIENTS).map(client_address).collect(),
        threads: 4,
        ..Load::v4(context.port, CLIENTS.into())
    };
    load.run()?;
    cgroup.limit_memory(None)?;

    let served = server.finish()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    let figures = report.figures(&served)?;
    report.check_discrepancies(0)?;
    let (others, out_of_memory) = (
        report.number("other_clients")?,
        report.number("out_of_memory")?,
    );
    ensure!(
        figures.connections == figures.server && others == out_of_memory,
        "{figures}, {others} others, {out_of_memory} out of memory"
    );
    let is_expected = kernel::version()? >= (6, 1);
    ensure!(
        (out_of_memory > 0) == is_expected,
        "{out_of_memory} connections out of memory"
    );
    for (address, connections) in &report.counts()? {
        ensure!(
            served.get(address) == Some(connections),
            "{address}: {connections}"
        );
    }
    Ok(format!("{figures} out_of_memory={out_of_memory}"))
}

fn client_address(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low).into()
}

/// The clients whose summary may take [`MAX_SUMMARY_KB`] more than the run did.
const SUMMARISED: u16 = 30_000;
const MAX_SUMMARY_KB: u64 = 2048;

/// Many times what a pipe holds less than the summary has, so that conn-cli must wait to write the rest.
const READ_BEFORE_THE_END: usize = 300_000;

/// Standard output is full before the summary begins, and is then read, but not to its end.
pub(crate) fn at_summary(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::V4.listen()), context.port)?;
    let (mut stdout, mut writer) = io::pipe()?;
    let filling = vec![b'\n'; fcntl_setpipe_size(&writer, 4096)?];
    writer.write_all(&filling)?;
    let mut tracer = Tracer::start_onto(context.conn_cli(context.port).arg("--quiet"), writer)?;
    let load = Load {
        from: (0..SUMMARISED).map(client_address).collect(),
        threads: 4,
        // One client connects twice, and is the first.
        ..Load::v4(context.port, u32::from(SUMMARISED) + 1)
    };
    load.run()?;
    let served = server.finish()?;
    let pid = tracer.pid();
    // Resets the peak (`fs/proc/task_mmu.c`, CLEAR_REFS_MM_HIWATER_RSS).
    fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    let before = peak_kb(pid)?;

    tracer.process.signal(Signal::INT)?;
    let noun = if context.hook.sees_accepts() {
        "connections"
    } else {
        "handshakes"
    };
    tracer.wait_for(&format!(" {noun} in "))?;
    ensure!(
        ioctl_fionread(&stdout)? == filling.len() as u64,
        "something was written before the total"
    );
    tracer.wait_for("waiting for the reader of standard output")?;
    let mut summary = vec![0; READ_BEFORE_THE_END];
    stdout.read_exact(&mut summary)?;
    let end = peak_kb(pid)?;
    stdout.read_to_end(&mut summary)?;
    let ended = tracer.wait(Vec::new())?;

    let count_line = CountLine::of(&ended)?;
    let connections: u64 = served.values().sum();
    ensure!(
        ended.status.success() && count_line.connections == connections,
        "{count_line:?}, but the server accepted {connections}"
    );
    ensure!(
        rows(str::from_utf8(&summary)?)? == served,
        "the summary does not have the server's addresses"
    );
    ensure!(
        end <= before + MAX_SUMMARY_KB,
        "{before} kB before the summary, {end} kB at its end"
    );
    Ok(format!(
        "{connections} connections, {before} kB before the summary, {end} kB at its end"
    ))
}

/// The connections of each address in the summary.
fn rows(text: &str) -> Result<Counts> {
    let (_, rows) = text.split_once("=== Summary ===\n").context("no summary")?;
    let (rows, last) = rows.trim_end().rsplit_once('\n').context("no total")?;
    let addresses = rows.lines().count() as u64;
    ensure!(
        LastLine::parse(last).is_some_and(|last| last.groups == Some(addresses)),
        "not {addresses} addresses: {last}"
    );
    rows.lines()
        .map(|row| {
            let (address, connections) = row.split_once(": ").context("not a row")?;
            Ok((address.parse()?, connections.parse()?))
        })
        .collect()
}

/// The most memory that a process has had, which the kernel counts in pages that are resident.
fn peak_kb(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|peak| peak.trim().strip_suffix(" kB"))
        .context("no VmHWM")?;
    Ok(peak.parse()?)
}
