//! Network namespaces: those of users, and more of them than files may be open.

use std::fs;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::process::Lines;
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

/// So many can be kept with the soft limit.
const MIN_KEPT: u64 = 300;

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
                && !messages.iter().any(|line| has_stopped_elsewhere(line)),
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

fn has_stopped_elsewhere(line: &str) -> bool {
    line.contains("in network namespace") && line.ends_with("has stopped listening")
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
    let shown = stdout.take(CONNECTIONS)?;
    ensure_reader_is_free(&tracer, &stdout)?;
    let served = server.finish()?;
    let mut ended = tracer.finish(Signal::INT, &stdout)?;
    ended.stdout.splice(0..0, shown);
    Report::new(&ended)?.check(&served)?;
    Ok(ended.stderr)
}

/// Has the queues looked at, and checks that the thread that reads the ring buffer does not do it: it would
/// be away as long as it takes to read the counters of all namespaces.
fn ensure_reader_is_free(tracer: &Tracer, stdout: &Lines) -> Result<()> {
    let pid = tracer.pid();
    let reader = format!("/proc/{pid}/task/{pid}/io");
    let process = format!("/proc/{pid}/io");
    let before = (bytes_read(&reader)?, bytes_read(&process)?);
    tracer.process.signal(Signal::USR1)?;
    stdout.take(1)?;
    let by_reader = bytes_read(&reader)? - before.0;
    let by_process = bytes_read(&process)? - before.1;
    // The file of the counters has more than a kilobyte.
    let counters = MIN_KEPT << 10;
    ensure!(
        by_reader < counters / 4 && by_process > counters,
        "the reader has read {by_reader} bytes of {by_process}"
    );
    Ok(())
}

/// How many bytes a thread or a process has read so far, by the kernel's own count.
fn bytes_read(path: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    Ok(bytes.context("no rchar")?.parse()?)
}
