//! Options that limit a run: its duration, its connections, its clients and its output.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::diagnostics::CountLine;
use lab::family::Family;
use lab::kernel;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::Tracer;
use rustix::process::Signal;

use super::exact::Count;
use super::flood::end_unread;
use super::text;
use crate::context::Context;
use crate::hidden;

const CONNECTIONS: u32 = 50;

/// `--count`: conn-cli shows and adds up the first connections, and no other.
pub(crate) fn count(context: &Context) -> Result<String> {
    const COUNT: u32 = 10;
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start(command.args(["--json", "--count", &COUNT.to_string()]))?;
    let stdout = tracer.stdout()?;
    let load = Load::v4(context.port, CONNECTIONS);
    load.run()?;
    let ended = tracer.wait(stdout.rest()?)?;
    server.finish()?;
    let report = Report::new(&ended)?;
    let figures = report.check(&load.first(COUNT))?;
    ensure!(figures.not_shown == 0, "not every line: {figures}");
    let diagnostics = CountLine::of(&ended)?;
    ensure!(
        diagnostics.connections == u64::from(COUNT),
        "the count line does not match the summary: {}",
        ended.stderr.join(" | ")
    );
    Ok(figures.to_string())
}

/// `--count` is not reached, and more lines come than can be shown.
pub(crate) fn count_not_reached(context: &Context) -> Result<String> {
    const CONNECTIONS: u32 = 3000;
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    command.args(["--json", "--count", "100000", "--buffer-size", "4096"]);
    let mut tracer = Tracer::start(&mut command)?;
    // Standard output is not read before the end.
    let stdout = tracer.take_stdout()?;
    let load = Load {
        threads: 4,
        ..Load::v4(context.port, CONNECTIONS)
    };
    load.run()?;
    let served = server.finish()?;
    end_unread(tracer, stdout, &served)
}

/// `--duration` ends the run without a signal.
pub(crate) fn duration(context: &Context) -> Result<String> {
    const SECONDS: f64 = 2.0;
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start(command.args(["--json", "--duration", "2s"]))?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    ensure!(
        tracer.process.outlives(Duration::ZERO)?,
        "the test is at fault: conn-cli ended before the connections were made"
    );
    let served = server.finish()?;
    let report = Report::new(&tracer.wait(stdout.rest()?)?)?;
    let figures = report.check(&served)?;
    let seconds = report.summary["seconds"].as_f64().context("no seconds")?;
    ensure!(seconds >= SECONDS, "conn-cli ended after {seconds} s");
    Ok(format!("{figures} seconds={seconds}"))
}

/// `--quiet`: nothing but the summary.
pub(crate) fn quiet(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start(command.args(["--json", "--quiet"]))?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let figures = Report::new(&ended)?.check_totals(&served)?;
    ensure!(
        figures.shown == 0 && figures.not_shown == 0,
        "there are lines in spite of --quiet: {figures}"
    );
    let diagnostics = CountLine::without_warnings(&ended)?;
    ensure!(
        diagnostics.not_shown == 0,
        "the count line mentions lines: {diagnostics:?}"
    );
    Ok(figures.to_string())
}

/// `--max-clients`: conn-cli adds up the connections of all further clients.
pub(crate) fn max_clients(context: &Context) -> Result<String> {
    const MAX_CLIENTS: usize = 2;
    // One thread: several processors at once may admit one client more.
    let server = Server::start(Serve::threads(1, Family::V4.listen()), context.port)?;
    let limit = ["--max-clients", &MAX_CLIENTS.to_string()];
    let mut json = Tracer::start(context.conn_cli(context.port).args(limit).arg("--json"))?;
    let mut text = Tracer::start(context.conn_cli(context.port).args(limit))?;
    let (json_lines, text_lines) = (json.stdout()?, text.stdout()?);
    check_allocation(json.process.child.id())?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let report = Report::new(&json.finish(Signal::INT, &json_lines)?)?;
    let figures = report.figures(&served)?;
    figures.check_lines()?;
    report.check_discrepancies(0)?;
    let clients = report.counts()?;
    let others = report.number("other_clients")?;
    ensure!(
        figures.connections == figures.server && clients.len() == MAX_CLIENTS && others > 0,
        "not {MAX_CLIENTS} clients and the others: {figures}; {clients:?}, others {others}"
    );
    for (address, connections) in &clients {
        // A client is counted completely or not at all: the first clients have the entries.
        ensure!(
            served.get(address) == Some(connections),
            "{address}: {connections}"
        );
    }
    let ended = text.finish(Signal::INT, &text_lines)?;
    let in_text = text::parse(&ended)?.others();
    ensure!(
        in_text == Some(others),
        "others {others} in JSON, {in_text:?} in text"
    );
    Ok(format!("{figures} others={others}"))
}

/// A client that comes when there is no more room, and connects more often than all others: it has a row
/// that says what is certain.
pub(crate) fn heavy_client(context: &Context) -> Result<String> {
    const MAX_CLIENTS: usize = 2;
    const HEAVY: u32 = 400;
    let server = Server::start(Serve::threads(4, Family::V4.listen()), context.port)?;
    let limit = ["--quiet", "--max-clients", &MAX_CLIENTS.to_string()];
    let mut json = Tracer::start(context.conn_cli(context.port).args(limit).arg("--json"))?;
    let mut text = Tracer::start(context.conn_cli(context.port).args(limit))?;
    let (json_lines, text_lines) = (json.stdout()?, text.stdout()?);
    let few = Load::v4(context.port, CONNECTIONS);
    few.run()?;
    let last = *few.from.last().context("no clients")?;
    let heavy = Load {
        from: vec![last],
        threads: 4,
        ..Load::v4(context.port, HEAVY)
    };
    heavy.run()?;
    few.run()?;
    let served = server.finish()?;
    let report = Report::new(&json.finish(Signal::INT, &json_lines)?)?;
    let figures = report.figures(&served)?;
    report.check_discrepancies(0)?;
    let clients = report.counts()?;
    let others = report.number("other_clients")?;
    let rows = report.summary["clients"].as_array().context("no clients")?;
    let row = rows.iter().find(|row| row["address"] == last.to_string());
    let row = row.with_context(|| format!("no row of {last}: {rows:?}"))?;
    let (at_least, error) = (row["connections"].as_u64(), row["error"].as_u64());
    let (at_least, error) = at_least.zip(error).context("no error")?;
    ensure!(
        row["at_least"] == true
            && at_least >= u64::from(HEAVY)
            && (at_least..=at_least + error).contains(&served[&last]),
        "the server counted {}: {row}",
        served[&last]
    );
    let exact = rows.iter().filter(|row| row["at_least"].is_null()).count();
    ensure!(
        exact == MAX_CLIENTS && clients.values().sum::<u64>() + others == figures.server,
        "not {MAX_CLIENTS} exact rows, or not all in all: {rows:?}, others {others}"
    );
    let ended = text.finish(Signal::INT, &text_lines)?;
    ensure!(
        { ended.stderr.iter() }.any(|line| line.starts_with("note: ~ is before a lower bound")),
        "no word on what ~ means: {:?}",
        ended.stderr
    );
    let rows = text::parse(&ended)?.summary;
    ensure!(
        rows.contains(&format!("{last}: ~{at_least}")),
        "{last} is not in {rows:?}, or not as in JSON: {row}"
    );
    Ok(format!(
        "{figures} at_least={at_least} error={error} others={others}"
    ))
}

/// A process that calls itself `other`, and the row of those for which there was no room.
pub(crate) fn called_other(context: &Context) -> Result<String> {
    const BEYOND: u32 = 7;
    let serve = Serve {
        name: Some("other"),
        ..Serve::threads(1, Family::V4.listen())
    };
    let servers = [
        Server::start(serve, context.port)?,
        Server::start(serve, context.port + 1)?,
    ];
    let pid = servers[0].pid();
    let start = |options: &[&str]| {
        let mut command = context.conn_cli(context.port);
        command.args(["--port", &(context.port + 1).to_string(), "--quiet"]);
        Tracer::start(
            command
                .args(["--by", "process", "--max-clients", "1"])
                .args(options),
        )
    };
    let (mut json, mut text) = (start(&["--json"])?, start(&[])?);
    let (json_lines, text_lines) = (json.stdout()?, text.stdout()?);
    Load::v4(context.port, CONNECTIONS).run()?;
    Load::v4(context.port + 1, BEYOND).run()?;
    for server in servers {
        server.finish()?;
    }
    let summary = Report::new(&json.finish(Signal::INT, &json_lines)?)?.summary;
    let clients = summary["clients"].as_array().context("no clients")?;
    ensure!(
        clients.len() == 1
            && clients[0]["pid"] == pid
            && clients[0]["comm"] == "other"
            && clients[0]["connections"] == CONNECTIONS
            && summary["other_clients"] == BEYOND,
        "{summary}"
    );
    let ended = text.finish(Signal::INT, &text_lines)?;
    let rows = text::parse(&ended)?.summary;
    let expected = [
        format!("other[{pid}]: {CONNECTIONS}"),
        format!("other: {BEYOND}"),
    ];
    ensure!(rows == expected, "{rows:?} instead of {expected:?}");
    Ok(format!("{rows:?}"))
}

/// The maps of clients and of `--over` allocate their entries on demand where that is safe, since Linux 6.1;
/// those of SYN-only clients, of names and of the first clients are preallocated.
fn check_allocation(pid: u32) -> Result<()> {
    const HASH: &str = "map_type:\t1";
    const NO_PREALLOC: &str = "map_flags:\t0x1";
    let (mut maps, mut on_demand) = (0, 0);
    for file in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor that has been closed meanwhile is not a map.
        let info = fs::read_to_string(file?.path()).unwrap_or_default();
        let has = |text| info.lines().any(|line| line == text);
        maps += u32::from(has(HASH));
        on_demand += u32::from(has(HASH) && has(NO_PREALLOC));
    }
    let expected = if kernel::version()? >= (6, 1) { 2 } else { 0 };
    ensure!(
        (maps, on_demand) == (5, expected),
        "{maps} hash maps, {on_demand} without preallocation"
    );
    Ok(())
}

/// A container that does not see the processors.
pub(crate) fn hidden_processors(context: &Context) -> Result<String> {
    let context = Context {
        hidden: Some(hidden::PROCESSORS),
        ..context.clone()
    };
    let (figures, _) = Count::PLAIN.trace(&context)?;
    Ok(figures.to_string())
}
