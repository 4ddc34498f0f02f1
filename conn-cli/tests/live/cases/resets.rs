//! Connections that clients reset before the server accepts them. Linux still returns them from
//! `accept`.

use std::fs;

use anyhow::{Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::family::Family;
use lab::process::poll_until;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use crate::context::Context;
use crate::hidden;

const CONNECTIONS: u32 = 40;

/// `TCP_ESTABLISHED` as `/proc/net/tcp` writes it.
const ESTABLISHED: &str = "01";

pub(crate) fn ipv4(context: &Context) -> Result<String> {
    exact(context, Family::V4)
}

pub(crate) fn dual_stack(context: &Context) -> Result<String> {
    exact(context, Family::Dual)
}

fn exact(context: &Context, family: Family) -> Result<String> {
    let (ended, served) = reset_early(context, family)?;
    let report = Report::new(&ended)?;
    let figures = report.check(&served)?;
    report.check_live(&[("local_port", context.port.into())])?;
    Ok(figures.to_string())
}

/// Without BTF, conn-cli cannot read the port of a reset socket, and reports how many it could not
/// read.
pub(crate) fn without_btf(context: &Context) -> Result<String> {
    let context = Context {
        hidden: Some(hidden::BTF),
        ..context.clone()
    };
    let (ended, served) = reset_early(&context, Family::V4)?;
    let report = Report::new(&ended)?;
    let figures = report.figures(&served)?;
    let reset = u64::from(CONNECTIONS / 2);
    ensure!(
        figures.connections + reset == figures.server,
        "the count is not that of the connections without a reset: {figures}"
    );
    report.check_discrepancies(reset)?;
    ensure!(
        ended.stderr.iter().any(|line| line.starts_with("warning:")),
        "no warning: {}",
        ended.stderr.join(" | ")
    );
    Ok(format!("{figures} unreadable={reset}"))
}

/// The server accepts nothing until all clients are connected and every other one has reset its
/// connection. Returns conn-cli's output and what the server accepted: all connections.
fn reset_early(context: &Context, family: Family) -> Result<(Ended, Counts)> {
    let serve = Serve {
        hold: true,
        ..Serve::threads(1, family.listen())
    };
    let mut server = Server::start(serve, context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    let clients = Load {
        from: family.clients(),
        ..Load::v4(context.port, CONNECTIONS)
    };
    let (mut staying, mut leaving) = (Vec::new(), Vec::new());
    for ticket in 0..CONNECTIONS {
        let half = if ticket % 2 == 0 {
            &mut leaving
        } else {
            &mut staying
        };
        half.push(clients.open(ticket)?);
    }
    wait_until_established(context.port, staying.len() + leaving.len())?;
    drop(leaving);
    wait_until_established(context.port, staying.len())?;
    server.release()?;
    // The last client stays, and the server accepts in order: after this it has accepted all.
    for connection in staying {
        connection.wait_until_served()?;
    }
    let served = server.finish()?;
    let made = clients.first(CONNECTIONS);
    ensure!(
        served == made,
        "the test is at fault: made {made:?}, served {served:?}"
    );
    Ok((tracer.finish(Signal::INT, &stdout)?, served))
}

/// Waits until the server has this many connections that are not reset.
fn wait_until_established(port: u16, connections: usize) -> Result<()> {
    poll_until(&format!("{connections} are established"), || {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        let mut established = 0;
        for table in tables {
            established += table?
                .lines()
                .filter(|line| is_established(line, port))
                .count();
        }
        Ok(established == connections)
    })
}

/// Whether a line of `/proc/net/tcp` is the server's end of such a connection.
pub(crate) fn is_established(line: &str, port: u16) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let (local, _, state) = (words.next(), words.next(), words.next());
    local.is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
        && state == Some(ESTABLISHED)
}
