//! Hooks that attach and never run, or stop to: what calls them is switched off for the whole
//! machine.

use std::io;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::hook::Hook;
use lab::report::Report;
use lab::server::Server;
use lab::setting::Setting;
use lab::tracer::Tracer;
use rustix::process::Signal;
use serde_json::Value;

use super::exact::Count;
use super::privileges::refused;
use crate::context::Context;

const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";

const CONNECTIONS: u32 = 20;

const IS_AARCH64: bool = cfg!(target_arch = "aarch64");

/// What switches hooks off: a setting, and what conn-cli says of it.
type Switch = (&'static str, &'static str);

const FTRACE_OFF: Switch = (FTRACE, "ftrace_enabled is 0");
const KPROBES_OFF: Switch = (KPROBES, "kprobes/enabled is 0");

fn switch(hook: Hook) -> Switch {
    // On aarch64 kprobes are breakpoints, and run without the function tracer.
    if hook == Hook::Kretprobe && IS_AARCH64 {
        KPROBES_OFF
    } else {
        FTRACE_OFF
    }
}

/// Kprobes are disarmed: those that are attached do not run.
pub(crate) fn kprobes_disarmed(context: &Context) -> Result<String> {
    is_refused(context, KPROBES_OFF)
}

fn is_refused(context: &Context, (path, said): Switch) -> Result<String> {
    let off = Setting::set(path, "0")?;
    let mut command = context.conn_cli(context.port);
    let refused = refused(&mut command, 1, &[said])?;
    drop(off);
    Ok(format!("{refused}; then {}", Count::PLAIN.run(context)?))
}

/// A hook that never runs is refused, and `auto` takes one that does.
pub(crate) fn at_start(context: &Context) -> Result<String> {
    if context.hook != Hook::Auto {
        return is_refused(context, switch(context.hook));
    }
    let _off = Setting::set(FTRACE, "0")?;
    let server = Server::plain(context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let tracing = ended.stderr.first().context("conn-cli printed nothing")?;
    let report = Report::new(&ended)?;
    ensure!(
        report.counts()? == served && report.summary["self_test"]["result"] == "passed",
        "not the server's count: {}",
        report.summary
    );
    ensure!(
        !IS_AARCH64 || report.summary["probe"] == "kretprobe",
        "the kretprobe would run, too: {tracing}"
    );
    Ok(tracing.clone())
}

/// A hook that stops to run is told, also if it runs again later, and the count not trusted.
pub(crate) fn mid_run(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start(command.args(["--json", "--self-test-interval", "100ms"]))?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let mut lines = stdout.take(CONNECTIONS)?;
    let (path, said) = switch(context.hook);
    let off = match Setting::set(path, "0") {
        // Linux 5.10 does not switch it off while there are trampolines.
        Err(error) if is_busy(&error) => return Ok("it cannot be switched off".to_owned()),
        off => off?,
    };
    Load::v4(context.port, CONNECTIONS).run()?;
    tracer.wait_for("has seen nothing")?;
    // Linux 6.1 does not survive that a kprobe is removed while this is off.
    drop(off);
    Load::v4(context.port, CONNECTIONS).run()?;
    lines.extend(stdout.take(CONNECTIONS)?);
    let served = server.finish()?;
    tracer.process.signal(Signal::INT)?;
    lines.extend(stdout.rest()?);
    let ended = tracer.wait(lines)?;
    let stderr = ended.stderr.join(" | ");
    ensure!(
        ended.status.code() == Some(1) && stderr.contains(said),
        "ended with {}: {stderr}",
        ended.status
    );
    let summary: Value = serde_json::from_str(ended.stdout.last().context("no summary")?)?;
    ensure!(
        summary["self_test"]["result"] == "silent"
            && summary["at_least"] == true
            && summary["connections"] == 2 * CONNECTIONS,
        "not told: {summary}"
    );
    let served: u64 = served.values().sum();
    let again = Count::PLAIN.run(context)?;
    Ok(format!(
        "server={served} conn-cli={}; then {again}",
        summary["connections"]
    ))
}

fn is_busy(error: &anyhow::Error) -> bool {
    let error = error.root_cause().downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}
