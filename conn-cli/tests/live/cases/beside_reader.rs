//! conn-cli beside another program that reads its own BPF maps.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::diagnostics::MAY_MISS;
use lab::hook::Hook;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;
use serde_json::Value;

use crate::context::Context;
use crate::map_reader::{ReadMode, Reader};
use crate::preemptible;

const CONNECTIONS: u32 = 300;

pub(crate) fn batches(context: &Context) -> Result<String> {
    run_beside_reader(context, ReadMode::Batches)
}

pub(crate) fn paused(context: &Context) -> Result<String> {
    run_beside_reader(context, ReadMode::Paused)
}

pub(crate) fn keys(context: &Context) -> Result<String> {
    run_beside_reader(context, ReadMode::Keys)
}

fn run_beside_reader(context: &Context, how: ReadMode) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).args(["--json", "--quiet"]))?;
    let stdout = tracer.stdout()?;
    let reader = Reader::start(how)?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let times = reader.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let served = server.finish()?;
    ensure!(times > 0, "the test is at fault: the reader read nothing");
    let comparison = check(context, &ended, &served)?;
    let must_miss = how == ReadMode::Batches && preemptible::always_misses(context)?;
    ensure!(
        comparison.connections < comparison.server || !must_miss,
        "the test is at fault: the reader did not disturb conn-cli: {comparison}"
    );
    Ok(format!(
        "{comparison}, the reader read its map {times} times"
    ))
}

/// What conn-cli reported of a run beside a map reader, and the server's count.
pub(crate) struct Comparison {
    pub(crate) server: u64,
    pub(crate) connections: u64,
    missed_runs: Value,
    exact: bool,
    probe: String,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "server={} conn-cli={} missed_runs={} exact={} with {}",
            self.server, self.connections, self.missed_runs, self.exact, self.probe
        )
    }
}

/// A hook that reports itself as exact must have counted every connection. Any other must have
/// reported that it may miss some and, if the kernel counts them, how many at most.
pub(crate) fn check(context: &Context, ended: &Ended, served: &Counts) -> Result<Comparison> {
    let report = Report::new(ended)?;
    let summary = &report.summary;
    let comparison = Comparison {
        server: served.values().sum(),
        connections: report.number("connections")?,
        missed_runs: summary["missed_runs"].clone(),
        exact: summary["exact"]
            .as_bool()
            .context("the summary does not say whether it is exact")?,
        probe: summary["probe"].as_str().context("no probe")?.to_owned(),
    };
    let stderr = ended.stderr.join(" | ");
    ensure!(
        context.hook != Hook::Auto || comparison.exact,
        "auto chose an inexact hook: {comparison}; {stderr}"
    );
    ensure!(
        summary["exact_reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "no reason for exactness: {summary}"
    );
    if comparison.exact {
        ensure!(
            ended.status.success(),
            "ended with {}: {stderr}",
            ended.status
        );
        report.check_totals(served)?;
        return Ok(comparison);
    }
    ensure!(
        ended.stderr.iter().any(|line| line.starts_with(MAY_MISS)),
        "no note says that the hook is not exact: {stderr}"
    );
    match comparison.missed_runs.as_u64() {
        None => ensure!(
            stderr.contains("does not count how often") && stderr.contains("may be missing"),
            "no warning that the kernel does not count missed runs: {stderr}"
        ),
        Some(0) => ensure!(
            comparison.connections == comparison.server,
            "connections are missing without a missed run: {comparison}; {stderr}"
        ),
        Some(missed) => {
            let at_least = format!("the count is at least {}:", comparison.connections);
            ensure!(
                ended.status.code() == Some(1)
                    && summary["at_least"] == true
                    && stderr.contains(&at_least)
                    && comparison.connections + missed >= comparison.server,
                "the missed runs are not reported correctly: {comparison}; {}: {stderr}",
                ended.status
            );
        }
    }
    ensure!(
        comparison.connections <= comparison.server,
        "conn-cli counted too many connections: {comparison}"
    );
    Ok(comparison)
}
