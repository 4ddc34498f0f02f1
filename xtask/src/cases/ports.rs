//! Several ports at once, with others between them.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::client::Load;
use super::plan::Context;
use super::report::Report;
use super::server::Server;
use super::text;
use super::tracer::Tracer;

/// Connections of each address to each port.
pub(super) type PortCounts = BTreeMap<(IpAddr, u16), u64>;

/// What is watched, from the first port on: one, a range of three, another one.
const WATCHED: [u16; 4] = [0, 2, 4, 6];
/// Next to each end of what is watched.
const NOT_WATCHED: [u16; 2] = [1, 5];

/// The fewest connections to a port: more than there are addresses.
const CONNECTIONS: u32 = 10;

pub(super) fn list(context: &Context) -> Result<String> {
    let first = free_ports(context.port)?;
    let list = format!("{first},{}-{}", first + 2, first + 4);
    let options = ["--port", &list];
    let mut json = Tracer::start(context.conn_cli(first + 6).args(options).arg("--json"))?;
    let mut text = Tracer::start(context.conn_cli(first + 6).args(options))?;
    let (json_lines, text_lines) = (json.stdout()?, text.stdout()?);
    let mut served = PortCounts::new();
    for offset in WATCHED.into_iter().chain(NOT_WATCHED) {
        let port = first + offset;
        let counts = serve(port, CONNECTIONS + u32::from(offset))?;
        if WATCHED.contains(&offset) {
            served.extend(counts);
        }
    }
    let report = Report::of(&json.finish(Signal::INT, &json_lines)?)?;
    let total: u64 = served.values().sum();
    ensure!(
        report.number("connections")? == total,
        "served {total}: {}",
        report.summary
    );
    let shown = text::parse(&text.finish(Signal::INT, &text_lines)?)?.by_port()?;
    for (what, counts) in [
        ("the ports in the summary", report.counts_by_port()?),
        ("the live lines in JSON", report.live_by_port()?),
        ("the lines of text", shown),
    ] {
        ensure!(
            counts == served,
            "{what} are not the server's: {counts:?}, served {served:?}"
        );
    }
    Ok(format!("server={total} --port {list}"))
}

/// Makes connections to a port, and returns what was accepted there.
fn serve(port: u16, connections: u32) -> Result<PortCounts> {
    let server = Server::plain(port)?;
    let made = Load::v4(port, connections).run()?;
    let served = server.finish()?;
    ensure!(served == made, "the test is at fault");
    let of_port = |(address, connections)| ((address, port), connections);
    Ok(served.into_iter().map(of_port).collect())
}

/// The first of as many free ports in a row as there are to listen on.
fn free_ports(from: u16) -> Result<u16> {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (from..u16::MAX - 7)
        .chain(1024..from)
        .find(|first| (*first..first + 7).all(is_free))
        .context("no free ports in a row")
}
