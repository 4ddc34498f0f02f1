//! The text output.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::counts::PortCounts;
use lab::diagnostics::{CountLine, LastLine};
use lab::family::Family;
use lab::server::{Serve, Server};
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use crate::context::Context;

const HEADING: &str = "=== Summary ===";

/// Every connection has a line, and every address a line in the summary, the most
/// frequent first.
pub(crate) fn text(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let mut tracer = Tracer::start(&mut context.conn_cli(context.port))?;
    let stdout = tracer.stdout()?;
    let clients = Load {
        from: Family::Dual.clients(),
        ..Load::v4(context.port, 105)
    };
    clients.run()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let shown = parse(&ended)?;
    let counts = shown.by_address()?;
    ensure!(counts == served, "lines {counts:?}, served {served:?}");
    ensure!(
        shown.summary == expected_summary(&served),
        "not the server's summary: {:?}",
        shown.summary
    );
    let expected = LastLine {
        connections: served.values().sum(),
        groups: Some(served.len() as u64),
        filters: "",
    };
    ensure!(
        shown.last == expected,
        "{:?} instead of {expected:?}",
        shown.last
    );
    CountLine::without_warnings(&ended)?;
    Ok(format!("stderr: {}", ended.stderr.join(" | ")))
}

/// The last line says which connections were counted, and when: what was saved is complete.
pub(crate) fn last_line(context: &Context) -> Result<String> {
    let left_out = Family::V4.clients()[0];
    let filter = format!("not from {left_out}");
    let server = Server::start(Serve::threads(4, Family::V4.listen()), context.port)?;
    let before = now()?;
    let mut command = context.conn_cli(context.port);
    command.args(["--quiet", "--time", "epoch", "--not-from"]);
    let mut tracer = Tracer::start(command.arg(left_out.to_string()))?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, 105).run()?;
    let mut served = server.finish()?;
    ensure!(
        served.remove(&left_out).is_some(),
        "the test is at fault: {left_out} did not connect"
    );
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let shown = parse(&ended)?;
    let last = ended.stdout.last().context("no output")?;
    ensure!(
        shown.last.connections == served.values().sum::<u64>()
            && shown.last.groups == Some(served.len() as u64)
            && shown.last.filters.starts_with(&filter),
        "not {served:?}, {filter}: {last}"
    );
    let (_, times) = last
        .split_once(&format!(" to port {}, ", context.port))
        .with_context(|| format!("not the port: {last}"))?;
    let times = times.split_once(" (").and_then(|(times, _)| {
        let (from, to) = times.split_once(" to ")?;
        Some([from.parse::<f64>().ok()?, to.parse().ok()?])
    });
    let times = times.with_context(|| format!("no times: {last}"))?;
    ensure!(
        [before].iter().chain(&times).chain(&[now()?]).is_sorted(),
        "the times are not those of the run, which began after {before}: {last}"
    );
    let first = ended.stderr.first().context("nothing said")?;
    ensure!(
        *first == format!("Tracing TCP connections to port {}, {filter}", context.port),
        "{first}"
    );
    Ok(last.clone())
}

/// Seconds since 1970, rounded down to microseconds, as conn-cli shows them.
fn now() -> Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(now.as_micros() as f64 / 1e6)
}

/// `--long`: each line has both ends as the client's socket names them, and the server as far as the hook
/// knows it. The table has no column of waits where no hook sees them, and a note says why.
pub(crate) fn long(context: &Context) -> Result<String> {
    const NAME: &str = "web server";
    let serve = Serve {
        name: Some(NAME),
        ..Serve::threads(2, Family::Dual.listen())
    };
    let server = Server::start(serve, context.port)?;
    let pid = server.pid();
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--long"))?;
    let stdout = tracer.stdout()?;
    let mut expected = Vec::new();
    for host in ["127.0.0.1", "::1", "127.0.0.1"] {
        let mut client = TcpStream::connect((host, context.port))?;
        expected.push(format!(
            "{} -> {}",
            client.local_addr()?,
            client.peer_addr()?
        ));
        client.read_to_end(&mut Vec::new())?;
    }
    server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let shown = parse(&ended)?;
    ensure!(shown.live.len() == expected.len(), "{:?}", shown.live);
    // Connections that several threads accept may be in another order.
    for ends in &expected {
        let found = shown.live.iter().find_map(|line| line.split_once(ends));
        let (time, rest) = found.with_context(|| format!("no {ends} in {:?}", shown.live))?;
        let form: String = { time.chars() }
            .map(|char| if char.is_ascii_digit() { '0' } else { char })
            .collect();
        ensure!(form == "00:00:00.000000 ", "not a time of day: {time:?}");
        if context.hook.sees_accepts() {
            let process = format!(" {NAME}[{pid}] waited ");
            ensure!(rest.starts_with(&process), "not {process:?}: {rest:?}");
        } else {
            ensure!(rest.is_empty(), "more than the hook knows: {rest:?}");
        }
    }
    let titles = shown.summary.first().context("no table")?;
    let notes: Vec<_> = { ended.stderr.iter() }
        .filter(|line| line.starts_with("note: waits are not known: "))
        .collect();
    ensure!(
        titles.contains(" wait ") == context.hook.sees_accepts()
            && notes.is_empty() == context.hook.sees_accepts(),
        "{titles:?}, {notes:?}"
    );
    Ok(expected.join(", "))
}

/// `conn-cli read` counts what the server did in every form of the text, alone and among the messages.
pub(crate) fn read_back(context: &Context) -> Result<String> {
    const FORMS: [&[&str]; 7] = [
        &[],
        &["--time", "iso"],
        &["--long"],
        &["--quiet"],
        &["--quiet", "--long", "--by", "address,port"],
        &["--interval", "1s"],
        &["--new", "--time", "delta"],
    ];
    let mut lines = 0;
    for options in FORMS {
        let server = Server::start(Serve::threads(2, Family::Dual.listen()), context.port)?;
        let mut tracer = Tracer::start(context.conn_cli(context.port).args(options))?;
        let stdout = tracer.stdout()?;
        let load = Load {
            from: Family::Dual.clients(),
            ..Load::v4(context.port, 35)
        };
        load.run()?;
        let served = server.finish()?;
        let ended = tracer.finish(Signal::INT, &stdout)?;
        ended.check_code()?;
        let text = |parts: &[&[String]]| parts.concat().join("\n") + "\n";
        for input in [
            text(&[&ended.stdout]),
            text(&[&ended.stderr, &ended.stdout]),
            text(&[&ended.stdout, &ended.stderr]),
        ] {
            let mut read = Command::new(&context.conn_cli)
                .args(["read", "--quiet", "--strict", "--port"])
                .arg(context.port.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut stdin = read.stdin.take().context("no pipe")?;
            stdin.write_all(input.as_bytes())?;
            drop(stdin);
            let read = read.wait_with_output()?;
            let stderr = String::from_utf8(read.stderr)?;
            ensure!(read.status.success(), "{options:?}: {stderr}{input}");
            let summary = String::from_utf8(read.stdout)?;
            let rows: Vec<_> = summary.lines().map(str::to_owned).skip(2).collect();
            let (_, rows) = rows.split_last().context("no summary")?;
            ensure!(
                rows == expected_summary(&served),
                "{options:?}: not the server's {served:?}: {rows:?}, of {input}"
            );
            lines += input.lines().count();
        }
    }
    Ok(format!("{lines} lines read"))
}

/// The output lines of a conn-cli that succeeded.
pub(crate) struct Shown<'a> {
    pub(crate) live: &'a [String],
    pub(crate) summary: &'a [String],
    pub(crate) last: LastLine<'a>,
}

/// Splits the output into live lines, an empty line, a heading, the summary and its last line.
pub(crate) fn parse(ended: &Ended) -> Result<Shown<'_>> {
    ended.check_code()?;
    let lines = &ended.stdout;
    let heading = lines.iter().position(|line| line == HEADING);
    let heading = heading.with_context(|| format!("no line {HEADING:?} in {lines:?}"))?;
    let (last, live) = lines[..heading]
        .split_last()
        .with_context(|| format!("nothing before {HEADING:?}"))?;
    ensure!(
        last.is_empty(),
        "no empty line before {HEADING:?}: {lines:?}"
    );
    let (last, summary) = lines[heading + 1..].split_last().context("no total")?;
    let last = LastLine::parse(last).with_context(|| format!("not a total: {last:?}"))?;
    Ok(Shown {
        live,
        summary,
        last,
    })
}

impl Shown<'_> {
    /// The live lines, which name no port, for each address.
    pub(crate) fn by_address(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for line in self.live {
            let address: IpAddr = client(line)?.parse()?;
            *counts.entry(address).or_default() += 1;
        }
        Ok(counts)
    }

    /// The live lines, which all name a port, for each address and port.
    pub(crate) fn by_port(&self) -> Result<PortCounts> {
        let mut counts = PortCounts::new();
        for line in self.live {
            let (address, port) = client(line)?
                .split_once(" to port ")
                .with_context(|| format!("no port: {line:?}"))?;
            *counts.entry((address.parse()?, port.parse()?)).or_default() += 1;
        }
        Ok(counts)
    }

    /// The rows of a summary of several stages, with the counts in the columns of these titles. No other
    /// column but `refused` may be there.
    pub(crate) fn rows<const N: usize>(&self, titles: [&str; N]) -> Result<Vec<(&str, [u64; N])>> {
        let (first, rows) = self.summary.split_first().context("no summary")?;
        let all: Vec<&str> = first.split_whitespace().collect();
        let columns = titles.map(|title| all.iter().position(|column| *column == title));
        let unknown = |column: &&str| *column != "refused" && !titles.contains(column);
        ensure!(
            columns.iter().all(Option::is_some) && !all.iter().rev().skip(1).any(unknown),
            "not the titles {titles:?}: {first:?}"
        );
        let row = |line: &'_ String| -> Option<[u64; N]> {
            let words: Vec<&str> = line.split_whitespace().collect();
            let count = |column: Option<usize>| words.get(column?)?.parse().ok();
            let counts: Vec<u64> = columns.into_iter().map(count).collect::<Option<_>>()?;
            (words.len() == all.len()).then_some(counts.try_into().ok()?)
        };
        rows.iter()
            .map(|line| {
                let counts = row(line).with_context(|| format!("not a row: {line:?}"))?;
                Ok((line.rsplit(' ').next().context("no name")?, counts))
            })
            .collect()
    }

    /// The connections of clients beyond the limit.
    pub(crate) fn others(&self) -> Option<u64> {
        let others = |line: &String| line.strip_prefix("other: ")?.parse().ok();
        self.summary.iter().find_map(others)
    }
}

/// The end of a live line: the address and, if shown, the port.
fn client(line: &str) -> Result<&str> {
    let (_, client) = line
        .split_once(" New connection from ")
        .with_context(|| format!("not a line of a connection: {line:?}"))?;
    Ok(client)
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
