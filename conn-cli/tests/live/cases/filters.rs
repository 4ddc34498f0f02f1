//! Address filters: several conn-cli run at the same time, and each must count exactly its part of
//! the server's connections.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::diagnostics::CountLine;
use lab::family::Family;
use lab::hook::Hook;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::several::Several;
use lab::tracer::Ended;
use serde_json::Value;

use crate::context::Context;

/// Not a multiple of the number of clients, so that their counts differ.
const CONNECTIONS: u32 = 105;

/// Another address of the server, and the clients that connect only to it.
const OTHER_ADDRESS: &str = "127.0.0.77";
const OTHER_ADDRESS_CLIENTS: [&str; 2] = ["127.0.0.20", "127.0.0.21"];
const OTHER_ADDRESS_CONNECTIONS: u32 = 11;

/// Options and the clients whose connections they pass; an empty list means all clients.
type Filter = (&'static str, &'static [&'static str]);

/// The first, without a filter, shows that the others do not disturb it.
const FILTERS: &[Filter] = &[
    ("", &[]),
    (
        "--from 127.0.0.0/8 --not-from 127.0.0.4/30 --from 127.0.0.5",
        &[
            "127.0.0.1",
            "127.0.0.2",
            "127.0.0.3",
            "127.0.0.5",
            "127.0.0.8",
            "127.0.0.9",
            "127.0.0.20",
            "127.0.0.21",
        ],
    ),
    (
        "-4 --not-from 127.0.0.3 --not-from 127.0.0.8/31",
        &[
            "127.0.0.1",
            "127.0.0.2",
            "127.0.0.4",
            "127.0.0.5",
            "127.0.0.6",
            "127.0.0.7",
            "127.0.0.20",
            "127.0.0.21",
        ],
    ),
    ("-6", &["::1"]),
    ("--to 127.0.0.77", &OTHER_ADDRESS_CLIENTS),
];

pub(crate) fn filters(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let command = || json(context.conn_cli(context.port));
    let several = Several::start(command, FILTERS.iter().map(|(options, _)| options))?;
    let served = connect(context, server)?;
    let mut filters = FILTERS.iter();
    several.finish(|_, ended| {
        let (_, clients) = filters.next().context("no filter")?;
        let wanted = counts_for(&served, clients)?;
        check(ended, &wanted)
    })?;
    Ok(format!(
        "server={} filters={}",
        served.values().sum::<u64>(),
        FILTERS.len()
    ))
}

/// Filters must apply at every stage, not only to accepted connections.
pub(crate) fn stage_filters(context: &Context) -> Result<String> {
    const FROM: Filter = (
        "--from 127.0.0.0/30 --from ::1",
        &["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"],
    );
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let with_accepts = || json(context.conn_cli(context.port));
    let accepted = Several::start(with_accepts, [format!("--funnel {}", FROM.0)])?;
    // The hook of the last of these stages cannot be chosen.
    let without_accepts = || {
        let mut command = Command::new(&context.conn_cli);
        command.args(["--port", &context.port.to_string()]);
        json(command)
    };
    let options = format!("--event syn,established {}", FROM.0);
    let options = (context.hook == Hook::Kretprobe).then_some(options);
    let established = Several::start(without_accepts, options)?;
    let served = connect(context, server)?;
    let wanted = counts_for(&served, FROM.1)?;
    accepted
        .finish(|_, ended| check_stages(ended, &wanted, &["syn", "established"], "accepted"))?;
    established.finish(|_, ended| check_stages(ended, &wanted, &["syn"], "established"))?;
    Ok(format!("server={}", served.values().sum::<u64>()))
}

fn json(mut command: Command) -> Command {
    command.arg("--json");
    command
}

/// Connects to both of the server's addresses and returns its count.
fn connect(context: &Context, server: Server) -> Result<Counts> {
    let mut made = Load {
        from: Family::Dual.clients(),
        ..Load::v4(context.port, CONNECTIONS)
    }
    .run()?;
    let others = Load {
        from: addresses(&OTHER_ADDRESS_CLIENTS)?,
        to: Some(OTHER_ADDRESS.parse()?),
        ..Load::v4(context.port, OTHER_ADDRESS_CONNECTIONS)
    };
    // No client connects to both, so the server's count for a client is of one address.
    made.extend(others.run()?);
    let served = server.finish()?;
    ensure!(
        served == made,
        "the test is at fault: made {made:?}, served {served:?}"
    );
    Ok(served)
}

fn addresses(texts: &[&str]) -> Result<Vec<IpAddr>> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

/// The server's counts for these clients.
fn counts_for(served: &Counts, clients: &[&str]) -> Result<Counts> {
    if clients.is_empty() {
        return Ok(served.clone());
    }
    let count_for = |client: IpAddr| {
        let connections = served
            .get(&client)
            .context("the server counted no such client")?;
        Ok((client, *connections))
    };
    addresses(clients)?.into_iter().map(count_for).collect()
}

/// Totals, lines and count line must match these connections, and each must have a line.
pub(crate) fn check(ended: &Ended, wanted: &Counts) -> Result<()> {
    let figures = Report::new(ended)?.check(wanted)?;
    let expected = CountLine {
        connections: figures.server,
        not_shown: 0,
    };
    let diagnostics = CountLine::without_warnings(ended)?;
    ensure!(
        diagnostics == expected,
        "{diagnostics:?} instead of {expected:?}"
    );
    Ok(())
}

fn check_stages(ended: &Ended, wanted: &Counts, earlier: &[&str], last: &str) -> Result<()> {
    let report = Report::new(ended)?;
    let figures = report.check(wanted)?;
    ensure!(figures.not_shown == 0, "not every line: {figures}");
    report.check_live(&[("stage", last.into())])?;
    for stage in earlier {
        let total = &report.summary["stages"][*stage];
        ensure!(*total == figures.server, "{stage} {total}: {figures}");
        let mut lines = Counts::new();
        for line in report.earlier.iter().filter(|line| line["stage"] == *stage) {
            let address = line["remote_address"].as_str().context("no address")?;
            *lines.entry(address.parse()?).or_default() += 1;
        }
        ensure!(lines == *wanted, "lines of {stage}: {lines:?}");
        for client in report.summary["clients"].as_array().context("no clients")? {
            ensure!(client[*stage] == client["connections"], "{stage}: {client}");
        }
    }
    let is_of_other_stage = |line: &&Value| !earlier.iter().any(|stage| line["stage"] == *stage);
    let other = report.earlier.iter().find(is_of_other_stage);
    ensure!(other.is_none(), "a line of another stage: {other:?}");
    Ok(())
}
