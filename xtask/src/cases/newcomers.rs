//! `--new` and `--known`: a line for each address that is new, and totals of all.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::client::Load;
use super::diagnostics::CountLine;
use super::exact::Family;
use super::plan::Context;
use super::privileges::refused;
use super::report::Report;
use super::server::{Counts, Serve, Server};
use super::several::Several;
use super::text;
use super::tracer::{Ended, Tracer};

const CONNECTIONS: u32 = 52;

/// Who connects before, so that conn-cli's own summary has them.
const BEFORE: [&str; 3] = ["127.0.0.2", "127.0.0.9", "::1"];

/// What is added to that by hand, and whom both together leave over.
const BY_HAND: &str = "# known\n127.0.0.5\n127.0.0.6/31 # both of them\n";
const NEW: [&str; 4] = ["127.0.0.1", "127.0.0.3", "127.0.0.4", "127.0.0.8"];

/// A file that goes with the value.
struct File(PathBuf);

impl File {
    fn with(name: &str, content: &str) -> Result<Self> {
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

pub(super) fn newcomers(context: &Context) -> Result<String> {
    let known = File::with("known", &format!("{}{BY_HAND}", summary_before(context)?))?;
    let known = format!("--known {}", known.0.display());
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let options = [
        "--new --json".into(),
        format!("{known} --json"),
        known.clone(),
    ];
    let several = Several::start(|| context.conn_cli(context.port), options)?;
    let load = Load {
        from: Family::Dual.clients(),
        ..Load::v4(context.port, CONNECTIONS)
    };
    let made = load.run()?;
    let served = server.finish()?;
    ensure!(served == made, "the test is at fault");
    let all: BTreeSet<IpAddr> = served.keys().copied().collect();
    let new = addresses(&NEW)?;
    several.finish(|options, ended| match options {
        "--new --json" => check_json(ended, &served, &all),
        _ if options.ends_with("--json") => check_json(ended, &served, &new),
        _ => {
            once(&text::parse(ended)?.by_address()?, &new)?;
            check_account(ended, &served)
        }
    })?;
    let total: u64 = served.values().sum();
    Ok(format!("server={total} of {} new={}", all.len(), new.len()))
}

/// What conn-cli writes of a run in which some of the clients connect.
fn summary_before(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--quiet"))?;
    let stdout = tracer.stdout()?;
    let load = Load {
        from: addresses(&BEFORE)?.into_iter().collect(),
        ..Load::v4(context.port, 7)
    };
    load.run()?;
    server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    Ok(ended
        .stdout
        .iter()
        .map(|line| format!("{line}\n"))
        .collect())
}

fn addresses(texts: &[&str]) -> Result<BTreeSet<IpAddr>> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

fn check_json(ended: &Ended, served: &Counts, new: &BTreeSet<IpAddr>) -> Result<()> {
    let report = Report::of(ended)?;
    let figures = report.check_totals(served)?;
    ensure!(figures.not_shown == 0, "lines not shown: {figures}");
    ensure!(
        report.number("lines_shown")? == new.len() as u64,
        "not {} lines: {}",
        new.len(),
        report.summary
    );
    once(&report.live_counts()?, new)?;
    check_account(ended, served)
}

/// Each has one line, and nobody else has.
fn once(lines: &Counts, new: &BTreeSet<IpAddr>) -> Result<()> {
    let expected: Counts = new.iter().map(|address| (*address, 1)).collect();
    ensure!(
        *lines == expected,
        "lines {lines:?} instead of {expected:?}"
    );
    Ok(())
}

fn check_account(ended: &Ended, served: &Counts) -> Result<()> {
    let expected = CountLine {
        connections: served.values().sum(),
        addresses: served.len() as u64,
        not_shown: Some(0),
    };
    let diagnostics = CountLine::alone(ended)?;
    ensure!(
        diagnostics == expected,
        "{diagnostics:?} instead of {expected:?}"
    );
    Ok(())
}

/// A file that cannot be used: conn-cli says so and nothing else, not that it traces.
pub(super) fn refused_files(context: &Context) -> Result<String> {
    let bad = File::with("bad-known", "127.0.0.1\n10.0.0.0/33\n")?;
    let name = bad.0.to_str().context("not UTF-8")?.to_owned();
    let with = |file: &str| {
        let mut command = context.conn_cli(context.port);
        command.args(["--known", file]);
        command
    };
    let said = refused(&mut with(&name), 1, &["line 2", &name, "10.0.0.0/33"])?;
    let missing = "/nonexistent/conn-cli-known";
    refused(&mut with(missing), 1, &[missing, "there is no such file"])?;
    Ok(said)
}
