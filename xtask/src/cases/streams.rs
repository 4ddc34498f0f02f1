//! Standard streams that end early or take nothing.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::client::Load;
use super::diagnostics::CountLine;
use super::plan::Context;
use super::process::{Lines, Process, first_line};
use super::report::Report;
use super::server::Server;
use super::tracer::{Ended, Tracer, piped};

const CONNECTIONS: u32 = 20;

/// Whoever reads conn-cli's output has enough after one line, as `head -1` has.
pub(super) fn reader_closes(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut tracer = Tracer::start(&mut context.conn_cli(context.port))?;
    let stdout = tracer.take_stdout()?;
    Load::v4(context.port, 10).run()?;
    let line = first_line(stdout)?;
    ensure!(
        line.contains(" New connection from 127.0.0."),
        "not a line of a connection: {line:?}"
    );
    // It may notice at once or at its next line.
    Load::v4(context.port, 500).run()?;
    let ended = tracer.wait(Vec::new())?;
    server.finish()?;
    ended.check_code()?;
    let diagnostics = CountLine::alone(&ended)?;
    ensure!(
        diagnostics.not_shown < Some(diagnostics.connections),
        "a line was shown, and conn-cli says that none was: {diagnostics:?}"
    );
    Ok(format!("{diagnostics:?}"))
}

/// Nobody reads standard error any more: standard output is complete all the same.
pub(super) fn stderr_closed(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    let mut process = Process::spawn("conn-cli", piped(command.arg("--json")))?;
    let stdout = process.child.stdout.take().context("no pipe")?;
    let stdout = Lines::of("conn-cli", stdout);
    let tracing = first_line(process.child.stderr.take().context("no pipe")?)?;
    ensure!(tracing.starts_with("Tracing"), "it said: {tracing}");
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    process.signal(Signal::INT)?;
    let ended = Ended {
        stdout: stdout.rest()?,
        status: process.wait()?,
        stderr: Vec::new(),
    };
    Ok(Report::of(&ended)?.check(&served)?.to_string())
}

/// The disk is full at the first line, or at the summary.
pub(super) fn disk_full(context: &Context) -> Result<String> {
    let at_lines = on_full_disk(context, &[], None)?;
    let at_summary = on_full_disk(context, &["--quiet"], Some(Signal::INT))?;
    let diagnostics = CountLine::of(&at_lines)?;
    ensure!(
        (1..=u64::from(CONNECTIONS)).contains(&diagnostics.connections)
            && diagnostics.not_shown == Some(diagnostics.connections),
        "no line was written: {diagnostics:?}"
    );
    let diagnostics = CountLine::of(&at_summary)?;
    ensure!(
        diagnostics.connections == u64::from(CONNECTIONS),
        "not {CONNECTIONS} connections: {diagnostics:?}"
    );
    Ok(format!("said: {}", at_lines.stderr.join(" | ")))
}

/// Ends by `signal`, or of itself; it must fail and say why.
fn on_full_disk(context: &Context, options: &[&str], signal: Option<Signal>) -> Result<Ended> {
    let server = Server::plain(context.port)?;
    let full = File::options().write(true).open("/dev/full")?;
    let tracer = Tracer::start_onto(context.conn_cli(context.port).args(options), full)?;
    Load::v4(context.port, CONNECTIONS).run()?;
    server.finish()?;
    if let Some(signal) = signal {
        tracer.process.signal(signal)?;
    }
    let ended = tracer.wait(Vec::new())?;
    let said = ended.stderr.join(" | ");
    ensure!(
        ended.status.code() == Some(1),
        "ended with {}: {said}",
        ended.status
    );
    let last = ended.stderr.last().context("it said nothing")?;
    ensure!(
        last.starts_with("conn-cli: ") && last.contains("standard output"),
        "no error of standard output: {said}"
    );
    Ok(ended)
}
