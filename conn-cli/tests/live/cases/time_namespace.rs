//! A time namespace, whose clock of boot is not the kernel's.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::command::program;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;

use crate::context::Context;
use crate::rfc3339;

/// How far the namespace's clock is ahead, in seconds.
const OFFSET: &str = "100000";

const CONNECTIONS: u32 = 20;

/// Connections have the time of the clock on the wall.
pub(crate) fn wall_clock(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let traced = context.conn_cli(context.port);
    let mut command = Command::new(program("unshare")?);
    command
        .args(["--time", "--boottime", OFFSET, "--"])
        .arg(traced.get_program())
        .args(traced.get_args())
        // A signal would go to unshare.
        .args(["--json", "--utc", "--count", &CONNECTIONS.to_string()]);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    let before = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let after = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let served = server.finish()?;
    let report = Report::new(&tracer.wait(stdout.rest()?)?)?;
    // The reading of two clocks one after the other takes time, most on a machine that is emulated.
    let tolerance = Duration::from_secs(1);
    for line in &report.live {
        let time = rfc3339::parse(line["time"].as_str().context("no time")?)?;
        ensure!(
            before.saturating_sub(tolerance) < time && time < after + tolerance,
            "not between {before:?} and {after:?}: {line}"
        );
    }
    ensure!(
        report.live.len() == CONNECTIONS as usize,
        "{:?}",
        report.live
    );
    Ok(report.figures(&served)?.to_string())
}
