//! Programs that tell by other means what conn-cli is to tell, and a case that holds
//! them against what is known without them: if it fails, the bench is at fault.

pub(super) mod counters;
pub(super) mod handshakes;
pub(super) mod sockets;
pub(super) mod tcpdump;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::client::Load;
use super::exact::Family;
use super::plan::Context;
use super::process::poll_until;
use super::server::{Serve, Server};
use crate::command;
use counters::{Counters, LISTEN_DROPS, LISTEN_OVERFLOWS};
use sockets::Listener;
use tcpdump::Tcpdump;

const CONNECTIONS: u32 = 200;

/// Where one of the programs is.
fn program(name: &str) -> Result<PathBuf> {
    command::find(name).with_context(|| format!("{name} is missing here"))
}

/// Each SYN has a line of tcpdump's, and a server in trouble is seen by ss and nstat.
pub(super) fn peers(context: &Context) -> Result<String> {
    let syns = syns_are_shown(context)?;
    let (listener, counted) = trouble_is_shown(context)?;
    Ok(format!(
        "syns={syns} waiting={} backlog={} drops={} overflows={} listen_drops={}",
        listener.waiting,
        listener.backlog,
        listener.drops,
        counted.get(LISTEN_OVERFLOWS)?,
        counted.get(LISTEN_DROPS)?
    ))
}

fn syns_are_shown(context: &Context) -> Result<usize> {
    let server = Server::plain(context.port)?;
    let syn = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn";
    let tcpdump = Tcpdump::start("lo", &format!("dst port {} and {syn}", context.port))?;
    let load = Load {
        threads: 4,
        ..Load::v4(context.port, CONNECTIONS)
    };
    load.run()?;
    let served: u64 = server.finish()?.values().sum();
    let shown = tcpdump.finish()?;
    ensure!(
        shown.len() as u64 == served,
        "{served} connections, and {} SYNs: {shown:?}",
        shown.len()
    );
    Ok(shown.len())
}

/// Fills the queue of a server that accepts nothing yet, so that the next client's SYN is
/// dropped, and sent again once there is room.
fn trouble_is_shown(context: &Context) -> Result<(Listener, Counters)> {
    const DELAY: u32 = 10;
    let names = [LISTEN_OVERFLOWS, LISTEN_DROPS];
    let serve = Serve {
        hold: true,
        ..Serve::slowly(DELAY, Family::V4.listen())
    };
    let room = u32::from(serve.backlog) + 1;
    let mut server = Server::start(serve, context.port)?;
    let before = Counters::read(&names)?;
    let clients = Load::v4(context.port, 1);
    let waiting = (0..room)
        .map(|ticket| clients.open(ticket))
        .collect::<Result<Vec<_>>>()?;
    let full = sockets::only_one(context.port)?;
    ensure!(
        full.waiting == u64::from(room)
            && full.backlog == u64::from(serve.backlog)
            && full.drops == 0,
        "not a full queue without a drop: {full:?}"
    );
    let too_many = clients.start()?;
    let dropped_any = || Ok(sockets::only_one(context.port)?.drops > 0);
    poll_until("the server dropped a SYN", dropped_any)?;
    server.release()?;
    for connection in waiting {
        connection.wait_until_served()?;
    }
    too_many.finish()?;
    let counted = Counters::read(&names)?.since(&before)?;
    let after = sockets::only_one(context.port)?;
    let served: u64 = server.finish()?.values().sum();
    ensure!(
        served == u64::from(room) + 1,
        "the server served {served} clients"
    );
    // Nothing else listens in a guest; elsewhere others may be in trouble as well.
    ensure!(
        counted.get(LISTEN_OVERFLOWS)? >= after.drops && counted.get(LISTEN_DROPS)? >= after.drops,
        "the listener's drops {} are not in {counted:?}",
        after.drops
    );
    let drops = after.drops;
    Ok((Listener { drops, ..full }, counted))
}
