//! Process ids in a PID namespace.

use std::io;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::command::program;
use lab::family::Family;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::Tracer;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::Value;

use crate::context::Context;

/// How many connections the servers in the namespace and outside get.
const CONNECTIONS: [u32; 2] = [5, 7];

/// A conn-cli in a PID namespace shows and takes the ids of processes there; a process outside has none.
pub(crate) fn ids(context: &Context) -> Result<String> {
    let outside = Server::plain(context.port + 1)?;
    let serve = Serve::threads(2, Family::V4.listen());
    let mut first = None;
    let spawn = |command: &mut Command| {
        let (process, second) = in_new_namespace(command)?;
        first = Some(process);
        Ok(second)
    };
    let inside = Server::start_by(spawn, serve, context.port)?;
    let namespace = format!("--pid=/proc/{}/ns/pid", inside.pid());
    let nsenter = program("nsenter")?;
    // A signal would go to nsenter.
    let enter = |command: &Command, count: u32| {
        let mut entering = Command::new(&nsenter);
        entering.args([&namespace, "--"]);
        entering.arg(command.get_program()).args(command.get_args());
        entering.args(["--json", "--count", &count.to_string()]);
        entering.args(["--port", &(context.port + 1).to_string()]);
        entering
    };
    let both = CONNECTIONS.iter().sum();
    let runs = [("", both), ("--pid 2", CONNECTIONS[0])];
    let mut tracers = Vec::new();
    for (options, count) in runs {
        let mut command = enter(&context.conn_cli(context.port), count);
        let mut tracer = Tracer::start(command.args(options.split_whitespace()))?;
        tracers.push((tracer.stdout()?, tracer, count));
    }
    Load::v4(context.port, CONNECTIONS[0]).run()?;
    Load::v4(context.port + 1, CONNECTIONS[1]).run()?;
    for (stdout, tracer, expected) in tracers {
        let report = Report::new(&tracer.wait(stdout.rest()?)?)?;
        ensure!(
            report.live.len() == expected as usize,
            "not {expected}: {:?}",
            report.live
        );
        for line in &report.live {
            let is_inside = line["local_port"] == context.port;
            let pid: Value = if is_inside { 2.into() } else { Value::Null };
            ensure!(
                line["pid"] == pid && line["tid"].is_null() != is_inside && line["uid"] == 0,
                "pid {pid} expected: {line}"
            );
        }
    }
    inside.finish()?;
    outside.finish()?;
    let mut first = first.context("no first process")?;
    drop(first.stdin.take());
    first.wait()?;
    Ok(format!(
        "inside={} outside={}",
        CONNECTIONS[0], CONNECTIONS[1]
    ))
}

/// Starts a process in a new PID namespace, with id 2 there, after the first one, with which the namespace
/// ends.
fn in_new_namespace(command: &mut Command) -> io::Result<(Child, Child)> {
    // In another thread, which can start no thread any more.
    thread::scope(|scope| {
        let start = || {
            // SAFETY: where this thread's children are changes nothing that memory safety depends on.
            unsafe { unshare_unsafe(UnshareFlags::NEWPID) }?;
            // Not this program: it takes the id 1 for that of a guest's first process.
            let first = Command::new("cat").stdin(Stdio::piped()).spawn()?;
            Ok((first, command.spawn()?))
        };
        let started = scope.spawn(start).join();
        started.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}
