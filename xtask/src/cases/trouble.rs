//! A server that has more clients than it accepts, held against tcpdump, ss and nstat.

use std::net::IpAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::Signal;

use super::client::Load;
use super::exact::Family;
use super::peers::counters::{Counters, LISTEN_DROPS, LISTEN_OVERFLOWS};
use super::peers::handshakes::Handshakes;
use super::peers::sockets::{self, Listener};
use super::peers::tcpdump::Tcpdump;
use super::plan::Context;
use super::process::poll_until;
use super::report::Report;
use super::server::{Serve, Server};
use super::stages::Stages;
use super::tracer::{Ended, Tracer};

/// Clients at the same time.
const CLIENTS: u32 = 200;

/// Time for each to ask a second time, a second after the first.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long the server lets each connection wait, in milliseconds.
const DELAY: u32 = 10;

/// More than may wait once the server has stopped, and how long these try.
const LAST_CLIENTS: u32 = 5;
const LAST_PATIENCE: Duration = Duration::from_millis(200);

/// Two may wait, and the kernel lets one more, rarely two; most clients do not get in.
pub(super) fn trouble(context: &Context) -> Result<String> {
    let serve = Serve::slowly(DELAY, Family::V4.listen());
    let server = Server::start(serve, context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).args(["--funnel", "--json"]))?;
    let stdout = tracer.stdout()?;
    let names = [LISTEN_OVERFLOWS, LISTEN_DROPS];
    let before = (sockets::only_one(context.port)?, Counters::read(&names)?);
    let resets = format!("dst port {} and tcp[tcpflags] & tcp-rst != 0", context.port);
    let filter = format!("{} or ({resets})", Handshakes::filter(context.port));
    let tcpdump = Tcpdump::start("lo", &filter)?;
    connect(context, CLIENTS, PATIENCE)?;
    server.stop()?;
    connect(context, LAST_CLIENTS, LAST_PATIENCE)?;
    // From now on nothing moves.
    let is_reset = |line: &String| line.contains("Flags [R");
    let (resets, lines): (Vec<_>, Vec<_>) = tcpdump.finish()?.into_iter().partition(is_reset);
    let sent = Handshakes::of(&lines, context.port)?;
    let listener = sockets::only_one(context.port)?;
    let counted = Counters::read(&names)?.since(&before.1)?;
    let is_alone = sockets::all()? == 1;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    ensure!(
        listener == sockets::only_one(context.port)?,
        "the test is at fault: {listener:?} has moved on"
    );
    let dropped = listener.drops - before.0.drops;
    ensure!(
        listener.waiting > listener.backlog && dropped > 0 && sent.repeated > 0,
        "the test is at fault: no trouble: {listener:?}, {} SYNs sent again",
        sent.repeated
    );
    // Those that waited are accepted now, and the server counts them with the others.
    server.resume()?;
    let nobody_waits = || Ok(sockets::only_one(context.port)?.waiting == 0);
    poll_until("the server has accepted all", nobody_waits)?;
    Load::v4(context.port, 1).run()?;
    let handshakes = server.finish()?.values().sum::<u64>() - 1;
    let syn = sent.asked().len() as u64;
    let accepted = handshakes - listener.waiting;
    let report = Report::of(&ended)?;
    let all = Stages::of_funnel(context.hook, [syn, sent.repeated], handshakes, accepted);
    let expected = all.less_missed(&report)?;
    report
        .check_stages(&expected)
        .with_context(|| ended.stderr.join(" | "))?;
    let said = Stages::said(&ended)?;
    ensure!(said == expected, "said {said} instead of {expected}");
    let clients = sent.asked_by_address();
    let asked = report.counts_of("syn")?;
    ensure!(
        asked == clients,
        "{asked:?} asked, where tcpdump shows {clients:?}"
    );
    check_listener(context, &report, &ended, &listener, dropped)?;
    check_counters(&counted, dropped, resets.len() as u64, is_alone)?;
    Ok(format!(
        "{expected} handshakes={handshakes} waiting={} dropped={dropped} resets={} overflows={} drops={}",
        listener.waiting,
        resets.len(),
        counted.get(LISTEN_OVERFLOWS)?,
        counted.get(LISTEN_DROPS)?
    ))
}

/// So many clients at the same time, from several addresses, each of which gives up after a
/// while, whether it asks or waits.
fn connect(context: &Context, clients: u32, patience: Duration) -> Result<()> {
    let load = Load::v4(context.port, clients);
    let start = Barrier::new(clients as usize);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for ticket in 0..clients {
            let (load, start) = (&load, &start);
            let client = move || {
                start.wait();
                // That it fails is what the case is about.
                let connection = load.open_within(ticket, patience);
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

/// Who listens must be told as ss tells it, in the summary and in words.
fn check_listener(
    context: &Context,
    report: &Report,
    ended: &Ended,
    listener: &Listener,
    dropped: u64,
) -> Result<()> {
    let listeners = report.summary["listeners"]
        .as_array()
        .context("no listeners")?;
    let [told] = listeners.as_slice() else {
        return Err(anyhow!("not one listener: {listeners:?}"));
    };
    let address: IpAddr = told["address"].as_str().context("no address")?.parse()?;
    ensure!(
        address == Family::V4.listen()
            && told["port"] == context.port
            && told["waiting"] == listener.waiting
            && told["limit"] == listener.backlog
            && told["dropped"] == dropped,
        "{told}, where ss shows {listener:?} and {dropped} were dropped meanwhile"
    );
    let expected = format!(
        "{} waiting of {} that may, {dropped} packets dropped",
        listener.waiting, listener.backlog
    );
    let begins = format!("{address}:{} ", context.port);
    ensure!(
        ended
            .stderr
            .iter()
            .any(|line| line.starts_with(&begins) && line.ends_with(&expected)),
        "no {expected:?} of {begins:?}: {}",
        ended.stderr.join(" | ")
    );
    Ok(())
}

/// What the listener has dropped must be in the counters, less the resets.
///
/// A SYN, or the last packet of a handshake, that finds too many waiting adds one to each
/// (`tcp_conn_request`, `tcp_v4_syn_recv_sock`, `tcp_listendrop`). But a client that gives up a
/// connection, of which the server dropped the last packet, resets what the listener no longer
/// knows, and that is dropped as well and is in no counter (`tcp_rcv_state_process`).
fn check_counters(counted: &Counters, dropped: u64, resets: u64, is_alone: bool) -> Result<()> {
    let (overflows, drops) = (counted.get(LISTEN_OVERFLOWS)?, counted.get(LISTEN_DROPS)?);
    // Where others listen, theirs are in the counters, too.
    let is_all = overflows == drops && drops <= dropped;
    ensure!(
        dropped <= drops + resets && (is_all || !is_alone),
        "dropped {dropped}, with {resets} resets, where nstat shows {counted:?}"
    );
    Ok(())
}
