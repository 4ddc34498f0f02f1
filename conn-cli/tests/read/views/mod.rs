//! The options of `conn-cli read` that filter, group and format, each with text and JSON. The
//! expected counts are those of the server while the recordings were made, or of records written
//! here by hand.

mod clients;
mod known;
mod lines;
mod runs;
mod summaries;
mod totals;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A capture, a kernel log and an strace log, all with both families and two ports. The first
/// two have timestamps with dates.
const RECORDINGS: [&str; 3] = [
    "packets/syn.pcap",
    "kernel-log/dmesg-iso.txt",
    "strace/threads-yy.txt",
];
const DATED: [&str; 2] = [RECORDINGS[0], RECORDINGS[1]];

/// Number of connections by client and port.
type Counts = BTreeMap<(IpAddr, u16), u64>;

fn recorded(file: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    directory.join(file)
}

/// The counts of the server while a recording was made.
fn truth(file: &str) -> Counts {
    let truth: Value =
        serde_json::from_str(&fs::read_to_string(recorded("truth.json")).unwrap()).unwrap();
    let recordings = truth["recordings"].as_array().unwrap();
    let recording = recordings.iter().find(|one| one["file"] == file).unwrap();
    // Captures and logs include refused connections.
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

/// Runs `conn-cli read` with space-separated options and files.
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
    // It may exit before all is written, or read nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn stdout(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON output: the lines, and the summary. All of them must match the documented schema.
#[track_caller]
fn json(options: &str, files: &[&Path], input: &str) -> (Vec<Value>, Value) {
    let stdout = stdout(run(&format!("--json --utc {options}"), files, input));
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let lines = stdout.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Err(error) = schema.validate(&line) {
            panic!("{error}: {line}");
        }
        line
    });
    let mut lines: Vec<Value> = lines.collect();
    let summary = lines.pop().unwrap();
    assert_eq!(summary["type"], "summary");
    (lines, summary)
}

/// The text output: the lines, and those of the summary without its total.
#[track_caller]
fn text(options: &str, files: &[&Path], input: &str) -> (Vec<String>, Vec<String>) {
    let stdout = stdout(run(&format!("--utc {options}"), files, input));
    let (lines, summary) = stdout.split_once("\n=== Summary ===\n").unwrap();
    let (summary, last) = summary
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or(("", summary));
    assert!(last.contains(" connection"), "{last}");
    let owned = |text: &str| text.lines().map(str::to_owned).collect();
    (owned(lines), owned(summary))
}

/// The connections in a JSON summary, by one of its fields.
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

/// The connections in a text summary, whose lines are like `192.0.2.1: 5`.
fn listed_in_text(summary: &[String]) -> BTreeMap<String, u64> {
    let rows = summary.iter().map(|line| {
        let (name, count) = line.rsplit_once(": ").unwrap();
        (name.to_owned(), count.parse().unwrap())
    });
    rows.collect()
}

/// A connection in the JSON of conn-cli, `seconds` after a full minute.
fn line(seconds: f64, client: &str, local: &str, port: u16) -> String {
    format!(
        r#"{{"type":"connection","time":"2026-11-22T15:12:{seconds:09.6}+00:00","remote_address":"{client}","remote_port":40000,"local_address":"{local}","local_port":{port},"hook":"fentry"}}"#
    ) + "\n"
}

/// Three clients that connect to three addresses within four seconds.
fn by_hand() -> String {
    [
        line(1.25, "192.0.2.1", "198.51.100.1", 80),
        line(1.5, "192.0.2.2", "198.51.100.2", 80),
        line(1.75, "192.0.2.1", "198.51.100.1", 443),
        line(4.0, "2001:db8::1", "2001:db8::80", 80),
    ]
    .concat()
}
