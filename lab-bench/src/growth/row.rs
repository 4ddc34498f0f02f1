//! A row of `--interval` with very many clients: how long conn-cli is busy with it, and reads no records.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{bind, connect, sockopt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Bench;
use crate::sockets::tcp;
use crate::table::Table;

/// How long clients connect, in seconds, and how long conn-cli then has nothing to do before the row.
const LOAD: u64 = 60;
const SHORT_LOAD: u64 = 5;
const SILENCE: u64 = 3;

impl Bench {
    pub(super) fn row(&self) -> Result<Table> {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = server.local_addr()?.port();
        let load = if self.is_short { SHORT_LOAD } else { LOAD };
        let (length, end) = interval(load + SILENCE)?;
        let mut conn_cli = Command::new(&self.conn_cli)
            .args(["--json", "--port", &port.to_string()])
            .args(["--interval", &format!("{length}s")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.conn_cli.display()))?;
        let row = time_row(&mut conn_cli, &server, end);
        let pid = Pid::from_raw(conn_cli.id().cast_signed()).context("no process")?;
        kill_process(pid, Signal::INT)?;
        conn_cli.wait()?;
        let (clients, time) = row?;
        let mut table = Table::new(&["clients in a row of --interval", "ms"]);
        let milliseconds = format!("{:.1}", time.as_secs_f64() * 1e3);
        table.row(vec![clients.to_string(), milliseconds]);
        Ok(table)
    }
}

/// Connects from different addresses until shortly before the row, and returns how many these were, and for how
/// long the row kept conn-cli busy.
fn time_row(conn_cli: &mut Child, server: &TcpListener, end: Duration) -> Result<(u32, Duration)> {
    let stdout = BufReader::new(conn_cli.stdout.take().context("no pipe")?);
    let mut stderr = BufReader::new(conn_cli.stderr.take().context("no pipe")?);
    let mut ready = String::new();
    stderr.read_line(&mut ready)?;
    thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    let first = Ipv4Addr::new(127, 1, 0, 0).to_bits();
    let mut clients = 0;
    while since_epoch()? + Duration::from_secs(SILENCE) < end {
        connect_once(Ipv4Addr::from_bits(first + clients), server)?;
        clients += 1;
    }
    let silence = end.checked_sub(since_epoch()? + Duration::from_secs(1));
    thread::sleep(silence.context("the last client took too long")?);
    let before = busy(conn_cli.id())?;
    let row = stdout.lines().next().context("no row")??;
    let time = busy(conn_cli.id())?.saturating_sub(before);
    let row: Value = serde_json::from_str(&row)?;
    ensure!(row["addresses"] == clients, "not {clients} clients: {row}");
    Ok((clients, time))
}

/// The length in seconds of intervals of which one ends soon, but not before so many seconds; and when.
fn interval(least: u64) -> Result<(u64, Duration)> {
    let now = since_epoch()?.as_secs();
    // Those that do not divide a day begin at multiples since 1970.
    let lengths = (least..).filter(|length| 86_400 % length != 0);
    let mut ends = lengths.map(|length| (length, now + length - now % length));
    let is_near = |(_, end): &(u64, u64)| (least..least + 10).contains(&(end - now));
    let (length, end) = ends.find(is_near).context("no such interval")?;
    Ok((length, Duration::from_secs(end)))
}

fn since_epoch() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Connects from this address, and resets the connection, which leaves nothing behind.
fn connect_once(client: Ipv4Addr, server: &TcpListener) -> Result<()> {
    let socket = tcp()?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    bind(&socket, &SocketAddrV4::new(client, 0)).context("cannot bind")?;
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.local_addr()?.port());
    connect(&socket, &address).context("cannot connect")?;
    server.accept().context("cannot accept")?;
    Ok(())
}

/// How long the first thread of a process, which reads the ring buffer, has had a processor
/// (`Documentation/scheduler/sched-stats.rst`).
fn busy(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat"))?;
    let nanoseconds = stat
        .split_whitespace()
        .next()
        .context("an empty schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
