//! More network namespaces with a listener than files may be open.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::context::Context;
use crate::many_listeners::Listeners;

/// The usual soft limit of open files.
const SOFT_LIMIT: u64 = 1024;

/// Each needs two files.
const NAMESPACES: usize = 520;

const CONNECTIONS: u32 = 20;

/// conn-cli raises its limit where it may, or else counts all the same, and says what it cannot see.
pub(crate) fn many(context: &Context) -> Result<String> {
    let _listeners = Listeners::start(NAMESPACES, context.port)?;
    let all = trace(context, 4 * SOFT_LIMIT)?;
    let expected = format!("listening: {} more", NAMESPACES + 1 - 8);
    ensure!(
        all.contains(&expected) && !all.iter().any(|line| line.contains("could not be")),
        "no {expected:?} in {all:?}"
    );
    let some = trace(context, SOFT_LIMIT)?;
    let hidden = some
        .iter()
        .find(|line| line.ends_with("network namespaces could not be inspected"))
        .with_context(|| format!("nothing about hidden namespaces in {some:?}"))?;
    Ok(format!("{expected}; with a low limit, {hidden}"))
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
