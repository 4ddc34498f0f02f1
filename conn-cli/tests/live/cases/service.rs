//! What a service manager is told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

const CONNECTIONS: u32 = 20;

/// How long a message may take on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// That it is ready once connections are counted, that it still runs, and that it ends.
pub(crate) fn notify(context: &Context) -> Result<String> {
    let path = std::env::temp_dir().join(format!("conn-cli-notify-{}", std::process::id()));
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(PATIENCE))?;
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    command
        .arg("--json")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let mut tracer = Tracer::start(&mut command)?;
    let ready = receive(&manager)?;
    let status = format!("STATUS=hook: {}, ", context.hook);
    ensure!(
        ready.lines().any(|line| line == "READY=1")
            && ready.lines().any(|line| line.starts_with(&status)),
        "the first message is {ready:?}"
    );
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    // Twice: that of the beginning is no sign of life.
    for _ in 0..2 {
        let alive = receive(&manager)?;
        ensure!(alive.trim_end() == "WATCHDOG=1", "the next is {alive:?}");
    }
    let ended = tracer.finish(Signal::TERM, &stdout)?;
    let mut last = receive(&manager)?;
    while last.trim_end() == "WATCHDOG=1" {
        last = receive(&manager)?;
    }
    ensure!(last.trim_end() == "STOPPING=1", "the last is {last:?}");
    fs::remove_file(path)?;
    Ok(Report::new(&ended)?.check(&served)?.to_string())
}

fn receive(manager: &UnixDatagram) -> Result<String> {
    let mut message = [0; 1024];
    let length = manager.recv(&mut message).context("no message")?;
    Ok(String::from_utf8_lossy(&message[..length]).into_owned())
}
