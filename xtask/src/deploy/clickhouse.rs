//! The table and the queries of `deploy/clickhouse`, in a ClickHouse that is embedded in a Python package, with
//! what conn-cli says of recordings as if they were from several machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lab::packages::Install;
use lab::{command, workspace};
use serde_json::Value;

use super::python;

const PACKAGE: &str = "chdb-core==26.9.0";

/// Runs of `conn-cli read`: its options, and the recording. That of the journal names its host itself. Those of strace
/// have no times, or only times of day.
const RUNS: [(&str, &str); 7] = [
    ("--host web1", "packets/syn.pcap"),
    ("--host web1 --quiet", "packets/lo.pcap"),
    ("--host web2", "strace/single-accept4.txt"),
    ("--host web2", "strace/single-t.txt"),
    ("--host web3", "tcpaccept/tcpaccept.txt"),
    (
        "--host web3 --interval 1s --name lan=127.0.0.0/8",
        "packets/syn.pcap",
    ),
    ("", "kernel-log/journalctl-json.txt"),
];

/// The day of the recordings that have a date.
const DAY: &str = "2026-11-22";

/// A connection of the day before, of a client that the recordings have, too.
const DAY_BEFORE: &str = "2026-11-21T10:00:00+00:00 old kernel: IN=eth0 OUT= SRC=127.0.0.2 DST=192.0.2.9 LEN=60 \
     PROTO=TCP SPT=40000 DPT=80 SEQ=1 ACK=0 WINDOW=1 SYN URGP=0\n";

/// The rows of a result.
type Rows = Vec<Vec<String>>;

/// Loads what the runs print, and compares what the queries say with what the runs say.
pub(super) fn check(conn_cli: &Path, install: Install) -> Result<String> {
    let runs = runs(conn_cli)?;
    let lines: Vec<Value> = { runs.iter().flat_map(|run| run.lines()) }
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let insert = sql("insert")?;
    let mut statements = vec![sql("table")?];
    statements.extend(runs.iter().map(|run| format!("{insert}\n{run}")));
    // What has expired is gone after that.
    statements.push("OPTIMIZE TABLE conn_cli FINAL".to_owned());
    statements.push(format!("SET param_day = '{DAY}'"));
    let before = statements.len();
    statements.push(
        "SELECT count(), countIf(time IS NULL AND type = 'connection') FROM conn_cli".to_owned(),
    );
    let expected = [
        ("totals", totals(&lines)),
        ("distinct_clients", distinct_clients(&lines)),
        ("top_addresses", top_addresses(&lines)),
        ("new_addresses", new_addresses(&lines)),
    ];
    for (name, _) in &expected {
        statements.push(sql(name)?);
    }
    let results = results(&statements, install)?;
    let undated = { lines.iter() }
        .filter(|line| is(line, "connection") && line["time"].is_null())
        .count();
    ensure!(undated > 0, "all records have a time");
    let counts = [lines.len(), undated].map(|count| count.to_string());
    ensure!(
        results[before] == [counts.to_vec()],
        "{:?} lines and undated ones of {counts:?}",
        results[before]
    );
    for ((name, expected), rows) in expected.iter().zip(&results[before + 1..]) {
        ensure!(!expected.is_empty(), "{name}: nothing to compare");
        // Each says more, behind what is compared.
        let first = |row: &Vec<String>| row[..expected[0].len().min(row.len())].to_vec();
        let rows: Rows = rows.iter().map(first).collect();
        ensure!(rows == *expected, "{name}: {rows:?}, not {expected:?}");
    }
    let all = { lines.iter().filter(|line| is(line, "summary")) }
        .filter_map(|line| line["connections"].as_u64())
        .sum::<u64>();
    Ok(format!(
        "{all} connections of {} machines in {} lines, {undated} of them undated; {} queries",
        expected[0].1.len(),
        lines.len(),
        expected.len()
    ))
}

/// What each run prints.
fn runs(conn_cli: &Path) -> Result<Vec<String>> {
    let recorded = workspace::root().join("conn-cli/tests/recorded");
    let day_before = workspace::root().join("target/day-before.log");
    fs::write(&day_before, DAY_BEFORE)?;
    let runs = RUNS.map(|(options, file)| (options, recorded.join(file)));
    let runs = runs.into_iter().chain([("", day_before)]);
    let output = |(options, file): (&str, _)| {
        let mut read = Command::new(conn_cli);
        read.args(["read", "--json"])
            .args(options.split_whitespace());
        command::output(read.arg(file))
    };
    runs.map(output).collect()
}

fn sql(name: &str) -> Result<String> {
    let path = workspace::root().join(format!("deploy/clickhouse/{name}.sql"));
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The result of each statement.
fn results(statements: &[String], install: Install) -> Result<Vec<Rows>> {
    let script = workspace::root().join("xtask/src/deploy/statements.py");
    let file = workspace::root().join("target/clickhouse.json");
    fs::write(&file, serde_json::to_vec(statements)?)?;
    let mut python = python::with_package(PACKAGE, install)?;
    let results = command::output(python.arg(script).arg(file))?;
    let results: Vec<String> = serde_json::from_str(results.trim())?;
    let row = |row: &str| row.split('\t').map(str::to_owned).collect();
    let rows = |result: &String| {
        result
            .lines()
            .filter(|row| !row.is_empty())
            .map(row)
            .collect()
    };
    Ok(results.iter().map(rows).collect())
}

fn is(line: &Value, kind: &str) -> bool {
    line["type"] == kind
}

fn host(line: &Value) -> String {
    line["host"].as_str().unwrap_or_default().to_owned()
}

/// An address as a column of IPv6 has it.
fn address(text: &Value) -> Option<Ipv6Addr> {
    Some(match text.as_str()?.parse().ok()? {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    })
}

/// The time and the client of each connection that has both, in UTC, up to the minute.
fn dated(lines: &[Value]) -> impl Iterator<Item = (&str, Ipv6Addr)> {
    lines
        .iter()
        .filter(|line| is(line, "connection"))
        .filter_map(|line| {
            let time = line["time"]
                .as_str()
                .filter(|time| time.ends_with("+00:00"))?;
            Some((time, address(&line["remote_address"])?))
        })
}

fn rows<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> Rows {
    rows.into_iter().map(|row| row.to_vec()).collect()
}

/// Host and connections, as the summaries of the runs say.
fn totals(lines: &[Value]) -> Rows {
    let mut totals = BTreeMap::new();
    for line in lines.iter().filter(|line| is(line, "summary")) {
        *totals.entry(host(line)).or_insert(0) += line["connections"].as_u64().unwrap_or(0);
    }
    rows(
        totals
            .into_iter()
            .map(|(host, connections)| [host, connections.to_string()]),
    )
}

fn distinct_clients(lines: &[Value]) -> Rows {
    let mut clients: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let name = |by_address: &Value, by_name: &Value| {
        let address = address(by_address).map(|address| address.to_string());
        address.or_else(|| by_name.as_str().map(str::to_owned))
    };
    for line in lines {
        let listed = line["clients"].as_array().into_iter().flatten();
        let all = listed.map(|client| name(&client["address"], &client["name"]));
        let own = name(&line["remote_address"], &line["remote_name"]);
        let of_host = clients.entry(host(line)).or_default();
        of_host.extend(all.chain([own]).flatten());
    }
    let all: BTreeSet<_> = clients.values().flatten().collect();
    let all = ["all machines".to_owned(), all.len().to_string()];
    let each = clients.iter();
    rows(
        each.map(|(host, clients)| [host.clone(), clients.len().to_string()])
            .chain([all]),
    )
}

/// Minute, address and connections.
fn top_addresses(lines: &[Value]) -> Rows {
    let mut minutes: BTreeMap<String, BTreeMap<Ipv6Addr, u64>> = BTreeMap::new();
    for (time, client) in dated(lines).filter(|(time, _)| time.starts_with(DAY)) {
        let minute = format!("{DAY} {}:00", &time[11..16]);
        *minutes
            .entry(minute)
            .or_default()
            .entry(client)
            .or_default() += 1;
    }
    let top = |(minute, clients): (String, BTreeMap<Ipv6Addr, u64>)| {
        let mut clients: Vec<_> = clients.into_iter().collect();
        // Those with as many stay in the order of their addresses.
        clients.sort_by_key(|(_, connections)| u64::MAX - connections);
        let row = move |(client, connections): (Ipv6Addr, u64)| {
            [minute.clone(), client.to_string(), connections.to_string()]
        };
        clients.into_iter().take(3).map(row)
    };
    rows(minutes.into_iter().flat_map(top))
}

/// Address and first time.
fn new_addresses(lines: &[Value]) -> Rows {
    let mut first: BTreeMap<Ipv6Addr, &str> = BTreeMap::new();
    for (time, client) in dated(lines) {
        let first = first.entry(client).or_insert(time);
        *first = time.min(first);
    }
    let mut new: Vec<_> = { first.into_iter() }
        .filter(|(_, time)| time.starts_with(DAY))
        .collect();
    new.sort_by_key(|(client, time)| (*time, *client));
    let as_shown = |time: &str| time.trim_end_matches("+00:00").replace('T', " ");
    rows(
        new.into_iter()
            .map(|(client, time)| [client.to_string(), as_shown(time)]),
    )
}
