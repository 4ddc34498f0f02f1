//! Several watched ports at once, with other ports between them.

use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::counts::PortCounts;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::Signal;

use super::text;
use crate::context::Context;

/// The offsets of watched ports: one, the ends of a range of three, another one.
const WATCHED: [u16; 4] = [0, 2, 4, 6];
/// The offsets next to the ends of the range.
const NOT_WATCHED: [u16; 2] = [1, 5];

/// The least number of connections to a port: more than there are addresses.
const CONNECTIONS: u32 = 10;

pub(crate) fn list(context: &Context) -> Result<String> {
    let first = free_ports(context.port)?;
    let list = format!("{first},{}-{}", first + 2, first + 4);
    count(context, first, &["--port", &list])
}

/// `--not-port`: the same ports, as what is left of a range.
pub(crate) fn left_out(context: &Context) -> Result<String> {
    let first = free_ports(context.port)?;
    let range = format!("{first}-{}", first + 6);
    let [one, other] = NOT_WATCHED.map(|offset| (first + offset).to_string());
    let options = ["--port", &range, "--not-port", &one, "--not-port", &other];
    count(context, first, &options)
}

/// Counts the connections to seven ports with these options, and no others.
fn count(context: &Context, first: u16, options: &[&str]) -> Result<String> {
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
    let report = Report::new(&json.finish(Signal::INT, &json_lines)?)?;
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
            "{what} do not match the server's: {counts:?}, served {served:?}"
        );
    }
    Ok(format!("server={total} {}", options.join(" ")))
}

/// Connects to a port and returns what the server accepted.
fn serve(port: u16, connections: u32) -> Result<PortCounts> {
    let server = Server::plain(port)?;
    let made = Load::v4(port, connections).run()?;
    let served = server.finish()?;
    ensure!(
        served == made,
        "the test is at fault: made {made:?}, served {served:?}"
    );
    let with_port = |(address, connections)| ((address, port), connections);
    Ok(served.into_iter().map(with_port).collect())
}

/// The first of seven free ports in a row.
fn free_ports(from: u16) -> Result<u16> {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (from..u16::MAX - 7)
        .chain(1024..from)
        .find(|first| (*first..first + 7).all(is_free))
        .context("there are no seven free ports in a row")
}
