//! Compares each stage of a connection with tcpdump and the server's own count.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::family::Family;
use lab::peers::handshakes::{Handshakes, by_address};
use lab::peers::tcpdump::Tcpdump;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::stages::Stages;
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

const CONNECTIONS: u32 = 300;
const THREADS: u32 = 4;

/// Connections from a port that is also watched: the clients' own ends must not be counted.
const FROM_WATCHED_PORT: u32 = 20;

/// Clients of both families, none of which fails: every stage has as many connections.
pub(crate) fn funnel(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(THREADS, Family::Dual.listen()), context.port)?;
    let from_port = context.port + 1;
    let mut command = context.conn_cli(context.port);
    command.args(["--port", &from_port.to_string(), "--funnel", "--json"]);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    let tcpdump = Tcpdump::start("lo", &Handshakes::filter(context.port))?;
    let many = Load {
        from: Family::Dual.clients(),
        threads: THREADS,
        ..Load::v4(context.port, CONNECTIONS)
    };
    many.run()?;
    let from_watched_port = Load {
        from_port,
        connections: FROM_WATCHED_PORT,
        threads: 1,
        ..many
    };
    from_watched_port.run()?;
    let sent = Handshakes::from_lines(&tcpdump.finish()?, context.port)?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    ensure!(
        sent.syns_by_address() == served && sent.answered_by_address() == served,
        "the test is at fault: served {served:?}, SYNs {:?}, answered {:?}",
        sent.syns_by_address(),
        sent.answered_by_address()
    );
    let connections = served.values().sum();
    let expected = Stages::for_funnel(
        context.hook,
        [connections, sent.repeated],
        connections,
        connections,
    );
    let report = Report::new(&ended)?;
    let not_shown = report.check_stages(&expected)?;
    let printed = Stages::from_stderr(&ended)?;
    ensure!(
        printed == expected,
        "printed {printed} instead of {expected}"
    );
    check_clients(context, &report, &served)?;
    if not_shown == 0 {
        check_lines(context, &report, sent.syns())?;
    }
    Ok(format!("{expected} not_shown={not_shown}"))
}

/// Every address must have the server's count at every stage.
fn check_clients(context: &Context, report: &Report, served: &Counts) -> Result<()> {
    let mut names = vec!["syn", "connections"];
    if context.hook.sees_accepts() {
        names.push("established");
    }
    for name in names {
        let counts = report.counts_for(name)?;
        ensure!(
            counts == *served,
            "{name}: {counts:?} instead of {served:?}"
        );
    }
    Ok(())
}

/// Every client must have its line at every stage.
fn check_lines(context: &Context, report: &Report, clients: &[SocketAddr]) -> Result<()> {
    let accepted = context.hook.sees_accepts().then_some("accepted");
    for stage in ["syn", "established"].into_iter().chain(accepted) {
        let shown = report.clients_at(stage)?;
        ensure!(
            shown == clients,
            "{stage}: lines of {:?} instead of {:?}",
            by_address(&shown),
            by_address(clients)
        );
    }
    Ok(())
}
