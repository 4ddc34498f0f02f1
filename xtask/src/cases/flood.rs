//! More connections than conn-cli can show: it says how many it did not show, and
//! its totals stay exact.

use std::io::{BufRead as _, BufReader};
use std::process::ChildStdout;

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::accept::Accept;
use super::client::Load;
use super::exact::Family;
use super::plan::Bench;
use super::process::{DEADLINE, Lines, poll_until};
use super::report::Report;
use super::server::{Serve, Server};
use super::tracer::Tracer;

const CONNECTIONS: u32 = 20_000;
const THREADS: u32 = 8;

/// The smallest ring buffer: one page.
const SMALLEST_RING: &str = "4096";

fn server(bench: &Bench) -> Result<Server> {
    let serve = Serve {
        address: [127, 0, 0, 1].into(),
        accept: Accept::Threads(THREADS),
        mptcp: false,
        netns: false,
    };
    Server::start(serve, bench.port)
}

fn load(bench: &Bench, connections: u32) -> Load {
    Load {
        from: Family::V4.clients(),
        port: bench.port,
        connections,
        threads: THREADS,
        mptcp: false,
        netns_of: None,
    }
}

/// Nobody reads conn-cli's output before the end.
pub(super) fn unread(bench: &Bench) -> Result<String> {
    let server = server(bench)?;
    let mut command = bench.conn_cli(bench.port);
    command.args(["--json", "--buffer-size", SMALLEST_RING]);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.take_stdout()?;
    let made = load(bench, CONNECTIONS).run()?;
    let served = server.finish()?;
    ensure!(
        served == made,
        "the test is at fault: made {made:?}, served {served:?}"
    );
    tracer.process.signal(Signal::INT)?;
    let lines = Lines::of("conn-cli", stdout).rest()?;
    let figures = Report::of(&tracer.wait(lines)?)?.check(&served)?;
    ensure!(
        figures.not_shown > 0,
        "the test is at fault: conn-cli showed it all: {figures}"
    );
    Ok(figures.to_string())
}

/// SIGTERM while connections come.
pub(super) fn terminated(bench: &Bench) -> Result<String> {
    let server = server(bench)?;
    let mut tracer = Tracer::start(bench.conn_cli(bench.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    let clients = load(bench, CONNECTIONS * 10).start()?;
    poll_until("a thousand connections", || Ok(clients.made() >= 1000))?;
    let ended = tracer.finish(Signal::TERM, &stdout);
    clients.stop();
    clients.finish()?;
    let served = server.finish()?;
    let figures = Report::of(&ended?)?.figures(&served)?;
    ensure!(
        (1..=figures.server).contains(&figures.connections),
        "not a part of the server's count: {figures}"
    );
    Ok(figures.to_string())
}

/// Whoever reads conn-cli's output has enough after one line, as `head -1` has.
pub(super) fn reader_closes(bench: &Bench) -> Result<String> {
    let server = server(bench)?;
    let mut tracer = Tracer::start(&mut bench.conn_cli(bench.port))?;
    let stdout = tracer.take_stdout()?;
    load(bench, 10).run()?;
    let line = first_line(stdout)?;
    ensure!(
        line.contains(" New connection from 127.0.0."),
        "not a line of a connection: {line:?}"
    );
    // It may notice at once or at its next line.
    load(bench, 500).run()?;
    let ended = tracer.wait(Vec::new())?;
    ensure!(
        ended.status.success() && ended.stderr.len() <= 2,
        "conn-cli did not end quietly: {}: {}",
        ended.status,
        ended.stderr.join(" | ")
    );
    server.finish()?;
    let account = ended.stderr.last().context("conn-cli gave no account")?;
    let (connections, not_shown) = figures_of(account)
        .with_context(|| format!("no figures in conn-cli's account: {account}"))?;
    ensure!(
        not_shown < connections,
        "a line was shown, and conn-cli says that none was: {account}"
    );
    Ok(format!("said: {account}"))
}

/// The figures of `12 connections from 9 addresses in 0.5 s; 10 lines not shown; ...`.
fn figures_of(account: &str) -> Option<(u64, u64)> {
    let first_number = |part: &str| part.trim().split(' ').next()?.parse().ok();
    let mut parts = account.split(';');
    let connections = first_number(parts.next()?)?;
    let not_shown = parts.find(|part| part.contains("not shown"))?;
    Some((connections, first_number(not_shown)?))
}

/// Reads a line and closes the pipe.
fn first_line(stdout: ChildStdout) -> Result<String> {
    let limit = Timespec::try_from(DEADLINE)?;
    let ready = poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&limit))?;
    ensure!(ready > 0, "conn-cli showed nothing within {DEADLINE:?}");
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .context("cannot read conn-cli's first line")?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_account() {
        let account = "12 connections from 9 addresses in 0.5 s; 1 line not shown; more";
        assert_eq!(figures_of(account), Some((12, 1)));
        assert_eq!(figures_of("12 connections"), None);
    }
}
