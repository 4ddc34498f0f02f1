//! The status line on a terminal.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::server::Server;
use lab::terminal::{CTRL_C, Terminal};

use crate::context::Context;
use crate::preemptible::is_preemptible;

const CONNECTIONS: u32 = 200;

/// With `--quiet` a line on the terminal counts what the server does, and is gone when the total is there.
pub(crate) fn status_line(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    command.arg("--quiet");
    let mut terminal = Terminal::start("conn-cli", command, Some(Stdio::piped()))?;
    let stdout = terminal.process.child.stdout.take().context("no pipe")?;
    terminal.wait_for("Tracing")?;
    // It comes when the search has ended, which otherwise could be after Ctrl-C.
    terminal.wait_for("listening: ")?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let connections: u64 = served.values().sum();
    let addresses = served.len();
    let counted = if context.hook.sees_accepts() {
        format!("{connections} connections")
    } else {
        format!("{connections} handshakes")
    };
    let figures = format!("s  {counted}  {addresses} addresses  ");
    terminal.wait_for(&figures)?;
    let most = served.values().max().context("nothing served")?;
    let (first, _) = { served.iter() }
        .find(|(_, count)| *count == most)
        .context("no address")?;
    let top = format!("/s  top {first} {most}");
    let shows_top = !is_preemptible()?;
    if shows_top {
        terminal.wait_for(&top)?;
    }
    terminal.press(CTRL_C)?;
    let (status, shown) = terminal.end()?;
    let summary = std::io::read_to_string(stdout)?;
    ensure!(status.success(), "{status}: {shown:?}");
    ensure!(
        shows_top || !shown.contains("  top "),
        "maps were read: {shown:?}"
    );
    let total = format!("\r\x1b[K{counted} in ");
    let (before, after) = shown
        .split_once(&total)
        .with_context(|| format!("{total:?}: {shown:?}"))?;
    ensure!(
        before.contains(&figures) && !after.contains("\x1b[K"),
        "{shown:?}"
    );
    ensure!(!summary.contains('\x1b'), "{summary:?}");
    Ok(shown.replace("\x1b[K", "").replace(['\r', '\n'], "|"))
}
