//! An accept queue that overflows while connections are accepted elsewhere: conn-cli warns, and tells as
//! many drops as ss and nstat. Drops that are no lost connections are no reason to warn.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use lab::client::Load;
use lab::peers::counters::{Counters, LISTEN_DROPS, LISTEN_OVERFLOWS};
use lab::peers::sockets;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use crate::context::Context;

/// Of the server that does not accept.
const FULL: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 81));

/// Of another one, whose clients leave conn-cli no silence.
const BUSY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 82));

/// Clients that find no room, and how long they try: long enough for a second SYN.
const CLIENTS: u32 = 5;
const CLIENT_TIMEOUT: Duration = Duration::from_millis(1500);

pub(crate) fn warnings(context: &Context) -> Result<String> {
    let full = Serve {
        hold: true,
        ..Serve::slow(0, FULL)
    };
    let (backlog, room) = (full.backlog, u32::from(full.backlog) + 1);
    let full = Server::start(full, context.port)?;
    let busy = Server::start(Serve::threads(4, BUSY), context.port)?;
    let mut rows =
        Tracer::start(
            context
                .conn_cli(context.port)
                .args(["--json", "--interval", "1s"]),
        )?;
    let mut quiet = Tracer::start(context.conn_cli(context.port).arg("--quiet"))?;
    let stdouts = [rows.stdout()?, quiet.stdout()?];
    let names = [LISTEN_OVERFLOWS, LISTEN_DROPS];
    let before = Counters::read(&names)?;
    let to = |address| Load {
        to: Some(address),
        ..Load::v4(context.port, u32::MAX)
    };
    let load = to(BUSY).start()?;
    let clients = to(FULL);
    let waiting = (0..room)
        .map(|ticket| clients.open(ticket))
        .collect::<Result<Vec<_>>>()?;
    overflow(&clients)?;
    // From now on, nothing is dropped.
    let listener = sockets::listeners(context.port)?
        .into_iter()
        .find(|listener| listener.local.starts_with(&FULL.to_string()))
        .context("ss does not show the listener")?;
    ensure!(
        listener.waiting == u64::from(room) && listener.drops > u64::from(CLIENTS),
        "the test is at fault: the queue did not overflow twice for each client: {listener:?}"
    );
    let name = format!("{FULL}:{} ", context.port);
    let is_full = format!(
        "[{}] is full ({room} waiting, backlog {backlog}): ",
        full.pid()
    );
    for tracer in [&mut rows, &mut quiet] {
        let mut warned = 0;
        while warned < listener.drops {
            let line = tracer.wait_for("warning: accept queue of ")?;
            ensure!(line.contains(&name) && line.contains(&is_full), "{line}");
            ensure!(line.contains(" in the last "), "{line}");
            warned += packets(&line)?;
        }
        ensure!(warned == listener.drops, "{warned} of {listener:?}");
    }
    load.stop();
    let served = load.finish()?;
    let counted = Counters::read(&names)?.since(&before)?;
    let (rows, quiet) = {
        let [of_rows, of_quiet] = &stdouts;
        (
            rows.finish(Signal::INT, of_rows)?,
            quiet.finish(Signal::INT, of_quiet)?,
        )
    };
    drop(waiting);
    drop(full);
    ensure!(busy.finish()? == served, "the test is at fault");
    let report = Report::new(&rows)?;
    let dropped = report
        .intervals
        .iter()
        .filter_map(|row| row["dropped"].as_u64());
    let in_rows: u64 = dropped.sum();
    ensure!(
        in_rows == listener.drops,
        "{in_rows} dropped in the rows, where ss shows {listener:?}: {:?}",
        report.intervals
    );
    for ended in [&rows, &quiet] {
        let at_end = at_end(ended, &name, &is_full)?;
        ensure!(
            at_end == listener.drops,
            "{at_end}, where ss shows {listener:?}"
        );
    }
    // Natively, other listeners may drop packets as well.
    let (overflows, drops) = (counted.get(LISTEN_OVERFLOWS)?, counted.get(LISTEN_DROPS)?);
    ensure!(
        overflows >= listener.drops && drops >= listener.drops,
        "{listener:?}, where nstat shows {counted:?}"
    );
    Ok(format!(
        "drops={} overflows={overflows} served={}",
        listener.drops,
        served.values().sum::<u64>()
    ))
}

/// Clients that find the queue full, and give up.
fn overflow(load: &Load) -> Result<()> {
    thread::scope(|scope| {
        let open = |ticket| move || load.open_within(ticket, CLIENT_TIMEOUT).is_ok();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|ticket| scope.spawn(open(ticket)))
            .collect();
        for client in clients {
            let connected = client.join().map_err(|_| anyhow!("a client panicked"))?;
            ensure!(
                !connected,
                "the test is at fault: there was room for a client"
            );
        }
        Ok(())
    })
}

/// The packets of the only warning without a time.
fn at_end(ended: &Ended, name: &str, is_full: &str) -> Result<u64> {
    let warnings: Vec<_> = ended
        .stderr
        .iter()
        .filter(|line| line.contains(is_full) && !line.contains(" in the last "))
        .collect();
    let [line] = warnings.as_slice() else {
        return Err(anyhow!(
            "not one warning at the end: {}",
            ended.stderr.join(" | ")
        ));
    };
    let expected = format!("warning: accept queue of {name}");
    ensure!(line.starts_with(&expected), "{line}");
    packets(line)
}

/// The number before ` packets dropped`.
fn packets(line: &str) -> Result<u64> {
    let number = line
        .split(" packet")
        .next()
        .and_then(|text| text.split(' ').next_back());
    let number = number.with_context(|| format!("no packets: {line}"))?;
    number
        .parse()
        .with_context(|| format!("no number of packets: {line}"))
}

/// The kernel drops the bare last packet of each handshake, as the server wants it: nobody is warned.
pub(crate) fn deferred(context: &Context) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, context.port))?;
    let seconds: libc::c_int = 5;
    // SAFETY: the value is an int, as TCP_DEFER_ACCEPT takes, and outlives the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    ensure!(result == 0, "cannot defer accepts");
    let before = Counters::read(&[LISTEN_DROPS])?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).arg("--quiet"))?;
    let stdout = tracer.stdout()?;
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        client.write_all(b"x")?;
        listener.accept()?;
    }
    let drops = sockets::only_one(context.port)?.drops;
    ensure!(
        drops == u64::from(CLIENTS),
        "the test is at fault: {drops} packets dropped"
    );
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let lost = Counters::read(&[LISTEN_DROPS])?
        .since(&before)?
        .get(LISTEN_DROPS)?;
    let stderr = ended.stderr.join(" | ");
    // Natively, other listeners may have dropped packets meanwhile.
    ensure!(lost > 0 || !stderr.contains("dropped"), "{stderr}");
    ensure!(stderr.contains(": accept queue 0/"), "{stderr}");
    let limit = of_another_port(context, &listener)?;
    Ok(format!("drops={drops} lost={lost} | {limit}"))
}

/// A listener on another port overflows meanwhile, and is gone at the end: that is no drop of this one
/// for certain, and is in the rows of both only once.
fn of_another_port(context: &Context, listener: &TcpListener) -> Result<String> {
    let other = context.port + 1;
    let ports = format!("{},{other}", context.port);
    let before = Counters::read(&[LISTEN_DROPS])?;
    let mut one = Tracer::start(context.conn_cli(context.port).arg("--quiet"))?;
    let mut both = Tracer::start(context.conn_cli(context.port).args([
        "--port",
        &ports,
        "--json",
        "--interval",
        "1s",
    ]))?;
    let stdouts = [one.stdout()?, both.stdout()?];
    both.wait_for("listening: ")?;
    one.wait_for("listening: ")?;
    let full = Serve {
        hold: true,
        ..Serve::slow(0, FULL)
    };
    let room = u32::from(full.backlog) + 1;
    let full = Server::start(full, other)?;
    let clients = Load {
        to: Some(FULL),
        ..Load::v4(other, u32::MAX)
    };
    let waiting = (0..room)
        .map(|ticket| clients.open(ticket))
        .collect::<Result<Vec<_>>>()?;
    overflow(&clients)?;
    let real = sockets::only_one(other)?.drops;
    for _ in 0..2 * real {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        client.write_all(b"x")?;
        listener.accept()?;
    }
    both.wait_for(&format!("warning: accept queue of {FULL}:{other} "))?;
    drop(waiting);
    full.finish()?;
    let one = one.finish(Signal::INT, &stdouts[0])?;
    let both = both.finish(Signal::INT, &stdouts[1])?;
    let lost = Counters::read(&[LISTEN_DROPS])?
        .since(&before)?
        .get(LISTEN_DROPS)?;
    let blamed = one
        .stderr
        .iter()
        .find(|line| line.contains(" dropped up to ") && line.ends_with(", on any port"));
    let blamed = blamed.with_context(|| format!("no limit: {:?}", one.stderr))?;
    let report = Report::new(&both)?;
    let rows = report.intervals.iter();
    let in_rows: u64 = rows.filter_map(|row| row["dropped"].as_u64()).sum();
    ensure!(
        (real..=lost).contains(&in_rows),
        "{in_rows} in the rows, where {real} of {lost} were dropped there"
    );
    let sum = "all listeners in this network namespace: ";
    ensure!(
        both.stderr.iter().any(|line| line.starts_with(sum)),
        "nothing about the listener that is gone: {:?}",
        both.stderr
    );
    Ok(blamed.clone())
}
