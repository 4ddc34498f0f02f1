//! `--over`: who makes too many connections in an interval is told at once, and nobody else.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::family::Family;
use lab::process::Lines;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::{Ended, Tracer, run_to_end};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::context::Context;
use crate::rfc3339;

const LIMIT: u32 = 100;

/// How many connections each client makes, by the last byte of its address.
const CLIENTS: [(u8, u32); 4] = [(2, LIMIT - 1), (3, LIMIT), (4, LIMIT + 1), (5, 10 * LIMIT)];

/// No run of a case lasts until the next one, unless it is at midnight.
const DAY: &str = "24h";

const THREADS: u32 = 4;

/// As long as an interval should be in which something is expected.
const INTERVAL: Duration = Duration::from_secs(3);

/// The fields of a line that say who.
const WHO: [&str; 4] = ["address", "network", "network_name", "port"];

/// How often connections are made until they fit into one.
const MAX_ATTEMPTS: u32 = 10;

fn client(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn load(context: &Context, last: u8, connections: u32) -> Load {
    Load {
        from: vec![client(last)],
        threads: THREADS,
        ..Load::v4(context.port, connections)
    }
}

fn server(context: &Context) -> Result<Server> {
    Server::start(Serve::threads(THREADS, Family::V4.listen()), context.port)
}

/// Who is over, with the number of connections that are told.
fn told(report: &Report) -> Result<BTreeMap<IpAddr, u64>> {
    let mut told = BTreeMap::new();
    for line in &report.overs {
        let address = line["address"].as_str().context("no address")?.parse()?;
        let connections = line["connections"].as_u64().context("no number")?;
        let is_as_asked = line["above"] == true && line["limit"] == LIMIT;
        ensure!(is_as_asked, "not what was asked for: {line}");
        ensure!(
            told.insert(address, connections).is_none(),
            "{address} is told twice: {:?}",
            report.overs
        );
    }
    Ok(told)
}

/// One fewer than the limit, as many, one more, and many more.
pub(crate) fn told_at_once(context: &Context) -> Result<String> {
    let server = server(context)?;
    let option = ["--over", &format!("{LIMIT}/{DAY}")];
    let mut json = Tracer::start(context.conn_cli(context.port).args(option).arg("--json"))?;
    let mut text = Tracer::start(context.conn_cli(context.port).args(option).arg("--quiet"))?;
    let (json_lines, text_lines) = (json.stdout()?, text.stdout()?);
    let mut made = Counts::new();
    for (last, connections) in CLIENTS {
        made.extend(load(context, last, connections).run()?);
    }
    let served = server.finish()?;
    ensure!(served == made, "served {served:?}, made {made:?}");
    let json = json.finish(Signal::INT, &json_lines)?;
    let report = Report::new(&json)?;
    // The tracepoint may miss some.
    let figures = report.check(&served)?;
    let expected: Vec<IpAddr> = { made.iter() }
        .filter(|(_, connections)| **connections > u64::from(LIMIT))
        .map(|(address, _)| *address)
        .collect();
    let told = told(&report)?;
    ensure!(
        told.keys().eq(&expected),
        "told {told:?}, and made {made:?}"
    );
    // Each of the server's threads may count before one of them tells.
    let soon = u64::from(LIMIT + 1)..=u64::from(LIMIT + THREADS);
    ensure!(
        told.values().all(|connections| soon.contains(connections)),
        "told late: {told:?}"
    );
    is_before_the_rest(&json, client(5))?;
    let text = text.finish(Signal::INT, &text_lines)?;
    let in_text: Vec<&str> = { text.stdout.iter() }
        .take_while(|line| !line.is_empty())
        .map(String::as_str)
        .collect();
    ensure!(in_text.len() == expected.len(), "{in_text:?}");
    for address in &expected {
        let word = format!(" {address}: more than {LIMIT} ");
        let to = format!(" to port {} in 24 h (since 00:00:00)", context.port);
        ensure!(
            { in_text.iter() }.any(|line| line.contains(&word) && line.ends_with(&to)),
            "nothing like {word:?} with {to:?}: {in_text:?}"
        );
    }
    for ended in [&json, &text] {
        read_back(context, ended, served.values().sum())?;
    }
    Ok(format!("{figures} told={told:?}"))
}

/// The line comes among the connections, when it is known.
fn is_before_the_rest(ended: &Ended, address: IpAddr) -> Result<()> {
    let mut before = 0;
    for line in &ended.stdout {
        let line: Value = serde_json::from_str(line)?;
        match line["type"].as_str() {
            Some("connection") if line["remote_address"] == address.to_string() => before += 1,
            Some("over") if line["address"] == address.to_string() => {
                ensure!(before <= LIMIT + THREADS, "{before} connections before");
                return Ok(());
            }
            _ => (),
        }
    }
    bail!("{address} is not told")
}

/// `conn-cli read` finds as many connections in the output of a run.
fn read_back(context: &Context, ended: &Ended, connections: u64) -> Result<()> {
    let file = format!("conn-cli-over-{}", std::process::id());
    let file = std::env::temp_dir().join(file);
    fs::write(&file, ended.stdout.join("\n") + "\n")?;
    let mut command = Command::new(&context.conn_cli);
    let read = run_to_end(
        command
            .args(["read", "--quiet", "--strict", "--json"])
            .arg(&file),
    );
    fs::remove_file(&file)?;
    let report = Report::new(&read?)?;
    ensure!(
        report.number("connections")? == connections && report.number("not_understood")? == 0,
        "read {} and not {connections}",
        report.summary
    );
    Ok(())
}

/// The number of the interval that this time is in.
fn interval(time: Duration) -> u64 {
    time.as_secs() / INTERVAL.as_secs()
}

fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// In each interval once, and once when it is below again.
pub(crate) fn below_again(context: &Context) -> Result<String> {
    // A guest without much of a processor makes these within an interval.
    const LIMIT: u32 = 10;
    for _ in 0..MAX_ATTEMPTS {
        let server = server(context)?;
        let mut command = context.conn_cli(context.port);
        let over = format!("{LIMIT}/{}s", INTERVAL.as_secs());
        let mut tracer =
            Tracer::start(command.args(["--quiet", "--json", "--utc", "--over", &over]))?;
        let lines = tracer.stdout()?;
        let mut shown = Vec::new();
        let begun = now()?;
        load(context, 2, 3 * LIMIT).run()?;
        load(context, 3, LIMIT).run()?;
        let first = interval(begun);
        if interval(now()?) != first {
            // In which interval each of them was is not known.
            continue;
        }
        let above = next(&lines, &mut shown)?;
        check(&above, true, first)?;
        let below = next(&lines, &mut shown)?;
        check(&below, false, first + 1)?;
        let begun = now()?;
        load(context, 2, LIMIT + 1).run()?;
        let again = interval(begun);
        if interval(now()?) != again {
            continue;
        }
        check(&next(&lines, &mut shown)?, true, again)?;
        let served = server.finish()?;
        tracer.process.signal(Signal::INT)?;
        shown.extend(lines.rest()?);
        let report = Report::new(&tracer.wait(shown)?)?;
        report.check_totals(&served)?;
        ensure!(report.overs.len() >= 3, "{:?}", report.overs);
        let rest = &report.overs[3..];
        ensure!(
            rest.iter().all(|line| line["above"] == false) && rest.len() <= 1,
            "told more than once: {:?}",
            report.overs
        );
        return Ok(format!("{above} {below}"));
    }
    bail!("the test is at fault: no connections within one interval")
}

/// The next line.
fn next(lines: &Lines, shown: &mut Vec<String>) -> Result<Value> {
    let line = lines.take(1)?.pop().context("no line")?;
    shown.push(line.clone());
    Ok(serde_json::from_str(&line)?)
}

/// Whether it is a line of the client that was over the limit, of this interval.
fn check(line: &Value, above: bool, expected: u64) -> Result<()> {
    let time = |field: &str| rfc3339::parse(line[field].as_str().context("no time")?);
    let (start, at) = (time("start")?, time("time")?);
    let is_in = at >= start && at <= start + INTERVAL;
    ensure!(
        line["type"] == "over"
            && line["address"] == client(2).to_string()
            && line["above"] == above
            && interval(start) == expected
            && start.as_secs() % INTERVAL.as_secs() == 0
            && start.subsec_nanos() == 0
            && is_in,
        "not above={above} in interval {expected}: {line}"
    );
    Ok(())
}

/// `--max-clients`: what does not fit is said, once at once and at the end.
pub(crate) fn no_room(context: &Context) -> Result<String> {
    const BEYOND: u32 = 10;
    let server = Server::start(Serve::threads(1, Family::V4.listen()), context.port)?;
    let mut command = context.conn_cli(context.port);
    command.args(["--quiet", "--json", "--max-clients", "2"]);
    let mut tracer = Tracer::start(command.args(["--over", &format!("{LIMIT}/{DAY}")]))?;
    let lines = tracer.stdout()?;
    let one_by_one = |last, connections| Load {
        threads: 1,
        ..load(context, last, connections)
    };
    one_by_one(2, 1).run()?;
    one_by_one(3, LIMIT + 1).run()?;
    one_by_one(4, BEYOND).run()?;
    tracer.wait_for("note: --over counts no further clients")?;
    one_by_one(2, LIMIT).run()?;
    one_by_one(5, LIMIT + 1).run()?;
    let served = server.finish()?;
    let ended = tracer.finish(Signal::INT, &lines)?;
    let report = Report::new(&ended)?;
    report.figures(&served)?;
    let told = told(&report)?;
    ensure!(
        told.keys().eq(&[client(2), client(3)]),
        "told {told:?}, served {served:?}"
    );
    let beyond = BEYOND + LIMIT + 1;
    let warning = format!("warning: {beyond} connections not counted for --over");
    ensure!(
        { ended.stderr.iter() }.any(|line| line.starts_with(&warning)),
        "no {warning:?}: {:?}",
        ended.stderr
    );
    Ok(warning)
}

/// `--by`: what is counted by.
pub(crate) fn by_others(context: &Context) -> Result<String> {
    // Together too many, and none of them alone; the first two are in 127.0.0.0/30.
    const EACH: u32 = LIMIT * 3 / 5;
    let server = server(context)?;
    let start = |by: &[&str]| {
        let mut command = context.conn_cli(context.port);
        command.args(["--quiet", "--json", "--over", &format!("{LIMIT}/{DAY}")]);
        Tracer::start(command.args(by))
    };
    let runs: [(&[&str], Value); 6] = [
        (&["--by", "address"], Value::Null),
        (&["--by", "address,port"], Value::Null),
        (&["--by", "network/24"], json!({"network": "127.0.0.0/24"})),
        (
            &["--by", "network/30,/64,port"],
            json!({"network": "127.0.0.0/30", "port": context.port}),
        ),
        (
            &["--by", "name", "--name", "two=127.0.0.0/30"],
            json!({"network_name": "two"}),
        ),
        (&["--by", "port"], json!({"port": context.port})),
    ];
    let mut tracers = Vec::new();
    for (by, expected) in runs {
        let mut tracer = start(by)?;
        let lines = tracer.stdout()?;
        tracers.push((by, expected, tracer, lines));
    }
    for last in [2, 3, 4] {
        load(context, last, EACH).run()?;
    }
    let served = server.finish()?;
    let mut told_of = 0;
    for (by, expected, tracer, lines) in tracers {
        let report = Report::new(&tracer.finish(Signal::INT, &lines)?)?;
        let counted = report.number("connections")?;
        ensure!(counted == served.values().sum::<u64>(), "{counted}");
        let who = |line: &Value| {
            let mut line = line.as_object().cloned().unwrap_or_default();
            line.retain(|field, _| WHO.contains(&&**field));
            Value::Object(line)
        };
        let told: Vec<Value> = report.overs.iter().map(who).collect();
        let expected = Some(expected).filter(|who| !who.is_null());
        ensure!(
            told.iter().eq(&expected),
            "{by:?}: {told:?}, not {expected:?}"
        );
        told_of += told.len();
    }
    Ok(format!("{told_of} told"))
}
