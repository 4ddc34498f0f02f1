//! `--new` and `--known`: a line for each new address, and totals of all; with `--quiet`, totals of the new
//! ones.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::diagnostics::CountLine;
use lab::family::Family;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::several::Several;
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use super::privileges::refused;
use super::text;
use crate::context::Context;

const CONNECTIONS: u32 = 52;

/// The clients of an earlier run, whose output is used as a file of known clients.
const EARLIER_CLIENTS: [&str; 3] = ["127.0.0.2", "127.0.0.9", "::1"];

/// Lines added to that file, and the clients that are not in it.
const ADDED_LINES: &str = "# known\n127.0.0.5\n127.0.0.6/31 # both of them\n";
const NEW_CLIENTS: [&str; 4] = ["127.0.0.1", "127.0.0.3", "127.0.0.4", "127.0.0.8"];

/// A file that is removed on drop.
struct File(PathBuf);

impl File {
    fn create(name: &str, content: &str) -> Result<Self> {
        let name = format!("conn-cli-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn new_known(context: &Context) -> Result<String> {
    let known_file = File::create(
        "known",
        &format!("{}{ADDED_LINES}", earlier_output(context)?),
    )?;
    let known = format!("--known {}", known_file.0.display());
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let options = [
        "--new --json".into(),
        format!("{known} --json"),
        known.clone(),
        format!("{known} --quiet --json"),
        format!("{known} --quiet"),
    ];
    let several = Several::start(|| context.conn_cli(context.port), options)?;
    let load = Load {
        from: Family::Dual.clients(),
        ..Load::v4(context.port, CONNECTIONS)
    };
    let made = load.run()?;
    let served = server.finish()?;
    ensure!(
        served == made,
        "the test is at fault: made {made:?}, served {served:?}"
    );
    let all: BTreeSet<IpAddr> = served.keys().copied().collect();
    let new = addresses(&NEW_CLIENTS)?;
    let mut served_new = served.clone();
    served_new.retain(|address, _| new.contains(address));
    several.finish(|options, ended| match options {
        "--new --json" => check_json(ended, &served, &all),
        _ if options.ends_with("--quiet --json") => check_quiet_json(ended, &served_new),
        _ if options.ends_with("--quiet") => check_quiet(ended, &served_new),
        _ if options.ends_with("--json") => check_json(ended, &served, &new),
        _ => {
            check_one_line_each(&text::parse(ended)?.by_address()?, &new)?;
            check_names(ended, &served_new)?;
            check_count_line(ended, &served)
        }
    })?;
    let total: u64 = served.values().sum();
    Ok(format!("server={total} of {} new={}", all.len(), new.len()))
}

/// The messages and the output of an earlier run in which some of the clients connect.
fn earlier_output(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let mut tracer = Tracer::start(&mut context.conn_cli(context.port))?;
    let stdout = tracer.stdout()?;
    let load = Load {
        from: addresses(&EARLIER_CLIENTS)?.into_iter().collect(),
        ..Load::v4(context.port, 7)
    };
    load.run()?;
    server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let lines = ended.stderr.iter().chain(&ended.stdout);
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

fn addresses(texts: &[&str]) -> Result<BTreeSet<IpAddr>> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

fn check_json(ended: &Ended, served: &Counts, new: &BTreeSet<IpAddr>) -> Result<()> {
    let report = Report::new(ended)?;
    let figures = report.check_totals(served)?;
    ensure!(figures.not_shown == 0, "lines not shown: {figures}");
    ensure!(
        report.number("lines_shown")? == new.len() as u64,
        "not {} lines: {}",
        new.len(),
        report.summary
    );
    check_one_line_each(&report.live_counts()?, new)?;
    check_count_line(ended, served)
}

/// Each new address must have one line, and no other address any.
fn check_one_line_each(lines: &Counts, new: &BTreeSet<IpAddr>) -> Result<()> {
    let expected: Counts = new.iter().map(|address| (*address, 1)).collect();
    ensure!(
        *lines == expected,
        "lines {lines:?} instead of {expected:?}"
    );
    Ok(())
}

/// The end must name the new addresses, most connections first.
fn check_names(ended: &Ended, new: &Counts) -> Result<()> {
    let mut rows: Vec<_> = new.iter().collect();
    rows.sort_by_key(|(address, connections)| (Reverse(**connections), **address));
    let rows: Vec<_> = { rows.iter() }
        .map(|(address, connections)| format!("{address} ({connections})"))
        .collect();
    let line = format!("{} new addresses: {}", rows.len(), rows.join(", "));
    ensure!(
        ended.stderr.contains(&line),
        "no {line:?} in {:?}",
        ended.stderr
    );
    Ok(())
}

fn check_quiet_json(ended: &Ended, new: &Counts) -> Result<()> {
    let report = Report::new(ended)?;
    let counts = report.counts()?;
    ensure!(counts == *new, "summary {counts:?} instead of {new:?}");
    ensure!(
        report.number("connections")? == new.values().sum::<u64>()
            && report.number("addresses")? == new.len() as u64
            && report.summary["only_new"] == true,
        "not of the new addresses: {}",
        report.summary
    );
    Ok(())
}

fn check_quiet(ended: &Ended, new: &Counts) -> Result<()> {
    let shown = text::parse(ended)?;
    let row = |line: &String| {
        let (address, connections) = line.rsplit_once(": ")?;
        Some((address.parse().ok()?, connections.parse().ok()?))
    };
    let rows: Counts = shown.summary.iter().filter_map(row).collect();
    ensure!(rows == *new, "summary {rows:?} instead of {new:?}");
    Ok(())
}

fn check_count_line(ended: &Ended, served: &Counts) -> Result<()> {
    let expected = CountLine {
        connections: served.values().sum(),
        not_shown: 0,
    };
    let diagnostics = CountLine::without_warnings(ended)?;
    ensure!(
        diagnostics == expected,
        "{diagnostics:?} instead of {expected:?}"
    );
    Ok(())
}

/// conn-cli must refuse a file that it cannot use, and not begin to trace.
pub(crate) fn bad_known(context: &Context) -> Result<String> {
    let bad = File::create("bad-known", "127.0.0.1\n10.0.0.0/33\n")?;
    let name = bad.0.to_str().context("not UTF-8")?.to_owned();
    let with_file = |file: &str| {
        let mut command = context.conn_cli(context.port);
        command.args(["--known", file]);
        command
    };
    let stderr = refused(&mut with_file(&name), 1, &["line 2", &name])?;
    // Only root may read the file, perhaps.
    ensure!(
        !stderr.contains("10.0.0.0/33"),
        "it shows the line: {stderr}"
    );
    let endless = "/dev/zero";
    refused(&mut with_file(endless), 1, &[endless, "not a regular file"])?;
    let missing = "/nonexistent/conn-cli-known";
    refused(
        &mut with_file(missing),
        1,
        &[missing, "there is no such file"],
    )?;
    Ok(stderr)
}
