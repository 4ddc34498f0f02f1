//! An overloaded server: compares conn-cli with tcpdump, ss and nstat.

use std::net::IpAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use lab::client::Load;
use lab::family::Family;
use lab::peers::counters::{Counters, LISTEN_DROPS, LISTEN_OVERFLOWS};
use lab::peers::handshakes::Handshakes;
use lab::peers::sockets::{self, Listener};
use lab::peers::tcpdump::Tcpdump;
use lab::process::poll_until;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::stages::Stages;
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use crate::context::Context;

/// Clients at the same time.
const CLIENTS: u32 = 200;

/// Time for each client to send a second SYN, a second after the first.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long the server delays each accept, in milliseconds.
const DELAY: u32 = 10;

/// More clients than may wait once the server has stopped, and how long they try.
const LAST_CLIENTS: u32 = 5;
const LAST_CLIENT_TIMEOUT: Duration = Duration::from_millis(200);

/// Two may wait, and the kernel admits one more, rarely two; most clients do not get in.
pub(crate) fn trouble(context: &Context) -> Result<String> {
    let serve = Serve::slow(DELAY, Family::V4.listen());
    let server = Server::start(serve, context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).args(["--funnel", "--json"]))?;
    let stdout = tracer.stdout()?;
    let names = [LISTEN_OVERFLOWS, LISTEN_DROPS];
    let before = (sockets::only_one(context.port)?, Counters::read(&names)?);
    let resets = format!("dst port {} and tcp[tcpflags] & tcp-rst != 0", context.port);
    let filter = format!("{} or ({resets})", Handshakes::filter(context.port));
    let tcpdump = Tcpdump::start("lo", &filter)?;
    connect(context, CLIENTS, CLIENT_TIMEOUT)?;
    server.stop()?;
    connect(context, LAST_CLIENTS, LAST_CLIENT_TIMEOUT)?;
    // From now on, nothing changes.
    let is_reset = |line: &String| line.contains("Flags [R");
    let (resets, lines): (Vec<_>, Vec<_>) = tcpdump.finish()?.into_iter().partition(is_reset);
    let sent = Handshakes::from_lines(&lines, context.port)?;
    let listener = sockets::only_one(context.port)?;
    let counted = Counters::read(&names)?.since(&before.1)?;
    let is_alone = sockets::count_all()? == 1;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    ensure!(
        listener == sockets::only_one(context.port)?,
        "the test is at fault: the listener has changed since {listener:?}"
    );
    let dropped = listener.drops - before.0.drops;
    ensure!(
        listener.waiting > listener.backlog && dropped > 0 && sent.repeated > 0,
        "the test is at fault: the server is not overloaded: {listener:?}, {} SYNs sent again",
        sent.repeated
    );
    // The server now accepts the waiting connections, and counts them with the others.
    server.resume()?;
    let queue_is_empty = || Ok(sockets::only_one(context.port)?.waiting == 0);
    poll_until("the server has accepted all", queue_is_empty)?;
    Load::v4(context.port, 1).run()?;
    let handshakes = server.finish()?.values().sum::<u64>() - 1;
    let syn = sent.syns().len() as u64;
    let accepted = handshakes - listener.waiting;
    let report = Report::new(&ended)?;
    let all = Stages::for_funnel(context.hook, [syn, sent.repeated], handshakes, accepted);
    let expected = all.without_missed(&report)?;
    report
        .check_stages(&expected)
        .with_context(|| ended.stderr.join(" | "))?;
    let printed = Stages::from_stderr(&ended)?;
    ensure!(
        printed == expected,
        "printed {printed} instead of {expected}"
    );
    let clients = sent.syns_by_address();
    let syns = report.counts_for("syn")?;
    ensure!(
        syns == clients,
        "SYNs {syns:?}, where tcpdump shows {clients:?}"
    );
    check_listener(context, &report, &listener, dropped)?;
    let drops = counted.get(LISTEN_DROPS)?;
    check_warning(context, &ended, &listener, dropped, drops)?;
    check_counters(&counted, dropped, resets.len() as u64, is_alone)?;
    Ok(format!(
        "{expected} handshakes={handshakes} waiting={} dropped={dropped} resets={} overflows={} drops={}",
        listener.waiting,
        resets.len(),
        counted.get(LISTEN_OVERFLOWS)?,
        counted.get(LISTEN_DROPS)?
    ))
}

/// This many clients at the same time, from several addresses. Each gives up after `timeout`,
/// whether it connects or waits.
fn connect(context: &Context, clients: u32, timeout: Duration) -> Result<()> {
    let load = Load::v4(context.port, clients);
    let start = Barrier::new(clients as usize);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for ticket in 0..clients {
            let (load, start) = (&load, &start);
            let client = move || {
                start.wait();
                // Failures are what the case is about.
                let connection = load.open_within(ticket, timeout);
                connection.and_then(|connection| connection.wait_until_served())
            };
            threads.push(thread::Builder::new().spawn_scoped(scope, client)?);
        }
        for thread in threads {
            let _ = thread.join().map_err(|_| anyhow!("a client panicked"))?;
        }
        Ok(())
    })
}

/// The listener must be in the summary as ss shows it.
fn check_listener(
    context: &Context,
    report: &Report,
    listener: &Listener,
    dropped: u64,
) -> Result<()> {
    let listeners = report.summary["listeners"]
        .as_array()
        .context("no listeners")?;
    let [reported] = listeners.as_slice() else {
        return Err(anyhow!("not one listener: {listeners:?}"));
    };
    let address: IpAddr = reported["address"]
        .as_str()
        .context("no address")?
        .parse()?;
    ensure!(
        address == Family::V4.listen()
            && reported["port"] == context.port
            && reported["waiting"] == listener.waiting
            && reported["limit"] == listener.backlog
            && reported["dropped"] == dropped,
        "{reported}, where ss shows {listener:?} and {dropped} were dropped meanwhile"
    );
    Ok(())
}

/// The warning at the end must tell the smaller count, that of ss or that of nstat. The latter lacks
/// resets, and natively has drops of other listeners, also later ones.
fn check_warning(
    context: &Context,
    ended: &Ended,
    listener: &Listener,
    dropped: u64,
    drops: u64,
) -> Result<()> {
    let prefix = format!(
        "warning: accept queue of {}:{} ",
        Family::V4.listen(),
        context.port
    );
    let full = format!(
        " is full ({} waiting, backlog {}): ",
        listener.waiting, listener.backlog
    );
    let packets = ended.stderr.iter().find_map(|line| {
        let (_, packets) = line.strip_prefix(&prefix)?.split_once(&full)?;
        let packets = packets.strip_suffix(" packets dropped")?;
        let exactly = packets.strip_prefix("up to ").unwrap_or(packets);
        Some((exactly.parse().ok()?, exactly.len() < packets.len()))
    });
    ensure!(
        packets.is_some_and(|(packets, is_at_most): (u64, bool)| {
            (dropped.min(drops)..=dropped).contains(&packets) && is_at_most == (packets < dropped)
        }),
        "no {full:?} with {dropped} or {drops}: {}",
        ended.stderr.join(" | ")
    );
    Ok(())
}

/// The listener's drops must be in the counters, except for the resets.
///
/// A SYN, or the last packet of a handshake, that finds the queue full increments both counters
/// (`tcp_conn_request`, `tcp_v4_syn_recv_sock`, `tcp_listendrop`). But if the server
/// dropped the last packet of a handshake and the client gives up, the client resets a connection
/// that the listener no longer knows. The kernel drops that reset as well, and increments neither
/// counter (`tcp_rcv_state_process`).
fn check_counters(counted: &Counters, dropped: u64, resets: u64, is_alone: bool) -> Result<()> {
    let (overflows, drops) = (counted.get(LISTEN_OVERFLOWS)?, counted.get(LISTEN_DROPS)?);
    // The counters include the drops of other listeners.
    let is_all = overflows == drops && drops <= dropped;
    ensure!(
        dropped <= drops + resets && (is_all || !is_alone),
        "dropped {dropped}, with {resets} resets, where nstat shows {counted:?}"
    );
    Ok(())
}
