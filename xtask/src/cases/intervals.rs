//! `--interval`: a row for each second, with all of its connections and no other.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::client::Load;
use super::exact::Family;
use super::plan::Context;
use super::process::{Lines, poll_until};
use super::report::Report;
use super::rfc3339;
use super::server::{Counts, Serve, Server};
use super::text;
use super::tracer::Tracer;

/// One more of the first client than of any other.
const CONNECTIONS: u32 = 37;

/// The part of a second in which all connections of a row are to be made: the rest is for
/// conn-cli, which otherwise would count the last of them in the row after it.
const EARLY: Duration = Duration::from_millis(600);

/// How often connections are made in the hope that it takes no longer than that.
const ATTEMPTS: u32 = 10;

/// Many more than a page has room for.
const FLOOD: u32 = 400;

pub(super) fn rows(context: &Context) -> Result<String> {
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
    // Seconds in which nothing happens.
    for _ in 0..2 {
        shown.push(row(&json_lines)?);
    }
    let served = server.finish()?;
    json.process.signal(Signal::INT)?;
    let mut lines = shown;
    lines.extend(json_lines.rest()?);
    let report = Report::of(&json.wait(lines)?)?;
    let figures = report.figures(&served)?;
    ensure!(
        report.counts()? == served && figures.shown + figures.not_shown == 0,
        "not the server's count: {figures}"
    );
    report.check_doubts(0)?;
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

/// More than fits into the buffer while conn-cli is stopped and nobody reads its rows: what is
/// not known one by one is in them all the same.
pub(super) fn flood(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    command.args(["--interval", "1s", "--utc", "--json"]);
    let mut tracer = Tracer::start(command.args(["--buffer-size", "4096"]))?;
    let stdout = tracer.take_stdout()?;
    stop(&tracer)?;
    Load::v4(context.port, FLOOD).run()?;
    let served = server.finish()?;
    tracer.process.signal(Signal::CONT)?;
    tracer.process.signal(Signal::INT)?;
    let lines = Lines::of("conn-cli", stdout).rest()?;
    let report = Report::of(&tracer.wait(lines)?)?;
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

/// Stops conn-cli, and waits until it is.
fn stop(tracer: &Tracer) -> Result<()> {
    tracer.process.signal(Signal::STOP)?;
    let stat = format!("/proc/{}/stat", tracer.process.child.id());
    poll_until("conn-cli is stopped", || {
        // The state comes after the name, which is in brackets.
        let stat = std::fs::read_to_string(&stat)?;
        Ok(stat.contains(") T "))
    })
}

/// Makes connections at the beginning of a second, until it was one. Returns that second, and
/// what was made in it.
fn in_one_second(
    context: &Context,
    rows: &Lines,
    shown: &mut Vec<String>,
) -> Result<(Duration, Counts)> {
    let load = Load {
        from: Family::Dual.clients()[..9].to_vec(),
        ..Load::v4(context.port, CONNECTIONS)
    };
    for _ in 0..ATTEMPTS {
        // The row of a second comes when the second is over.
        shown.push(row(rows)?);
        let begun = now()?;
        let made = load.run()?;
        let second = Duration::from_secs(begun.as_secs());
        if now()? < second + EARLY {
            return Ok((second, made));
        }
    }
    bail!("the test is at fault: connections took longer than {EARLY:?} {ATTEMPTS} times")
}

fn row(rows: &Lines) -> Result<String> {
    rows.next()?.context("no row")
}

/// The rows have all connections, and each begins where the one before it ends.
fn check(report: &Report, connections: u64, lost: u64) -> Result<()> {
    let rows = &report.intervals;
    ensure!(
        sum(rows, "connections")? == connections && sum(rows, "lost")? == lost,
        "not {connections} connections: {rows:?}"
    );
    let (last, rest) = rows.split_last().context("no rows")?;
    ensure!(last["partial"] == true, "the last is whole: {last}");
    for (index, pair) in rows.windows(2).enumerate() {
        let end = start(&pair[0])? + length(&pair[0])?;
        ensure!(end == start(&pair[1])?, "not one after the other: {pair:?}");
        ensure!(end.subsec_nanos() == 0, "not at a full second: {pair:?}");
        // The first begins when conn-cli does.
        ensure!(
            index == 0 || rest[index]["partial"] == false,
            "not whole: {}",
            pair[0]
        );
    }
    Ok(())
}

/// The row of the second that these were made in.
fn check_busy(rows: &[Value], second: Duration, made: &Counts) -> Result<()> {
    let mut busy = None;
    for row in rows {
        if start(row)? == second {
            busy = Some(row);
        }
    }
    let row = busy.with_context(|| format!("no row of {second:?}: {rows:?}"))?;
    // Of several the smallest address.
    let most = made.values().max().context("nothing was made")?;
    let busiest: Option<(&IpAddr, _)> = made.iter().find(|(_, count)| *count == most);
    let (busiest, _) = busiest.context("nothing was made")?;
    ensure!(
        row["connections"] == made.values().sum::<u64>()
            && row["addresses"] == made.len()
            && row["busiest_address"] == busiest.to_string()
            && row["busiest_connections"] == *most,
        "not of {made:?}: {row}"
    );
    Ok(())
}

/// The connections in rows such as `14:25:30     123 connections     17 addresses ...`.
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
    ensure!(last.contains("(partial, "), "the last is whole: {last}");
    Ok(sum)
}

fn sum(rows: &[Value], key: &str) -> Result<u64> {
    let numbers = rows.iter().map(|row| row[key].as_u64());
    numbers.sum::<Option<u64>>().context("a row without it")
}

fn start(row: &Value) -> Result<Duration> {
    rfc3339::parse(row["start"].as_str().context("no start")?)
}

/// In whole milliseconds, as conn-cli has it.
fn length(row: &Value) -> Result<Duration> {
    let seconds = row["seconds"].as_f64().context("no length")?;
    Ok(Duration::from_millis((seconds * 1000.0).round() as u64))
}

fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}
