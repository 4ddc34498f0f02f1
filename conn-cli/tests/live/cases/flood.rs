//! More connections than conn-cli can show: it reports how many it did not show, and its totals
//! stay exact.

use std::process::ChildStdout;

use anyhow::{Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::family::Family;
use lab::process::{Lines, poll_until};
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

/// Many times more lines than conn-cli can hold while its output is not read.
const CONNECTIONS: u32 = 20_000;
const THREADS: u32 = 8;

const MAX_CONNECTIONS: u32 = 200_000;

/// The smallest ring buffer: one page.
const SMALLEST_RING: &str = "4096";

fn server(context: &Context) -> Result<Server> {
    let serve = Serve::threads(THREADS, Family::V4.listen());
    Server::start(serve, context.port)
}

fn load(context: &Context, connections: u32) -> Load {
    Load {
        threads: THREADS,
        ..Load::v4(context.port, connections)
    }
}

/// conn-cli's output is not read before the end.
pub(crate) fn unread(context: &Context) -> Result<String> {
    let server = server(context)?;
    let mut command = context.conn_cli(context.port);
    command.args(["--json", "--buffer-size", SMALLEST_RING]);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.take_stdout()?;
    let made = load(context, CONNECTIONS).run()?;
    let served = server.finish()?;
    ensure!(
        served == made,
        "the test is at fault: made {made:?}, served {served:?}"
    );
    end_unread(tracer, stdout, &served)
}

/// Ends a conn-cli whose output has not been read: some lines must not have been shown.
pub(crate) fn end_unread(tracer: Tracer, stdout: ChildStdout, served: &Counts) -> Result<String> {
    tracer.process.signal(Signal::INT)?;
    let lines = Lines::of("conn-cli", stdout).rest()?;
    let figures = Report::new(&tracer.wait(lines)?)?.check(served)?;
    ensure!(
        figures.not_shown > 0,
        "the test is at fault: conn-cli showed every line: {figures}"
    );
    Ok(figures.to_string())
}

/// SIGTERM while connections arrive.
pub(crate) fn terminated(context: &Context) -> Result<String> {
    let server = server(context)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    let clients = load(context, MAX_CONNECTIONS).start()?;
    poll_until("a thousand connections", || Ok(clients.made() >= 1000))?;
    let ended = tracer.finish(Signal::TERM, &stdout);
    clients.stop();
    clients.finish()?;
    let served = server.finish()?;
    let figures = Report::new(&ended?)?.figures(&served)?;
    figures.check_lines()?;
    ensure!(
        (1..=figures.server).contains(&figures.connections),
        "not between one and the server's count: {figures}"
    );
    Ok(figures.to_string())
}
