//! Which connections: several conn-cli at the same time, each of which must count its part of
//! what the server counted, and nothing else.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::client::Load;
use super::diagnostics::CountLine;
use super::exact::Family;
use super::plan::{Context, Hook};
use super::report::Report;
use super::server::{Counts, Serve, Server};
use super::several::Several;
use super::tracer::Ended;

/// Not a multiple of the number of clients: their counts differ.
const CONNECTIONS: u32 = 105;

/// The server's other address, and who connects to that one only.
const OTHER_ADDRESS: &str = "127.0.0.77";
const ITS_CLIENTS: [&str; 2] = ["127.0.0.20", "127.0.0.21"];
const TO_OTHER_ADDRESS: u32 = 11;

/// Options, and the clients whose connections they let through; without any, all.
type Filter = (&'static str, &'static [&'static str]);

/// The first is there to see that the others do not disturb it.
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
    ("--to 127.0.0.77", &ITS_CLIENTS),
];

pub(super) fn filters(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let command = || json(context.conn_cli(context.port));
    let several = Several::start(command, FILTERS.iter().map(|(options, _)| options))?;
    let served = connect(context, server)?;
    let mut filters = FILTERS.iter();
    several.finish(|_, ended| {
        let (_, clients) = filters.next().context("no filter")?;
        let wanted = part(&served, clients)?;
        check(ended, &wanted)
    })?;
    Ok(format!(
        "server={} filters={}",
        served.values().sum::<u64>(),
        FILTERS.len()
    ))
}

/// Filters at every stage: who never gets to `accept` must be left out as well.
pub(super) fn of_stages(context: &Context) -> Result<String> {
    const FROM: Filter = (
        "--from 127.0.0.0/30 --from ::1",
        &["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"],
    );
    let server = Server::start(Serve::threads(4, Family::Dual.listen()), context.port)?;
    let with_accepts = || json(context.conn_cli(context.port));
    let accepted = Several::start(with_accepts, [format!("--funnel {}", FROM.0)])?;
    // What sees the last of these stages cannot be chosen.
    let without_accepts = || {
        let mut command = Command::new(&context.conn_cli);
        command.args(["--port", &context.port.to_string()]);
        json(command)
    };
    let options = format!("--event syn,established {}", FROM.0);
    let options = (context.hook == Hook::Kretprobe).then_some(options);
    let established = Several::start(without_accepts, options)?;
    let served = connect(context, server)?;
    let wanted = part(&served, FROM.1)?;
    accepted
        .finish(|_, ended| check_stages(ended, &wanted, &["syn", "established"], "accepted"))?;
    established.finish(|_, ended| check_stages(ended, &wanted, &["syn"], "established"))?;
    Ok(format!("server={}", served.values().sum::<u64>()))
}

fn json(mut command: Command) -> Command {
    command.arg("--json");
    command
}

/// Makes the connections, to both of the server's addresses; what it counted is returned.
fn connect(context: &Context, server: Server) -> Result<Counts> {
    let mut made = Load {
        from: Family::Dual.clients(),
        ..Load::v4(context.port, CONNECTIONS)
    }
    .run()?;
    let others = Load {
        from: addresses(&ITS_CLIENTS)?,
        to: Some(OTHER_ADDRESS.parse()?),
        ..Load::v4(context.port, TO_OTHER_ADDRESS)
    };
    // No client connects to both: what the server counted for it is of one address.
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

/// What was served to these clients.
fn part(served: &Counts, clients: &[&str]) -> Result<Counts> {
    if clients.is_empty() {
        return Ok(served.clone());
    }
    let of = |client: IpAddr| {
        let connections = served.get(&client).context("nothing was served to it")?;
        Ok((client, *connections))
    };
    addresses(clients)?.into_iter().map(of).collect()
}

/// Totals, lines and account must be of these connections, and none be without a line.
pub(super) fn check(ended: &Ended, wanted: &Counts) -> Result<()> {
    let figures = Report::of(ended)?.check(wanted)?;
    let expected = CountLine {
        connections: figures.server,
        addresses: wanted.len() as u64,
        not_shown: Some(0),
    };
    let diagnostics = CountLine::alone(ended)?;
    ensure!(
        diagnostics == expected,
        "{diagnostics:?} instead of {expected:?}"
    );
    Ok(())
}

fn check_stages(ended: &Ended, wanted: &Counts, earlier: &[&str], last: &str) -> Result<()> {
    let report = Report::of(ended)?;
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
    let of_others = |line: &&Value| !earlier.iter().any(|stage| line["stage"] == *stage);
    let other = report.earlier.iter().find(of_others);
    ensure!(other.is_none(), "a line of another stage: {other:?}");
    Ok(())
}
