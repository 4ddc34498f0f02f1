//! SYNs as TCP gets them: which are refused, in which network namespace they are, and when the
//! packet filter is used instead.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::family::Family;
use lab::netns::Namespace;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::{Ended, Tracer};
use lab::wire::{Extension, Link, Sources, Syns};
use rustix::io::Errno;
use rustix::process::Signal;

use super::preemption::hooks;
use super::text;
use crate::context::Context;
use crate::hidden::{self, EditedBtf};

const CONNECTIONS: u32 = 50;
const REFUSED: u32 = 30;
const CLIENTS: u32 = 20;

/// The hooks, as JSON names them.
const REQUESTS: &str = "requests";
const FILTER: &str = "filter";

/// Clients of both families connect, and then again when nobody listens any more.
pub(crate) fn refused(context: &Context) -> Result<String> {
    let stages = ["--event", "syn,accepted"];
    let start = |options: &[&str]| -> Result<_> {
        let mut command = context.conn_cli(context.port);
        let mut tracer = Tracer::start(command.args(stages).args(options))?;
        let stdout = tracer.stdout()?;
        Ok((tracer, stdout))
    };
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let json = start(&["--json"])?;
    let table = start(&["--quiet"])?;
    let filter = start(&["--json", "--interface", "lo"])?;
    let load = Load {
        from: Family::Dual.clients(),
        ..Load::v4(context.port, CONNECTIONS)
    };
    load.run()?;
    let served = server.finish()?;
    let refused = connect_in_vain(&load, REFUSED)?;
    let mut syns = served.clone();
    for (client, count) in &refused {
        *syns.entry(*client).or_default() += count;
    }
    let finish = |(tracer, stdout): (Tracer, _)| tracer.finish(Signal::INT, &stdout);

    let ended = finish(json)?;
    let report = Report::new(&ended)?;
    check_counts(
        &report,
        &[
            ("syn", &syns),
            ("refused", &refused),
            ("connections", &served),
        ],
    )?;
    ensure!(
        report.number("refused_syns")? == u64::from(REFUSED)
            && report.summary["syn_probe"] == REQUESTS
            && report.clients_at("syn")?.len() as u64 == syns.values().sum::<u64>(),
        "not {REFUSED} refused: {}",
        report.summary
    );
    let said = ended.stderr.join(" | ");
    ensure!(
        said.contains(&format!(" SYNs, {REFUSED} refused; "))
            && !said.contains("note: SYNs are those of one"),
        "not told in {said:?}"
    );

    let ended = finish(table)?;
    let shown = text::parse(&ended)?;
    let total = [CONNECTIONS + REFUSED, REFUSED, CONNECTIONS].map(u64::from);
    let rows = shown.rows(["syn", "refused", "accepted"])?;
    for (name, row) in &rows {
        let expected = match *name {
            "total" => total,
            address => {
                let client = address.parse()?;
                [&syns, &refused, &served].map(|counts| counts.get(&client).copied().unwrap_or(0))
            }
        };
        ensure!(*row == expected, "{name}: {row:?}, not {expected:?}");
    }
    ensure!(rows.len() == syns.len() + 1, "not all clients: {rows:?}");

    let report = Report::new(&finish(filter)?)?;
    check_counts(&report, &[("syn", &syns), ("connections", &served)])?;
    check_filter(&report)?;
    Ok(format!("served={CONNECTIONS} refused={REFUSED}"))
}

/// A server in another network namespace, and a port there on which nobody listens.
pub(crate) fn elsewhere(context: &Context) -> Result<String> {
    let namespace = Namespace::new()?;
    let path = namespace.path();
    let inode = std::fs::metadata(&path)?.ino();
    let (port, closed) = (context.port, context.port + 1);
    let start = |options: &[&str]| -> Result<_> {
        let mut command = context.conn_cli_for_syns(context.port);
        command.args(["--json", "--port", &closed.to_string()]);
        let mut tracer = Tracer::start(command.args(options))?;
        let stdout = tracer.stdout()?;
        Ok((tracer, stdout))
    };
    let all = start(&[])?;
    let there = start(&["--netns", &path])?;
    let here = start(&["--netns", "/proc/self/ns/net"])?;
    let (served, refused) = namespace.run(|| {
        let server = Server::plain(port)?;
        Load::v4(port, CONNECTIONS).run()?;
        let refused = connect_in_vain(&Load::v4(closed, 0), REFUSED)?;
        Ok((server.finish()?, refused))
    })?;
    let mut syns = served;
    for (client, count) in &refused {
        *syns.entry(*client).or_default() += count;
    }
    let none = Counts::new();
    let runs = [
        (all, &syns, &refused),
        (there, &syns, &refused),
        (here, &none, &none),
    ];
    for ((tracer, stdout), syns, refused) in runs {
        let ended = tracer.finish(Signal::INT, &stdout)?;
        let report = Report::new(&ended)?;
        check_counts(&report, &[("connections", syns), ("refused", refused)])?;
        ensure!(
            report.live.iter().all(|line| line["netns"] == inode)
                && report.live_counts()? == *syns
                && report.summary["self_test"]["result"] == "passed",
            "not all in {inode}, or not self-tested: {}",
            ended.stdout.join(" | ")
        );
    }
    Ok(format!("served={CONNECTIONS} refused={REFUSED}"))
}

/// SYNs behind more extension headers than the filter reads: it must say that it could not.
pub(crate) fn many_headers(context: &Context) -> Result<String> {
    let link = Link::new()?;
    let start = |options: &[&str]| -> Result<_> {
        let mut command = context.conn_cli_for_syns(context.port);
        let mut tracer = Tracer::start(command.arg("--json").args(options))?;
        let stdout = tracer.stdout()?;
        Ok((tracer, stdout))
    };
    let requests = start(&[])?;
    let filter = start(&["--interface", &link.near()])?;
    let with = |first, extension| Syns {
        first,
        extension,
        ..Syns::new(context.port, Sources::V6, CLIENTS)
    };
    let few = link.send(&with(0, Extension::Eight))?;
    let many = link.send(&with(CLIENTS, Extension::Nine))?;
    for ((tracer, stdout), syns, unreadable) in [(requests, few + many, 0), (filter, few, many)] {
        let ended: Ended = tracer.finish(Signal::INT, &stdout)?;
        let report = Report::new(&ended)?;
        let said = ended
            .stderr
            .iter()
            .any(|line| line.contains("as many SYNs may be missing"));
        ensure!(
            report.number("connections")? == syns
                && report.number("unreadable_packets")? == unreadable
                && said == (unreadable > 0),
            "not {syns} SYNs and {unreadable} unreadable: {} {:?}",
            report.summary,
            ended.stderr
        );
    }
    Ok(format!("few={few} many={many}"))
}

/// Where the programs cannot be used, the filter is, and what it cannot see is announced.
pub(crate) fn fallback(context: &Context) -> Result<String> {
    let mut announcements = Vec::new();
    for (without, why) in [
        (None, "this kernel has no BTF"),
        (Some(&["transport_header"]), "lacks fields of packets"),
        (Some(&["tcp_v6_send_reset"]), "tcp_v6_send_reset"),
    ] {
        let btf = without.map(|names| EditedBtf::without(names)).transpose()?;
        let context = Context {
            hidden: btf.is_none().then_some(hidden::BTF),
            btf: btf.map(Rc::new),
            verbose: true,
            ..context.clone()
        };
        for stages in ["syn", "syn,accepted"] {
            let command = if stages == "syn" {
                context.conn_cli_for_syns(context.port)
            } else {
                let mut command = context.conn_cli(context.port);
                command.args(["--event", stages]);
                command
            };
            announcements.push(uses_filter(&context, command, why)?);
        }
    }
    Ok(announcements.join(" | "))
}

/// Counts with the filter, and returns what is said of the hooks, which must say why.
fn uses_filter(context: &Context, mut command: Command, why: &str) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut tracer = Tracer::start(command.arg("--json"))?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let report = Report::new(&ended)?;
    check_counts(&report, &[("connections", &served)])?;
    check_filter(&report)?;
    let said = ended.stderr.join(" | ");
    let hooks = hooks(&ended);
    let is_why = |line: &&str| line.starts_with("not used: requests: ") && line.contains(why);
    let noted = said.matches("note: SYNs are those of one network namespace");
    // At the start and at the end.
    ensure!(
        noted.count() == 2 && hooks.iter().any(is_why),
        "not announced because of {why:?}: {said}"
    );
    Ok(hooks.join(" | "))
}

/// The filter knows of no refused SYNs.
fn check_filter(report: &Report) -> Result<()> {
    let summary = report.summary.as_object().context("no summary")?;
    let clients = report.summary["clients"].as_array().context("no clients")?;
    ensure!(
        summary["syn_probe"] == FILTER
            && summary
                .get("refused_syns")
                .is_some_and(serde_json::Value::is_null)
            && clients.iter().all(|client| client.get("refused").is_none()),
        "not from the filter: {}",
        report.summary
    );
    Ok(())
}

fn check_counts(report: &Report, expected: &[(&str, &Counts)]) -> Result<()> {
    for (name, expected) in expected {
        let counts = report.counts_for(name)?;
        ensure!(counts == **expected, "{name}: {counts:?}, not {expected:?}");
    }
    Ok(())
}

/// Connects to a port on which nobody listens, and returns how often each client was refused.
fn connect_in_vain(load: &Load, times: u32) -> Result<Counts> {
    for ticket in 0..times {
        match load.open(ticket) {
            Err(error) if error.downcast_ref() == Some(&Errno::CONNREFUSED) => (),
            Err(error) => return Err(error),
            Ok(_) => bail!(
                "the test is at fault: somebody listens on port {}",
                load.port
            ),
        }
    }
    Ok(load.first(times))
}
