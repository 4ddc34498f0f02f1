//! Network namespaces: those of users, and more of them than files may be open.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::several::Several;
use lab::tracer::Tracer;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde_json::Value;

use crate::context::Context;
use crate::many_listeners::Listeners;

/// The usual soft limit of open files.
const SOFT_LIMIT: u64 = 1024;

/// Each needs two files.
const NAMESPACES: usize = 520;

const CONNECTIONS: u32 = 20;

/// How many a user makes.
const OF_USERS: u32 = 12;

/// conn-cli raises its limit where it may, or else lists and counts all the same, and says what it cannot
/// query again.
pub(crate) fn many(context: &Context) -> Result<String> {
    let _listeners = Listeners::start(NAMESPACES, context.port)?;
    let all = trace(context, 4 * SOFT_LIMIT)?;
    let some = trace(context, SOFT_LIMIT)?;
    let expected = format!(", and {NAMESPACES} more");
    for messages in [&all, &some] {
        ensure!(
            messages.iter().any(|line| line.ends_with(&expected))
                && !messages.iter().any(|line| line.contains("could not be"))
                && !messages
                    .iter()
                    .any(|line| line.contains("stopped listening")),
            "no {expected:?} in {messages:?}"
        );
    }
    let not_watched = |line: &&String| line.contains("are not watched");
    ensure!(!all.iter().any(|line| not_watched(&line)), "{all:?}");
    let note = some
        .iter()
        .find(not_watched)
        .with_context(|| format!("nothing about namespaces that are not watched in {some:?}"))?;
    Ok(format!("{expected}; with a low limit, {note}"))
}

/// Connections that a user makes in a namespace of its own are summed apart, are no client's, and do not
/// end a run, unless they are asked for.
pub(crate) fn of_users(context: &Context) -> Result<String> {
    let machines = Server::plain(context.port)?;
    let users = Server::start(Serve::of_user(), context.port)?;
    let one = format!("--netns {}", users.pid());
    let options = ["", "--netns all", &one, "--count 8"];
    let command = || {
        let mut command = context.conn_cli(context.port);
        command.arg("--json");
        command
    };
    let several = Several::start(command, options)?;
    let in_namespace = Load {
        netns_pid: Some(users.pid()),
        ..Load::v4(context.port, OF_USERS)
    };
    in_namespace.run()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let (machines, users) = (machines.finish()?, users.finish()?);
    let mut both = machines.clone();
    for (client, connections) in &users {
        *both.entry(*client).or_default() += connections;
    }
    several.finish(|options, ended| {
        let report = Report::new(ended)?;
        let (expected, apart) = match options {
            "--netns all" => (&both, Value::Null),
            options if options == one => (&users, Value::Null),
            _ => (&machines, OF_USERS.into()),
        };
        let total: u64 = expected.values().sum();
        if options.starts_with("--count") {
            ensure!(report.number("connections")? == 8, "{}", report.summary);
        } else {
            ensure!(
                report.counts()? == *expected,
                "{total} expected: {}",
                report.summary
            );
        }
        ensure!(
            report.summary["user_namespaces"] == apart,
            "not {apart} of users: {}",
            report.summary
        );
        let said = "12 connections in network namespaces of users; --netns all counts them";
        ensure!(
            apart.is_null() != ended.stderr.iter().any(|line| line == said),
            "{:?}",
            ended.stderr
        );
        Ok(())
    })?;
    Ok(format!("machine={machines:?} users={users:?}"))
}

/// Counts connections with this hard limit of open files, and returns the messages.
fn trace(context: &Context, hard_limit: u64) -> Result<Vec<String>> {
    let server = Server::plain(context.port)?;
    let limit = move || {
        let limit = Rlimit {
            current: Some(SOFT_LIMIT),
            maximum: Some(hard_limit),
        };
        Ok(setrlimit(Resource::Nofile, limit)?)
    };
    let mut command = context.conn_cli(context.port);
    // SAFETY: between fork and exec, it makes one system call.
    unsafe { command.arg("--json").pre_exec(limit) };
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    tracer.wait_for("listening: ")?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    Report::new(&ended)?.check(&served)?;
    Ok(ended.stderr)
}
