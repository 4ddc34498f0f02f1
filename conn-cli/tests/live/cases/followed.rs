//! Network namespaces that come and go.

use std::collections::{BTreeSet, HashSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use lab::process::poll_until;
use lab::report::Report;
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;
use crate::many_listeners::Listeners;

/// How many namespaces there are at once.
const NAMESPACES: usize = 100;

/// How often they are replaced. In all there are twice as many, then.
const ROUNDS: usize = 2;

/// How many connections are made in each.
const CONNECTIONS: u32 = 3;

/// What conn-cli keeps open for each.
const FILES: usize = 2;

/// By how much its memory may grow from one round to the next: less than 16 KiB for each namespace.
const MAX_GROWTH: u64 = 1 << 20;

const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
const CAP_SYS_PTRACE: u64 = 1 << 19;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// New namespaces are seen, those of dead processes are let go, and every connection counts.
pub(crate) fn namespaces(context: &Context) -> Result<String> {
    let mut command = context.conn_cli(context.port);
    // The namespaces are in a user namespace, where their number can be limited.
    command.args(["--json", "--quiet", "--follow-namespaces", "--netns", "all"]);
    command.args((!context.verbose).then_some("--verbose"));
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    tracer.wait_for("no listener on ")?;
    let pid = tracer.pid();
    check_privileges(pid)?;
    // It may still search.
    let mut before = descriptors(pid)?;
    poll_until("conn-cli searches", || {
        let now = descriptors(pid)?;
        let is_less = now < before;
        before = before.min(now);
        Ok(!is_less)
    })?;
    let mut listeners = Listeners::start_limited(NAMESPACES, context.port, CONNECTIONS)?;
    let mut sizes = Vec::new();
    for round in 1..=ROUNDS {
        let mut names = BTreeSet::new();
        while names.len() < NAMESPACES {
            let line = tracer.wait_for("listening: ")?;
            let (_, name) = line
                .split_once(" in network namespace ")
                .context("no namespace")?;
            ensure!(!line.contains("process not known"), "{line}");
            names.insert(name.split(',').next().map(ToOwned::to_owned));
        }
        let held = descriptors(pid)?;
        ensure!(
            held >= before + NAMESPACES * FILES,
            "{NAMESPACES} namespaces are said to be watched with {held} open files, {before} before"
        );
        if round < ROUNDS {
            // They cannot start before the kernel has cleaned up most of those before: none may be held.
            listeners.replace()?;
        }
        sizes.push(size(pid)?);
    }
    let accepted = listeners.accepted();
    drop(listeners);
    poll_until("conn-cli lets go the namespaces", || {
        Ok(descriptors(pid)? <= before)
    })?;
    let entered = namespaces_of_threads(pid)?;
    ensure!(entered.len() == 1, "conn-cli is still in {entered:?}");
    ensure!(
        sizes
            .windows(2)
            .all(|sizes| sizes[1] <= sizes[0] + MAX_GROWTH),
        "the memory grows: {sizes:?}"
    );
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let connections = Report::new(&ended)?.number("connections")?;
    ensure!(
        connections == accepted
            && accepted == (NAMESPACES * ROUNDS) as u64 * u64::from(CONNECTIONS),
        "{connections} counted, {accepted} accepted"
    );
    Ok(format!(
        "connections={connections} files={before} memory={sizes:?}"
    ))
}

/// Only one thread may have privileges, and no others than it needs.
fn check_privileges(pid: u32) -> Result<()> {
    let mut privileged = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let field = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.with_context(|| format!("no {name}")).map(str::trim)
        };
        let held = u64::from_str_radix(field("CapPrm:")?, 16)?;
        if field("Name:")? == "namespaces" {
            let expected = CAP_SYS_ADMIN | CAP_SYS_PTRACE | CAP_DAC_READ_SEARCH;
            ensure!(held == expected, "the thread has {held:#x}");
            privileged += 1;
        } else {
            ensure!(held & (CAP_SYS_ADMIN | CAP_SYS_PTRACE) == 0, "{status}");
        }
    }
    ensure!(privileged == 1, "{privileged} threads search");
    Ok(())
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn namespaces_of_threads(pid: u32) -> Result<HashSet<std::path::PathBuf>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    tasks
        .map(|task| Ok(fs::read_link(task?.path().join("ns/net"))?))
        .collect()
}

/// The memory of a process, without files.
fn size(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("no RssAnon")?.parse::<u64>()? << 10)
}
