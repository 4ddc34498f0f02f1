//! No listener, or no accepts: conn-cli reports both while it runs.

use anyhow::{Result, ensure};
use lab::client::Load;
use lab::family::Family;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

const CLIENTS: u32 = 3;
const THREADS: u32 = 64;

/// A server that does not accept yet, and the first messages about no server and a busy one.
pub(crate) fn nobody_accepts(context: &Context) -> Result<String> {
    let no_listener = initial_message(context, &format!("no listener on port {}", context.port))?;
    let busy = Server::start(Serve::threads(THREADS, Family::V4.listen()), context.port)?;
    let expected = [
        format!("127.0.0.1:{} ", context.port),
        format!("[{}]", busy.pid()),
        format!(", {THREADS} threads in accept, accept queue 0/"),
    ];
    let is_expected = |line: &String| expected.iter().all(|part| line.contains(part));
    let mut listening = initial_message(context, "listening: ")?;
    // The kernel may say of a waiting thread that it runs, if it looks at an unlucky time.
    for _ in 0..2 {
        if !is_expected(&listening) {
            listening = initial_message(context, "listening: ")?;
        }
    }
    ensure!(is_expected(&listening), "no {expected:?} in: {listening}");
    busy.finish()?;
    let waiting = clients_wait(context)?;
    Ok(format!("{no_listener} | {listening} | {waiting}"))
}

/// Runs conn-cli without connections and returns its line that contains `text`.
fn initial_message(context: &Context, text: &str) -> Result<String> {
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    let line = tracer.wait_for(text)?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    ensure!(
        report.number("connections")? == 0,
        "there are connections without clients: {}",
        report.summary
    );
    Ok(line)
}

/// Clients connect and are not accepted; once they are, they are counted.
fn clients_wait(context: &Context) -> Result<String> {
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
    let line = tracer.wait_for("some wait to be accepted")?;
    ensure!(
        // No thread is in accept, as with a server that polls.
        line.contains(&format!("[{}], accept queue {CLIENTS}/", server.pid())),
        "wrong server or queue: {line}"
    );
    server.release()?;
    for connection in waiting {
        connection.wait_until_served()?;
    }
    let served = server.finish()?;
    ensure!(served == load.first(CLIENTS), "the test is at fault");
    Report::new(&tracer.finish(Signal::INT, &stdout)?)?.check(&served)?;
    Ok(line)
}
