//! Nobody listens, or nobody accepts: conn-cli says so while it runs.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::client::Load;
use super::exact::Family;
use super::plan::Context;
use super::report::Report;
use super::server::{Serve, Server};
use super::tracer::Tracer;

const CLIENTS: u32 = 3;
const THREADS: u32 = 64;

/// A server that has not begun to accept, and what is said of other servers at the beginning.
pub(super) fn nobody_accepts(context: &Context) -> Result<String> {
    let nobody =
        said_at_the_beginning(context, &format!("Nobody listens on port {}", context.port))?;
    let busy = Server::start(Serve::threads(THREADS, Family::V4.listen()), context.port)?;
    let listening = said_at_the_beginning(context, "Listening: ")?;
    let expected = [
        format!("127.0.0.1:{} ", context.port),
        format!("(pid {})", busy.pid()),
        format!(", {THREADS} threads waiting in accept, queue 0 of "),
    ];
    ensure!(
        expected.iter().all(|part| listening.contains(part)),
        "not {expected:?}: {listening}"
    );
    busy.finish()?;
    let waiting = some_wait(context)?;
    Ok(format!("{nobody} | {listening} | {waiting}"))
}

/// The line that contains this, of a conn-cli that sees no connection.
fn said_at_the_beginning(context: &Context, text: &str) -> Result<String> {
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    let line = tracer.wait_for(text)?;
    let report = Report::of(&tracer.finish(Signal::INT, &stdout)?)?;
    ensure!(
        report.number("connections")? == 0,
        "connections of nobody: {}",
        report.summary
    );
    Ok(line)
}

/// Some clients connect and are not accepted; once they are, they are counted.
fn some_wait(context: &Context) -> Result<String> {
    let serve = Serve {
        hold: true,
        ..Serve::threads(1, Family::V4.listen())
    };
    let mut server = Server::start(serve, context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    let load = Load::v4(context.port, CLIENTS);
    let waiting = (0..CLIENTS)
        .map(|ticket| load.open(ticket))
        .collect::<Result<Vec<_>>>()?;
    let line = tracer.wait_for("connections wait to be accepted")?;
    ensure!(
        line.contains(&format!("(pid {})", server.pid()))
            && line.contains("no thread waiting in accept")
            && line.contains(&format!("queue {CLIENTS} of ")),
        "not the server, or not its queue: {line}"
    );
    server.release()?;
    for connection in waiting {
        connection.wait_until_served()?;
    }
    let served = server.finish()?;
    ensure!(served == load.first(CLIENTS), "the test is at fault");
    Report::of(&tracer.finish(Signal::INT, &stdout)?)?.check(&served)?;
    Ok(line)
}
