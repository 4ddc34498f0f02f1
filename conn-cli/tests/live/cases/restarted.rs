//! A server that is started anew during a run: whose listener is told, or why it is not known.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Result, ensure};
use lab::client::Load;
use lab::family::Family;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::context::Context;

const UNKNOWN: &str = " process not known: accept queue 0/";

/// Said once in a run.
const TOO_LATE: &str = " began after conn-cli gave up its privileges";

/// The first port that a process without privileges may bind.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Without privileges, conn-cli can see the files of a process that has none, either.
pub(crate) fn server(context: &Context) -> Result<String> {
    let port = context.port.max(FIRST_UNPRIVILEGED);
    let first = Server::plain(port)?;
    let mut tracer = Tracer::start(context.conn_cli(port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    tracer.wait_for("listening: ")?;
    first.finish()?;
    let serve = Serve {
        hold: true,
        ..Serve::threads(1, Family::V4.listen())
    };
    let mut second = Server::start_by(without_privileges, serve, port)?;
    let load = Load::v4(port, 1);
    let connection = load.open(0)?;
    let line = tracer.wait_for("some wait to be accepted")?;
    let process = format!("[{}]", second.pid());
    ensure!(
        line.contains(&format!("{process}, accept queue 1/")),
        "{line}"
    );
    second.release()?;
    connection.wait_until_served()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let known = line_at_end(&ended, &process)?;
    let pid = second.pid();
    Report::new(&ended)?.check(&second.finish()?)?;
    ensure!(
        Report::new(&ended)?.summary["listeners"][0]["pid"] == pid,
        "{:?}",
        ended.stdout
    );

    let first = Server::plain(port)?;
    let mut tracer = Tracer::start(context.conn_cli(port).arg("--json"))?;
    let stdout = tracer.stdout()?;
    tracer.wait_for("listening: ")?;
    first.finish()?;
    let second = Server::plain(port)?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    second.finish()?;
    let unknown = line_at_end(&ended, UNKNOWN)?;
    let notes = ended.stderr.iter().filter(|line| line.contains(TOO_LATE));
    ensure!(notes.count() == 1, "{:?}", ended.stderr);
    Ok(format!("{known} | {unknown}"))
}

/// The only line of the end about a listener, which must contain this.
fn line_at_end(ended: &Ended, text: &str) -> Result<String> {
    let is_of_end = |line: &&String| {
        line.contains(": accept queue ") || line.ends_with(" has stopped listening")
    };
    let lines: Vec<_> = ended.stderr.iter().filter(is_of_end).collect();
    ensure!(
        lines.len() == 1 && lines[0].contains(text),
        "not one line with {text:?}: {}",
        ended.stderr.join(" | ")
    );
    Ok(lines[0].clone())
}

/// Starts a process of root that has no capability.
fn without_privileges(command: &mut Command) -> std::io::Result<std::process::Child> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let drop = move || {
        // Or else exec would give them back to root.
        set_no_new_privs(true)?;
        Ok(set_capabilities(None, none)?)
    };
    // SAFETY: between fork and exec, it makes system calls only.
    unsafe { command.pre_exec(drop) };
    command.spawn()
}
