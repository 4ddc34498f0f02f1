//! Totals while connections arrive.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::hook::Hook;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::Signal;
use serde_json::Value;

use crate::context::Context;
use crate::preemptible::is_preemptible;

const CONNECTIONS: u32 = 1000;

/// The time between two requests.
const INTERVAL: Duration = Duration::from_millis(10);

/// Asked for a hundred times a second, the totals are right, and no connection is lost by reading them.
pub(crate) fn totals(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    let load = Load::v4(context.port, CONNECTIONS).start()?;
    let mut requests = 0;
    while !load.is_finished() {
        tracer.process.signal(Signal::USR1)?;
        requests += 1;
        // How often it is asked is what the case is about.
        thread::sleep(INTERVAL);
    }
    load.finish()?;
    let served = server.finish()?;
    let is_refused = context.hook == Hook::Kretprobe && is_preemptible()?;
    if !is_refused {
        // Nothing changes any more: the last one must have all.
        tracer.process.signal(Signal::QUIT)?;
    }
    let mut lines = Vec::new();
    let connections: u64 = served.values().sum();
    while !is_refused && !is_total(lines.last(), connections)? {
        lines.extend(stdout.take(1)?);
    }
    let before = lines.len();
    tracer.process.signal(Signal::USR1)?;
    tracer.process.signal(Signal::INT)?;
    lines.extend(stdout.rest()?);
    // Lines of connections may still come before.
    let mut answers = lines[before..].iter().map(Some);
    let is_answer = |line| is_total(line, connections).is_ok_and(|is_total| is_total);
    ensure!(
        is_refused || answers.any(is_answer),
        "no answer just before the end"
    );
    let ended = tracer.wait(lines)?;
    let report = Report::new(&ended)?;
    let figures = report.check(&served)?;
    if is_refused {
        let said = |line: &String| line.starts_with("no totals so far: ");
        ensure!(
            report.totals.is_empty() && ended.stderr.iter().any(said),
            "totals that would lose connections: {:?}",
            ended.stderr
        );
    }
    let counts = report.totals.iter().map(connections_of);
    let counts = counts.collect::<Result<Vec<_>>>()?;
    ensure!(counts.is_sorted(), "the totals shrink: {counts:?}");
    Ok(format!(
        "{figures}, asked {requests} times, {} answers",
        counts.len()
    ))
}

/// With `--by name` the totals are read where the programs count, without a call of the kernel: whatever the
/// hook and the kernel, that costs no connection, and no run of a program.
pub(crate) fn names(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    command.args(["--json", "--quiet", "--by", "name", "--max-clients", "1"]);
    command.args(["--name", "odd=127.0.0.1", "--name", "odd=127.0.0.3"]);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    let load = Load {
        threads: 4,
        ..Load::v4(context.port, 2 * CONNECTIONS)
    };
    let load = load.start()?;
    let mut answers: Vec<u64> = Vec::new();
    while !load.is_finished() {
        tracer.process.signal(Signal::USR1)?;
        let line = stdout.take(1)?;
        let line = serde_json::from_str(line.first().context("no answer")?)?;
        answers.push(names_of(&line)?.values().sum());
    }
    load.finish()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let report = Report::new(&ended)?;
    report.check_discrepancies(0)?;
    let mut expected = BTreeMap::new();
    for (client, connections) in &served {
        let is_odd = ["127.0.0.1", "127.0.0.3"].contains(&&*client.to_string());
        let name = if is_odd { "odd" } else { "other" };
        *expected.entry(name.to_owned()).or_default() += connections;
    }
    let names = names_of(&report.summary)?;
    ensure!(names == expected, "{names:?} instead of {expected:?}");
    ensure!(answers.is_sorted(), "the totals shrink: {answers:?}");
    ensure!(
        report.summary["missed_runs"].as_u64().unwrap_or(0) == 0,
        "missed runs: {}",
        report.summary
    );
    Ok(format!("{expected:?}, {} answers", answers.len()))
}

/// The connections of each name, which are all.
fn names_of(totals: &Value) -> Result<BTreeMap<String, u64>> {
    let rows = totals["clients"].as_array().context("no clients")?;
    let row = |row: &Value| {
        let name = row["network_name"].as_str().context("no name")?;
        let connections = row["connections"].as_u64().context("no number")?;
        anyhow::Ok((name.to_owned(), connections))
    };
    let names = rows.iter().map(row).collect::<Result<BTreeMap<_, _>>>()?;
    let sum: u64 = names.values().sum();
    ensure!(
        totals["connections"] == sum && totals["other_clients"] == 0,
        "{sum} in the rows of {totals}"
    );
    Ok(names)
}

fn is_total(line: Option<&String>, connections: u64) -> Result<bool> {
    let Some(line) = line else { return Ok(false) };
    let line: Value = serde_json::from_str(line)?;
    Ok(line["type"] == "totals" && connections_of(&line)? == connections)
}

/// The total, which must be the sum of its rows.
fn connections_of(totals: &Value) -> Result<u64> {
    let number = |value: &Value| value.as_u64().context("no number");
    let rows = totals["clients"].as_array().context("no clients")?;
    let rows = rows.iter().map(|row| number(&row["connections"]));
    let sum = rows.sum::<Result<u64>>()? + number(&totals["other_clients"])?;
    let connections = number(&totals["connections"])?;
    ensure!(sum == connections, "{sum} in the rows of {totals}");
    let lines = number(&totals["lines_shown"])? + number(&totals["lines_not_shown"])?;
    ensure!(lines == connections, "{lines} lines in {totals}");
    Ok(connections)
}
