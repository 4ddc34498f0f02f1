//! How long connections wait to be accepted.

use anyhow::{Context as _, Result, ensure};
use lab::accept::Accept;
use lab::client::Load;
use lab::family::Family;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::stages::client;
use lab::tracer::Tracer;
use rustix::process::Signal;
use serde_json::Value;

use crate::context::Context;

const CONNECTIONS: u32 = 20;

/// How long the server lets each connection wait.
const DELAY_MS: u32 = 50;
const DELAY: f64 = DELAY_MS as f64 / 1000.0;

/// Far more than that, even on a slow machine.
const MAX_MEDIAN: f64 = DELAY * 10.0;

/// How far a quantile of the summary may be from that of the lines.
const PRECISION: f64 = 0.07;

/// How far the time between the two lines may be from the wait, in half of the cases: between two
/// reads of the clock, another task may get the processor.
const MAX_DIFFERENCE: f64 = 0.02;

/// Each connection waits as long as the server sleeps, and a little more.
pub(crate) fn slow_accept(context: &Context) -> Result<String> {
    let serve = Serve {
        accept: Accept::Slow(DELAY_MS),
        ..Serve::threads(1, Family::V4.listen())
    };
    let server = Server::start(serve, context.port)?;
    let mut command = context.conn_cli(context.port);
    command.args(["--event", "established,accepted", "--json", "--utc"]);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    // One client at a time: none waits for another.
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    let count = report.number("connections")?;
    ensure!(
        report.counts()? == served && report.live.len() as u64 == count,
        "not {served:?}, as the server counted, each with a line: {}",
        report.summary
    );
    let mut waits = report.live.iter().map(wait).collect::<Result<Vec<_>>>()?;
    let differences = differences(&report, &waits)?;
    waits.sort_by(f64::total_cmp);
    let (shortest, median) = (waits[0], quantile(&waits, 50));
    ensure!(
        shortest >= DELAY && median < MAX_MEDIAN,
        "waits from {shortest} s, median {median} s, where the server delays each by {DELAY} s"
    );
    check_summary(&report, &waits)?;
    let difference = quantile(&differences, 50);
    ensure!(
        difference < MAX_DIFFERENCE,
        "the times between the lines differ from the waits by {difference} s"
    );
    let longest = waits[waits.len() - 1];
    Ok(format!(
        "shortest={shortest} median={median} longest={longest} difference={difference:.6}"
    ))
}

/// The waits in the summary must match those in the lines.
fn check_summary(report: &Report, sorted: &[f64]) -> Result<()> {
    let waits = &report.summary["waits"];
    let number = |name: &str| {
        let number = waits[name].as_f64();
        number.with_context(|| format!("no {name} of the waits: {waits}"))
    };
    ensure!(
        waits["known"] == sorted.len() && number("longest")? == sorted[sorted.len() - 1],
        "{waits}, but the lines have {sorted:?}"
    );
    for percent in [50, 90, 99] {
        let expected = quantile(sorted, percent);
        let quotient = number(&format!("p{percent}"))? / expected;
        ensure!(
            (1.0 - PRECISION..=1.0 + PRECISION).contains(&quotient),
            "{percent} % of the lines have up to {expected} s: {waits}"
        );
    }
    Ok(())
}

/// For each connection, how far the time between its two lines is from its wait; sorted.
fn differences(report: &Report, waits: &[f64]) -> Result<Vec<f64>> {
    ensure!(
        report.earlier.len() == waits.len(),
        "{} handshakes, {} connections",
        report.earlier.len(),
        waits.len()
    );
    let mut differences = Vec::new();
    for ((established, accepted), wait) in report.earlier.iter().zip(&report.live).zip(waits) {
        ensure!(
            client(established)? == client(accepted)?,
            "lines of different clients: {established} and {accepted}"
        );
        // The lines may be on either side of midnight.
        let between = (time_of_day(accepted)? - time_of_day(established)?).rem_euclid(DAY);
        differences.push((between - wait).abs());
    }
    differences.sort_by(f64::total_cmp);
    Ok(differences)
}

/// The value that `percent` percent of the values do not exceed.
pub(crate) fn quantile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

fn wait(line: &Value) -> Result<f64> {
    let wait = line["wait"].as_f64();
    wait.with_context(|| format!("no wait: {line}"))
}

const DAY: f64 = 86400.0;

/// The seconds since midnight of a line's time, `2026-11-22T20:37:46.123456Z`.
pub(crate) fn time_of_day(line: &Value) -> Result<f64> {
    let seconds = |line: &Value| {
        let (_, time) = line["time"].as_str()?.split_once('T')?;
        let time = time.get(..time.find(['Z', '+', '-'])?)?;
        let mut seconds = 0.0;
        for part in time.split(':') {
            seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
        }
        Some(seconds)
    };
    seconds(line).with_context(|| format!("no time: {line}"))
}
