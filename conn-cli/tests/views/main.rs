//! The options that choose, group and lay out what `conn-cli read` shows, each with text and
//! JSON. The truth is what the server counted while the recordings were made, or what is
//! written here by hand.

mod clients;
mod lines;
mod runs;
mod summaries;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// One of packets, one of a log, one of a server's calls; the first two with times that are
/// moments, and all with both families and two ports.
const RECORDINGS: [&str; 3] = [
    "packets/syn.pcap",
    "kernel-log/dmesg-iso.txt",
    "strace/threads-yy.txt",
];
const DATED: [&str; 2] = [RECORDINGS[0], RECORDINGS[1]];

/// Connections of each client to each port.
type Counts = BTreeMap<(IpAddr, u16), u64>;

fn recorded(file: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    directory.join(file)
}

/// What was counted while a recording was made.
fn truth(file: &str) -> Counts {
    let truth: Value =
        serde_json::from_str(&fs::read_to_string(recorded("truth.json")).unwrap()).unwrap();
    let recordings = truth["recordings"].as_array().unwrap();
    let recording = recordings.iter().find(|one| one["file"] == file).unwrap();
    // Packets and logs have those too that were refused.
    let counts = recording.get("syns").unwrap_or(&recording["connections"]);
    let mut all = Counts::new();
    for (port, clients) in counts.as_object().unwrap() {
        for (client, count) in clients.as_object().unwrap() {
            let key = (client.parse().unwrap(), port.parse().unwrap());
            all.insert(key, count.as_u64().unwrap());
        }
    }
    assert!(all.len() > 5, "{all:?}");
    all
}

fn sums<K: Ord>(counts: &Counts, key: impl Fn(IpAddr, u16) -> K) -> BTreeMap<K, u64> {
    let mut sums = BTreeMap::new();
    for ((client, port), count) in counts {
        *sums.entry(key(*client, *port)).or_default() += count;
    }
    sums
}

fn by_client(counts: &Counts) -> BTreeMap<String, u64> {
    sums(counts, |client, _| client.to_string())
}

fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// Runs it with these options, which blanks separate, and the files.
fn run(options: &str, files: &[&Path], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conn-cli"));
    command
        .arg("read")
        .args(options.split_whitespace())
        .args(files);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before all is written, or read none of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn stdout(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// What is written in JSON: the lines, and the summary.
#[track_caller]
fn json(options: &str, files: &[&Path], input: &str) -> (Vec<Value>, Value) {
    let stdout = stdout(run(&format!("--json --utc {options}"), files, input));
    let lines = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    let summary = lines.pop().unwrap();
    assert_eq!(summary["type"], "summary");
    (lines, summary)
}

/// What is written as text: the lines, and those of the summary.
#[track_caller]
fn text(options: &str, files: &[&Path], input: &str) -> (Vec<String>, Vec<String>) {
    let stdout = stdout(run(&format!("--utc {options}"), files, input));
    let (lines, summary) = stdout.split_once("\n=== Summary ===\n").unwrap();
    let owned = |text: &str| text.lines().map(str::to_owned).collect();
    (owned(lines), owned(summary))
}

/// The connections in a summary by one of its fields.
fn listed(summary: &Value, field: &str) -> BTreeMap<String, u64> {
    let rows = summary["clients"].as_array().unwrap().iter();
    let listed = rows.map(|row| {
        let name = match &row[field] {
            Value::String(name) => name.clone(),
            other => other.to_string(),
        };
        (name, row["connections"].as_u64().unwrap())
    });
    listed.collect()
}

/// Those in a summary of text: `192.0.2.1: 5`.
fn listed_in_text(summary: &[String]) -> BTreeMap<String, u64> {
    let rows = summary.iter().map(|line| {
        let (name, count) = line.rsplit_once(": ").unwrap();
        (name.to_owned(), count.parse().unwrap())
    });
    rows.collect()
}

/// A connection as conn-cli writes it: so many seconds after a full minute.
fn line(seconds: f64, client: &str, local: &str, port: u16) -> String {
    format!(
        r#"{{"type":"connection","time":"2026-11-22T15:12:{seconds:09.6}+00:00","remote_address":"{client}","remote_port":40000,"local_address":"{local}","local_port":{port},"hook":"fentry"}}"#
    ) + "\n"
}

/// Three clients at two addresses of the server, in four seconds.
fn by_hand() -> String {
    [
        line(1.25, "192.0.2.1", "198.51.100.1", 80),
        line(1.5, "192.0.2.2", "198.51.100.2", 80),
        line(1.75, "192.0.2.1", "198.51.100.1", 443),
        line(4.0, "2001:db8::1", "2001:db8::80", 80),
    ]
    .concat()
}
