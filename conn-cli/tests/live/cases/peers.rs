//! Checks the programs that measure what conn-cli must report against known figures: if this fails,
//! the test is at fault.

use anyhow::{Result, ensure};
use lab::client::Load;
use lab::family::Family;
use lab::peers::counters::{Counters, LISTEN_DROPS, LISTEN_OVERFLOWS};
use lab::peers::sockets::{self, Listener};
use lab::peers::tcpdump::Tcpdump;
use lab::process::poll_until;
use lab::server::{Serve, Server};

use crate::context::Context;

const CONNECTIONS: u32 = 200;

/// tcpdump must show each SYN, and ss and nstat an overloaded server.
pub(crate) fn peers(context: &Context) -> Result<String> {
    let syns = syns_are_shown(context)?;
    let (listener, counted) = overload_is_shown(context)?;
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

/// Fills the queue of a server that does not accept yet, so that the next client's SYN is dropped,
/// and sent again once there is room.
fn overload_is_shown(context: &Context) -> Result<(Listener, Counters)> {
    const DELAY: u32 = 10;
    let names = [LISTEN_OVERFLOWS, LISTEN_DROPS];
    let serve = Serve {
        hold: true,
        ..Serve::slow(DELAY, Family::V4.listen())
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
        "the queue is not full, or SYNs were dropped: {full:?}"
    );
    let extra_client = clients.start()?;
    let dropped_any = || Ok(sockets::only_one(context.port)?.drops > 0);
    poll_until("the server dropped a SYN", dropped_any)?;
    server.release()?;
    for connection in waiting {
        connection.wait_until_served()?;
    }
    extra_client.finish()?;
    let counted = Counters::read(&names)?.since(&before)?;
    let after = sockets::only_one(context.port)?;
    let served: u64 = server.finish()?.values().sum();
    ensure!(
        served == u64::from(room) + 1,
        "the server served {served} clients"
    );
    // In a guest, nothing else listens; natively, other listeners may drop packets as well.
    ensure!(
        counted.get(LISTEN_OVERFLOWS)? >= after.drops && counted.get(LISTEN_DROPS)? >= after.drops,
        "the listener's drops {} are not in {counted:?}",
        after.drops
    );
    let drops = after.drops;
    Ok((Listener { drops, ..full }, counted))
}
