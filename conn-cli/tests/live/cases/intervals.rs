//! `--interval`: a row for each second, with exactly its connections.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::family::Family;
use lab::process::{Lines, poll_until};
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::Tracer;
use rustix::process::Signal;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::Value;

use super::text;
use crate::context::Context;
use crate::rfc3339;

/// The first client makes one connection more than any other.
const CONNECTIONS: u32 = 37;

/// The part of a second in which all connections of a row must be made. conn-cli needs the rest, or
/// it would count the last of them in the next row.
const CONNECT_WINDOW: Duration = Duration::from_millis(600);

/// How often connections are made until they fit into that time.
const MAX_ATTEMPTS: u32 = 10;

/// Many more than fit into a page.
const FLOOD_CONNECTIONS: u32 = 400;

pub(crate) fn rows(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let command = || {
        let mut command = context.conn_cli(context.port);
        command.args(["--interval", "1s", "--utc"]);
        command
    };
    let mut json = Tracer::start(command().arg("--json"))?;
    let mut text = Tracer::start(&mut command())?;
    let (json_lines, text_lines) = (json.stdout()?, text.stdout()?);
    let mut shown = Vec::new();
    let (busy, made) = in_one_second(context, &json_lines, &mut shown)?;
    // Seconds without connections.
    for _ in 0..2 {
        shown.push(row(&json_lines)?);
    }
    let served = server.finish()?;
    json.process.signal(Signal::INT)?;
    let mut lines = shown;
    lines.extend(json_lines.rest()?);
    let report = Report::new(&json.wait(lines)?)?;
    let figures = report.figures(&served)?;
    ensure!(
        report.counts()? == served && figures.shown + figures.not_shown == 0,
        "not the server's count: {figures}"
    );
    report.check_discrepancies(0)?;
    check(&report, figures.server, 0)?;
    check_busy(&report.intervals, busy, &made)?;
    let empty = report
        .intervals
        .iter()
        .filter(|row| row["connections"] == 0);
    ensure!(empty.count() >= 1, "no empty rows: {:?}", report.intervals);
    let ended = text.finish(Signal::INT, &text_lines)?;
    let in_text = check_text(text::parse(&ended)?.live)?;
    ensure!(
        in_text == figures.server,
        "{in_text} connections in the rows of text: {:?}",
        ended.stdout
    );
    Ok(format!("{figures} rows={}", report.intervals.len()))
}

/// More than fits into the buffer while conn-cli is stopped and its rows are not read: the rows
/// must count the lost events, too.
pub(crate) fn flood(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    command.args(["--interval", "1s", "--utc", "--json"]);
    let mut tracer = Tracer::start(command.args(["--buffer-size", "4096"]))?;
    let stdout = tracer.take_stdout()?;
    stop(&tracer)?;
    Load::v4(context.port, FLOOD_CONNECTIONS).run()?;
    let served = server.finish()?;
    tracer.process.signal(Signal::CONT)?;
    tracer.process.signal(Signal::INT)?;
    let lines = Lines::of("conn-cli", stdout).rest()?;
    let report = Report::new(&tracer.wait(lines)?)?;
    let figures = report.figures(&served)?;
    ensure!(
        report.counts()? == served,
        "not the server's count: {figures}"
    );
    let lost = sum(&report.intervals, "lost")?;
    ensure!(
        lost > 0,
        "the test is at fault: everything was reported: {figures}"
    );
    check(&report, figures.server, lost)?;
    Ok(format!("{figures} lost={lost}"))
}

/// Stops conn-cli and waits until it is stopped.
fn stop(tracer: &Tracer) -> Result<()> {
    tracer.process.signal(Signal::STOP)?;
    let stat = format!("/proc/{}/stat", tracer.process.child.id());
    poll_until("conn-cli is stopped", || {
        // The state comes after the name, which is in parentheses.
        let stat = std::fs::read_to_string(&stat)?;
        Ok(stat.contains(") T "))
    })
}

/// Makes connections at the start of a second, until all fit into that second. Returns the second
/// and the counts.
fn in_one_second(
    context: &Context,
    rows: &Lines,
    shown: &mut Vec<String>,
) -> Result<(Duration, Counts)> {
    let load = Load {
        from: Family::Dual.clients()[..9].to_vec(),
        ..Load::v4(context.port, CONNECTIONS)
    };
    for _ in 0..MAX_ATTEMPTS {
        // A row arrives when its second is over.
        shown.push(row(rows)?);
        let started = now()?;
        let made = load.run()?;
        let second = Duration::from_secs(started.as_secs());
        if now()? < second + CONNECT_WINDOW {
            return Ok((second, made));
        }
    }
    bail!(
        "the test is at fault: connections took longer than {CONNECT_WINDOW:?} {MAX_ATTEMPTS} times"
    )
}

fn row(rows: &Lines) -> Result<String> {
    rows.next()?.context("no row")
}

/// The rows must have all connections, and each must begin where the previous one ends.
fn check(report: &Report, connections: u64, lost: u64) -> Result<()> {
    let rows = &report.intervals;
    ensure!(
        sum(rows, "connections")? == connections && sum(rows, "lost")? == lost,
        "not {connections} connections: {rows:?}"
    );
    let (last, rest) = rows.split_last().context("no rows")?;
    ensure!(
        last["partial"] == true,
        "the last row is not partial: {last}"
    );
    for (index, pair) in rows.windows(2).enumerate() {
        let end = start(&pair[0])? + length(&pair[0])?;
        ensure!(
            end == start(&pair[1])?,
            "the rows are not adjacent: {pair:?}"
        );
        ensure!(
            end.subsec_nanos() == 0,
            "the row does not end at a full second: {pair:?}"
        );
        // The first row begins when conn-cli does.
        ensure!(
            index == 0 || rest[index]["partial"] == false,
            "the row is partial: {}",
            pair[0]
        );
    }
    Ok(())
}

/// Checks the row of the second in which these connections were made.
fn check_busy(rows: &[Value], second: Duration, made: &Counts) -> Result<()> {
    let mut busy = None;
    for row in rows {
        if start(row)? == second {
            busy = Some(row);
        }
    }
    let row = busy.with_context(|| format!("no row for {second:?}: {rows:?}"))?;
    // Among several, the smallest address.
    let most = made.values().max().context("no connections were made")?;
    let busiest: Option<(&IpAddr, _)> = made.iter().find(|(_, count)| *count == most);
    let (busiest, _) = busiest.context("no connections were made")?;
    ensure!(
        row["connections"] == made.values().sum::<u64>()
            && row["addresses"] == made.len()
            && row["busiest_address"] == busiest.to_string()
            && row["busiest_connections"] == *most,
        "not the row of {made:?}: {row}"
    );
    Ok(())
}

/// Adds up rows such as `14:25:30     123 connections     17 addresses ...`.
fn check_text(rows: &[String]) -> Result<u64> {
    let mut sum = 0;
    for row in rows {
        let mut words = row.split_whitespace().skip(1);
        let (count, noun) = (words.next(), words.next());
        ensure!(
            noun.is_some_and(|noun| noun.starts_with("connection")),
            "not a row: {row}"
        );
        sum += count.context("no count")?.parse::<u64>()?;
    }
    let last = rows.last().context("no rows")?;
    ensure!(
        last.contains("(partial, "),
        "the last row is not partial: {last}"
    );
    Ok(sum)
}

fn sum(rows: &[Value], key: &str) -> Result<u64> {
    let numbers = rows.iter().map(|row| row[key].as_u64());
    numbers
        .sum::<Option<u64>>()
        .with_context(|| format!("a row has no {key}"))
}

fn start(row: &Value) -> Result<Duration> {
    rfc3339::parse(row["start"].as_str().context("no start")?)
}

/// In whole milliseconds, as conn-cli reports it.
fn length(row: &Value) -> Result<Duration> {
    let seconds = row["seconds"].as_f64().context("no length")?;
    Ok(Duration::from_millis((seconds * 1000.0).round() as u64))
}

fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Rows go on, one for each second, when the clock is set back and forward again.
pub(crate) fn clock_set(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start(command.args(["--interval", "1s", "--json"]))?;
    let stdout = tracer.stdout()?;
    let mut lines = Vec::new();
    for seconds in [-3600, 3600] {
        lines.extend(stdout.take(1)?);
        let now = clock_gettime(ClockId::Realtime);
        clock_settime(
            ClockId::Realtime,
            Timespec {
                tv_sec: now.tv_sec + seconds,
                ..now
            },
        )
        .context("cannot set the clock")?;
        Load::v4(context.port, CONNECTIONS).run()?;
        lines.extend(stdout.take(2)?);
    }
    let served = server.finish()?;
    tracer.process.signal(Signal::INT)?;
    lines.extend(stdout.rest()?);
    let report = Report::new(&tracer.wait(lines)?)?;
    let counted: Option<u64> = report
        .intervals
        .iter()
        .map(|row| row["connections"].as_u64())
        .sum();
    ensure!(
        report.counts()? == served && counted == Some(served.values().sum()),
        "not the server's connections: {:?}",
        report.intervals
    );
    // An hour that was made up would have more rows.
    ensure!(
        report.intervals.len() < 60,
        "{} rows",
        report.intervals.len()
    );
    Ok(format!("rows={}", report.intervals.len()))
}
