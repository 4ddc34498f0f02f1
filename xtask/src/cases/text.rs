//! The output that people read.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::accept::Accept;
use super::client::Load;
use super::exact::Family;
use super::plan::Bench;
use super::server::{Counts, Serve, Server};
use super::tracer::Tracer;

const HEADING: &str = "=== Summary ===";

/// Every connection has a line, and every address a line in the summary, the most
/// frequent first.
pub(super) fn text(bench: &Bench) -> Result<String> {
    let serve = Serve {
        address: Family::Dual.listen(),
        accept: Accept::Threads(4),
        mptcp: false,
        netns: false,
    };
    let server = Server::start(serve, bench.port)?;
    let mut tracer = Tracer::start(&mut bench.conn_cli(bench.port))?;
    let stdout = tracer.stdout()?;
    let clients = Load {
        from: Family::Dual.clients(),
        port: bench.port,
        connections: 105,
        threads: 1,
        mptcp: false,
        netns_of: None,
    };
    clients.run()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    ensure!(
        ended.status.success(),
        "conn-cli ended with {}",
        ended.status
    );
    let lines = &ended.stdout;
    let heading = lines.iter().position(|line| line == HEADING);
    let heading = heading.with_context(|| format!("no line {HEADING:?} in {lines:?}"))?;
    let (live, summary) = (&lines[..heading], &lines[heading + 1..]);
    ensure!(
        live.last().is_some_and(String::is_empty),
        "no empty line before the summary"
    );
    check_live(&live[..live.len() - 1], &served)?;
    ensure!(
        *summary == expected_summary(&served),
        "not the server's summary: {summary:?}"
    );
    Ok(format!("said: {}", ended.stderr.join(" | ")))
}

fn check_live(live: &[String], served: &Counts) -> Result<()> {
    let mut counts = Counts::new();
    for line in live {
        let (_, address) = line
            .split_once(" New connection from ")
            .with_context(|| format!("not a line of a connection: {line:?}"))?;
        *counts.entry(address.parse()?).or_default() += 1;
    }
    ensure!(counts == *served, "lines {counts:?}, served {served:?}");
    Ok(())
}

fn expected_summary(served: &Counts) -> Vec<String> {
    let mut sorted: Vec<_> = served.iter().collect();
    // Addresses are sorted already, and equal counts keep their order.
    sorted.sort_by_key(|(_, connections)| std::cmp::Reverse(**connections));
    sorted
        .iter()
        .map(|(address, connections)| format!("{address}: {connections}"))
        .collect()
}
