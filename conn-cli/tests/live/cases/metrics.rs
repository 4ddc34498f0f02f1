//! Metrics while connections arrive.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::process::{Lines, Process};
use lab::report::Report;
use lab::scrape::{self, ask, scrape};
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::context::Context;

const CONNECTIONS: u32 = 2000;

/// The time between two scrapes.
const INTERVAL: Duration = Duration::from_millis(20);

/// How many scrapers do nothing at once.
const STALLED: usize = 10_000;

/// How much memory they may take, in KiB.
const MAX_GROWTH: u64 = 16 * 1024;

/// conn-cli with metrics on the port after the server's.
fn conn_cli(context: &Context) -> (Command, u16) {
    let port = context.port + 1;
    let mut command = context.conn_cli(context.port);
    command.args(["--metrics", &port.to_string()]);
    (command, port)
}

/// Scraped fifty times a second, metrics have every connection in the end, never go back, and make nothing be
/// missed.
pub(crate) fn scraped(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let (mut command, port) = conn_cli(context);
    command.args([
        "--json",
        "--name",
        "here=127.0.0.0/8",
        "--metrics-clients",
        "3",
    ]);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    let load = Load::v4(context.port, CONNECTIONS).start()?;
    let mut last = scrape(port)?;
    let mut scrapes = 1;
    while !load.is_finished() {
        let next = scrape(port)?;
        next.check_since(&last)?;
        (last, scrapes) = (next, scrapes + 1);
        // How often they scrape is what the case is about.
        thread::sleep(INTERVAL);
    }
    load.finish()?;
    let served = server.finish()?;
    // Nothing changes any more.
    let end = scrape(port)?;
    end.check_since(&last)?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let report = Report::new(&ended)?;
    let figures = report.check(&served)?;
    let total: u64 = served.values().sum();
    let series = format!("port=\"{}\",network_name=\"here\"", context.port);
    for (name, labels) in [
        ("conn_cli_connections_total", ""),
        ("conn_cli_connections_total", &*series),
        ("conn_cli_client_connections_total", ""),
    ] {
        let sum = end.sum(name, labels)?;
        ensure!(
            sum == total as f64,
            "{sum} in {name} with {labels}: {figures}"
        );
    }
    let first: f64 = served
        .keys()
        .take(3)
        .map(|address| {
            let client = format!("client=\"{address}\"");
            end.sum("conn_cli_client_connections_total", &client)
                .unwrap_or_default()
        })
        .sum();
    ensure!(first > 0.0, "no client has a series of its own: {end:?}");
    ensure!(
        end.sum("conn_cli_new_clients_total", "")? == served.len() as f64,
        "not {} clients: {end:?}",
        served.len()
    );
    ensure!(
        end.sum("conn_cli_not_shown_total", "")? == figures.not_shown as f64,
        "not the lines that were lost: {figures}"
    );
    if context.hook.sees_accepts() {
        let waits = &report.summary["waits"]["known"];
        let known = end.sum("conn_cli_accept_wait_seconds_count", "")?;
        ensure!(*waits == known as u64, "{known} waits, not {waits}");
        let sum = end.sum("conn_cli_accept_wait_seconds_sum", "")?;
        ensure!(sum > 0.0 || known == 0.0, "no sum of waits");
    } else {
        ensure!(
            !end.has("conn_cli_accept_wait_seconds_count"),
            "waits of no accepts"
        );
    }
    ensure!(
        scrape::connect(port).is_err(),
        "somebody still serves metrics"
    );
    Ok(format!("{figures}, {scrapes} scrapes"))
}

/// What scrapers do wrong or not at all costs little memory, and stops neither lines nor other scrapers. A
/// standard output that nobody reads stops no scrape.
pub(crate) fn stalled(context: &Context) -> Result<String> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    setrlimit(Resource::Nofile, raised)?;
    let server = Server::plain(context.port)?;
    let (mut command, port) = conn_cli(context);
    let tracer = Tracer::start(command.arg("--json"))?;
    wrong(port)?;
    let resident = resident(tracer.pid())?;
    let most = before.maximum.map_or(STALLED, |limit| limit as usize / 2);
    let mut scrapers = Vec::new();
    for number in 0..STALLED.min(most) {
        let mut scraper = scrape::connect(port)?;
        let parts = [
            "",
            "GET /met",
            "GET /metrics HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: ",
        ];
        // It may have been closed, to make room for the others.
        let _ = scraper.write_all(parts[number % parts.len()].as_bytes());
        scrapers.push(scraper);
    }
    // Far more lines than a pipe takes, which nobody reads yet.
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let total: u64 = served.values().sum();
    let sum = scrape(port)?.sum("conn_cli_connections_total", "")?;
    ensure!(sum == total as f64, "{sum} connections, not {total}");
    let growth = self::resident(tracer.pid())?.saturating_sub(resident);
    ensure!(
        growth < MAX_GROWTH,
        "{growth} KiB for {} scrapers",
        scrapers.len()
    );
    let mut tracer = tracer;
    let stdout = tracer.stdout()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    let figures = report.check(&served)?;
    Ok(format!(
        "{figures}, {growth} KiB for {} scrapers",
        scrapers.len()
    ))
}

/// Wrong requests are answered as such.
fn wrong(port: u16) -> Result<()> {
    let long = format!(
        "GET /metrics HTTP/1.1\r\nA: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    for (request, status) in [
        ("GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "),
        ("GET /metrics?a=b HTTP/1.1\r\n\r\n", "HTTP/1.1 200 "),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 "),
        ("GET /metric HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
        (
            "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 405 ",
        ),
        ("GET /metrics\r\n\r\n", "HTTP/1.1 400 "),
        ("\x16\x03\x01\x02\r\n\r\n", "HTTP/1.1 400 "),
    ] {
        let answer = ask(port, request)?;
        ensure!(
            answer.head.starts_with(status),
            "{request:?}: {}",
            answer.head
        );
    }
    // It may be closed before all of it is sent.
    if let Ok(answer) = ask(port, &long) {
        ensure!(answer.head.starts_with("HTTP/1.1 431 "), "{}", answer.head);
    }
    let head = ask(port, "HEAD /metrics HTTP/1.1\r\n\r\n")?;
    ensure!(
        head.body.is_empty() && head.head.contains("content-length: "),
        "{head:?}"
    );
    let accept = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n";
    let answer = ask(port, accept)?;
    ensure!(answer.body.ends_with(b"# EOF\n"), "{}", answer.head);
    Ok(())
}

/// The memory of a process in KiB.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.context("no VmRSS")?.parse().context("no number")
}

/// No scrape makes a system call of eBPF.
pub(crate) fn system_calls(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let (mut command, port) = conn_cli(context);
    let mut tracer = Tracer::start(command.arg("--json"))?;
    let stdout = tracer.stdout()?;
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-e",
            "trace=bpf,accept4",
            "-p",
            &tracer.pid().to_string(),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut strace = Process::spawn("strace", &mut strace)?;
    let stderr = strace.child.stderr.take().context("no pipe")?;
    let calls = Lines::of("strace", stderr);
    let mut attached = 0;
    // The thread that serves is another one.
    while attached < 2 {
        let line = calls.next()?.context("strace has ended")?;
        attached += line.matches(" attached").count() + line.matches(" new thread").count();
    }
    let load = Load::v4(context.port, 100).start()?;
    let mut scrapes = 0;
    while !load.is_finished() || scrapes < 10 {
        scrape(port)?;
        scrapes += 1;
    }
    load.finish()?;
    strace.signal(Signal::INT)?;
    let lines = calls.rest()?;
    let count = |call: &str| lines.iter().filter(|line| line.contains(call)).count();
    ensure!(
        count("accept4(") >= scrapes,
        "the test is at fault: {lines:?}"
    );
    ensure!(count("bpf(") == 0, "{lines:?}");
    let served = server.finish()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    Ok(format!("{}, {scrapes} scrapes", report.check(&served)?))
}

/// An address that is in use is no reason to trace without metrics, and the file of a socket is removed.
pub(crate) fn endpoints(context: &Context) -> Result<String> {
    let path = std::env::temp_dir().join(format!("conn-cli-{}.sock", context.port));
    let endpoint = format!("unix:{}", path.display());
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start(command.args(["--json", "--metrics", &endpoint]))?;
    let stdout = tracer.stdout()?;
    let mut stream = std::os::unix::net::UnixStream::connect(&path)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains("\nconn_cli_self_test_ok 1\n"), "{answer}");
    let second = lab::tracer::run_to_end(&mut command)?;
    let said = second.stderr.join(" | ");
    ensure!(
        second.status.code() == Some(1) && said.contains("cannot serve metrics at unix:"),
        "{}: {said}",
        second.status
    );
    let ended = tracer.finish(Signal::INT, &stdout)?;
    ended.check_code()?;
    ensure!(!path.exists(), "the socket is still there");
    let port = context.port + 1;
    let taken = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let (mut command, _) = conn_cli(context);
    let second = lab::tracer::run_to_end(&mut command)?;
    let said = second.stderr.join(" | ");
    drop(taken);
    ensure!(
        second.status.code() == Some(1) && said.contains("Address already in use"),
        "{}: {said}",
        second.status
    );
    Ok(said)
}
