//! Standard streams that are closed early or cannot be written.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::diagnostics::CountLine;
use lab::process::{Lines, Process, first_line};
use lab::report::Report;
use lab::server::Server;
use lab::tracer::{Ended, Tracer, piped};
use rustix::process::Signal;

use crate::context::Context;

const CONNECTIONS: u32 = 20;

/// The reader of conn-cli's output stops after one line, as `head -1` does.
pub(crate) fn reader_closes(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut tracer = Tracer::start(&mut context.conn_cli(context.port))?;
    let stdout = tracer.take_stdout()?;
    Load::v4(context.port, 10).run()?;
    let line = first_line(stdout)?;
    ensure!(
        line.contains(" New connection from 127.0.0."),
        "not a line of a connection: {line:?}"
    );
    // conn-cli may notice at once or at its next line.
    Load::v4(context.port, 500).run()?;
    let ended = tracer.wait(Vec::new())?;
    server.finish()?;
    ended.check_code()?;
    let diagnostics = CountLine::without_warnings(&ended)?;
    ensure!(
        diagnostics.not_shown < diagnostics.connections,
        "a line was shown, but conn-cli reports none: {diagnostics:?}"
    );
    Ok(format!("{diagnostics:?}"))
}

/// Standard error is closed: standard output is still complete.
pub(crate) fn stderr_closed(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    // Its first line must be the announcement.
    let context = Context {
        verbose: false,
        ..context.clone()
    };
    let mut command = context.conn_cli(context.port);
    let mut process = Process::spawn("conn-cli", piped(command.arg("--json")))?;
    let stdout = process.child.stdout.take().context("no pipe")?;
    let stdout = Lines::of("conn-cli", stdout);
    let tracing = first_line(process.child.stderr.take().context("no pipe")?)?;
    ensure!(
        tracing.starts_with("Tracing"),
        "unexpected first line: {tracing}"
    );
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    process.signal(Signal::INT)?;
    let ended = Ended {
        stdout: stdout.rest()?,
        status: process.wait()?,
        stderr: Vec::new(),
    };
    Ok(Report::new(&ended)?.check(&served)?.to_string())
}

/// The disk is full at the first line, or at the summary.
pub(crate) fn disk_full(context: &Context) -> Result<String> {
    let at_lines = on_full_disk(context, &[], None)?;
    let at_summary = on_full_disk(context, &["--quiet"], Some(Signal::INT))?;
    let diagnostics = CountLine::of(&at_lines)?;
    ensure!(
        (1..=u64::from(CONNECTIONS)).contains(&diagnostics.connections)
            && diagnostics.not_shown == diagnostics.connections,
        "not every connection is counted as not shown: {diagnostics:?}"
    );
    let diagnostics = CountLine::of(&at_summary)?;
    ensure!(
        diagnostics.connections == u64::from(CONNECTIONS),
        "not {CONNECTIONS} connections: {diagnostics:?}"
    );
    Ok(format!("stderr: {}", at_lines.stderr.join(" | ")))
}

/// conn-cli ends by `signal`, or by itself; it must fail and print the reason.
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
    let stderr = ended.stderr.join(" | ");
    ensure!(
        ended.status.code() == Some(1),
        "ended with {}: {stderr}",
        ended.status
    );
    ensure!(
        ended.stderr.iter().any(|line| line == "=== Summary ==="),
        "the summary is nowhere: {stderr}"
    );
    let last = ended.stderr.last().context("conn-cli printed nothing")?;
    ensure!(
        last.starts_with("conn-cli: ") && last.contains("standard output"),
        "no error about standard output: {stderr}"
    );
    Ok(ended)
}
