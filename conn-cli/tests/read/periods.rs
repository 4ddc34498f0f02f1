//! `--since` and `--until`, and intervals of records whose times lack something. The expected counts
//! are those of awk over the same records.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{TempDir, conn_cli, read, read_from, text};

/// The recordings were made on this day, and are in UTC.
const DAY: &str = "2026-11-22";

fn recorded(file: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    directory.join(file)
}

/// A copy of a recording, as old as it was.
fn copy(dir: &TempDir, file: &str) -> PathBuf {
    let name = file.replace('/', "-");
    let path = dir.file(&name, fs::read(recorded(file)).unwrap());
    set_changed(&path, "2026-11-22T18:00:00Z");
    path
}

fn set_changed(path: &Path, time: &str) {
    let output = Command::new("date")
        .args(["+%s", "-d", time])
        .output()
        .unwrap();
    let seconds = text(&output.stdout).trim().parse().unwrap();
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(changed).unwrap();
}

/// Runs `conn-cli read` in a time zone.
fn read_in(zone: &str, arguments: &[&str], file: &Path) -> Output {
    let mut command = conn_cli();
    command.env("TZ", zone).args(arguments).arg(file);
    command.output().unwrap()
}

fn awk(program: &str, file: &Path) -> String {
    let output = Command::new("awk").arg(program).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// The summary's count.
#[track_caller]
fn connections(output: &Output) -> u64 {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let line = text(&output.stdout).lines().last().unwrap();
    let summary: Value = serde_json::from_str(line).unwrap();
    summary["connections"].as_u64().unwrap()
}

/// `HH:MM:SS COUNT` of each interval with a connection.
#[track_caller]
fn intervals(output: &Output, field: &str) -> Vec<(String, u64)> {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = text(&output.stdout).lines();
    let rows = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows = rows.filter(|row| row["type"] == "interval" && row["connections"] != 0);
    rows.map(|row| {
        let start = match &row[field] {
            Value::String(start) => start.clone(),
            other => other.to_string(),
        };
        (start, row["connections"].as_u64().unwrap())
    })
    .collect()
}

const LOG: &str = "kernel-log/journalctl-short-precise.txt";
const TCPDUMP: &str = "packets/syn-n.txt";
/// With a date, but without a time zone.
const DATED: &str = "packets/syn-n-tttt.txt";

#[test]
fn a_period_has_the_records_that_awk_finds_in_it() {
    let dir = TempDir::new("period");
    for (file, time) in [(LOG, "$3"), (TCPDUMP, "$1"), (DATED, "$2")] {
        let path = copy(&dir, file);
        let is_new = match file {
            LOG => "/ SYN /",
            _ => r"/Flags \[S[EW]*\]/",
        };
        let seconds = awk(&format!("{is_new} {{ print {time} }}"), &path);
        let seconds: Vec<&str> = seconds.lines().collect();
        let (first, last) = (seconds[0], seconds[seconds.len() - 1]);
        let middle = seconds[seconds.len() / 2];
        assert!(
            first < middle && middle < last,
            "{file}: {first} {middle} {last}"
        );
        let before = seconds.iter().filter(|second| **second < middle).count() as u64;
        let all = seconds.len() as u64;
        let count = |arguments: &[&str]| {
            let arguments = [&["-q", "--json", "--every-packet"], arguments].concat();
            connections(&read_in("UTC", &arguments, &path))
        };
        let at = |second: &str| format!("{DAY} {second}");
        let middle = at(middle);
        assert_eq!(count(&["--until", &middle]), before, "{file}");
        assert_eq!(count(&["--since", &middle]), all - before, "{file}");
        assert_eq!(
            count(&["--since", &at(first), "--until", &middle]),
            before,
            "{file}"
        );
        assert_eq!(count(&["--since", DAY]), all, "{file}");
        assert_eq!(count(&["--until", DAY]), 0, "{file}");
        // 05:00 in New York is 10:00 in UTC.
        let east = format!("{}-05:00", middle.replace(" 17:", "T12:"));
        assert_eq!(count(&["--since", &east]), all - before, "{file}");
    }
}

#[test]
fn a_period_is_in_the_local_time_zone_or_in_utc() {
    let dir = TempDir::new("zone");
    let path = copy(&dir, "packets/syn.pcap");
    let all = connections(&read(&["-q", "--json"], &[&path]));
    assert!(all > 10);
    // In UTC it is 17:33.
    let since = |zone: &str, arguments: &[&str]| {
        let arguments = [&["-q", "--json", "--since", "2026-11-22 18:00"], arguments].concat();
        connections(&read_in(zone, &arguments, &path))
    };
    assert_eq!(since("UTC", &[]), 0);
    assert_eq!(since("CET-1", &[]), all);
    assert_eq!(since("CET-1", &["--utc"]), 0);
}

/// A retransmission within the period of a SYN before it is no connection of the period.
#[test]
fn a_retransmission_in_the_period_does_not_count() {
    let syn = |time: &str, sequence: u32| {
        format!(
            "2026-11-22 {time} IP 192.0.2.1.40000 > 192.0.2.9.80: Flags [S], seq {sequence}, win 1, length 0\n"
        )
    };
    let records = [
        syn("10:00:00.1", 7),
        syn("10:00:01.1", 7),
        syn("10:00:01.2", 8),
        syn("10:00:03.2", 8),
    ];
    let period = |since: &str, until: &str| {
        let arguments = ["-q", "--json", "--since", since, "--until", until];
        let output = read_from(records.concat().as_bytes(), &arguments);
        let summary: Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
        (
            summary["connections"].as_u64(),
            summary["repeated"].as_u64(),
        )
    };
    let at = |second: &str| format!("2026-11-22 10:00:{second}");
    assert_eq!(period(&at("00"), &at("09")), (Some(2), Some(2)));
    assert_eq!(period(&at("01"), &at("02")), (Some(1), Some(1)));
    assert_eq!(period(&at("02"), &at("09")), (Some(0), Some(1)));
    // Until is excluded, since is not.
    assert_eq!(period(&at("00"), &at("01.2")), (Some(1), Some(1)));
    assert_eq!(period(&at("01.2"), &at("09")), (Some(1), Some(1)));
}

#[test]
fn records_without_a_time_are_told() {
    let syn = "IP 192.0.2.1.40000 > 192.0.2.9.80: Flags [S], seq 7, win 1, length 0\n";
    let output = read_from(syn.as_bytes(), &["-q", "--since", "yesterday"]);
    let stderr = text(&output.stderr);
    let warning = "warning: 1 connection not counted: the record has no date and time";
    assert!(stderr.lines().any(|line| line == warning), "{stderr}");
    let output = read_from(syn.as_bytes(), &["-q", "--json", "--since", "yesterday"]);
    assert!(text(&output.stdout).contains(r#""unknown_time":1"#));
    // Nor is the time since boot a date.
    let output = read(
        &["-q", "--since", "yesterday"],
        &[&recorded("kernel-log/dmesg.txt")],
    );
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("not counted: the record has no date and time"),
        "{stderr}"
    );
    let boot = "dmesg.txt: the times are since boot, whose time is not in the records";
    assert!(stderr.contains(boot), "{stderr}");
}

#[test]
fn a_wrong_period_is_wrong_usage() {
    for arguments in [
        &["--since", "foo"][..],
        &["--since", "25:00"],
        &["--until", "2026-02-30"],
        &["--since", "2h"],
        &["--since", "-1h", "--until", "-2h"],
    ] {
        let output = read_from(b"", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let mut live = Command::new(env!("CARGO_BIN_EXE_conn-cli"));
    let output = live.args(["--since", "-2h"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("conn-cli read"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_run_of_conn_cli_needs_its_lines() {
    let line = |second: u32| {
        format!(
            r#"{{"type":"connection","time":"2026-11-22T10:00:{second:02}+00:00","remote_address":"192.0.2.1","local_port":80,"hook":"fentry"}}"#
        ) + "\n"
    };
    let summary = |lines: u32| {
        format!(
            r#"{{"type":"summary","lines_shown":{lines},"clients":[{{"address":"192.0.2.1","connections":3,"ports":{{"80":3}}}}]}}"#
        ) + "\n"
    };
    let lines = [line(1), line(2), line(3)].concat();
    let arguments = ["-q", "--json", "--utc", "--since", "2026-11-22 10:00:02"];
    let output = read_from((lines + &summary(3)).as_bytes(), &arguments);
    assert_eq!(connections(&output), 2);
    let output = read_from((line(1) + &summary(1)).as_bytes(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let why = "--since needs a line for each connection, but some of 3 are only in the summary";
    assert!(
        text(&output.stderr).contains(why),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn intervals_of_incomplete_times_are_those_of_awk() {
    let dir = TempDir::new("incomplete");
    for (file, program, note) in [
        (
            LOG,
            r#"/ SYN / { n["2026-11-22T" substr($3, 1, 10)]++ } END { for (s in n) print s, n[s] }"#,
            "the year is not in the records; 2026 was assumed",
        ),
        (
            TCPDUMP,
            r#"/Flags \[S[EW]*\]/ { n["2026-11-22T" substr($1, 1, 10)]++ } END { for (s in n) print s, n[s] }"#,
            "the day is not in the records; 2026-11-22 was assumed",
        ),
        (
            DATED,
            r#"/Flags \[S[EW]*\]/ { n[$1 "T" substr($2, 1, 10)]++ } END { for (s in n) print s, n[s] }"#,
            "the time zone is not in the records; local time was assumed",
        ),
    ] {
        let path = copy(&dir, file);
        let mut expected: Vec<(String, u64)> = awk(program, &path)
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(second, count)| (format!("{second}00000+00:00"), count.parse().unwrap()))
            .collect();
        expected.sort();
        assert!(expected.len() > 1, "{file}: {expected:?}");
        let arguments = ["--json", "--interval", "100ms", "--every-packet"];
        let output = read_in("UTC", &arguments, &path);
        assert_eq!(intervals(&output, "start"), expected, "{file}");
        let stderr = text(&output.stderr);
        let notes: Vec<_> = stderr
            .lines()
            .filter(|line| line.starts_with("note: "))
            .collect();
        assert_eq!(
            notes,
            [format!("note: {}: {note}", path.display())],
            "{stderr}"
        );
    }
}

#[test]
fn intervals_since_boot_are_those_of_awk() {
    let path = recorded("kernel-log/dmesg.txt");
    let program =
        r#"/ SYN / { sub(/^\[ */, ""); n[substr($1, 1, 5)]++ } END { for (s in n) print s, n[s] }"#;
    let mut expected: Vec<(String, u64)> = awk(program, &path)
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(second, count)| (second.to_owned(), count.parse().unwrap()))
        .collect();
    expected.sort();
    let arguments = ["--interval", "100ms", "--every-packet"];
    let output = read(&[&arguments[..], &["--json"]].concat(), &[&path]);
    assert_eq!(intervals(&output, "since_boot"), expected);
    let output = read(&arguments, &[&path]);
    let count = expected[0].1;
    let row = format!("+0:02:37.200  {count:>6} connections");
    assert_eq!(expected[0].0, "157.2");
    assert!(
        text(&output.stdout).starts_with(&row),
        "{}",
        text(&output.stdout)
    );
}

/// A log that is written from December to January, and read a month later.
#[test]
fn a_log_of_last_december_is_of_last_year() {
    let dir = TempDir::new("december");
    let line = |time: &str| {
        // Each from a port of its own.
        let port = &time[time.len() - 1..];
        format!(
            "{time} server kernel: IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.9 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=4000{port} DPT=80 WINDOW=1 RES=0x00 SYN URGP=0\n"
        )
    };
    let times = ["Dec 31 23:59:59", "Jan  1 00:00:00", "Jan  1 00:00:01"];
    let log = dir.file("kern.log", times.map(line).concat());
    set_changed(&log, "2026-01-02T00:00:00Z");
    let output = read_in("UTC", &["--json", "--interval", "1s"], &log);
    assert_eq!(
        intervals(&output, "start"),
        [
            ("2025-12-31T23:59:59.000000+00:00".to_owned(), 1),
            ("2026-01-01T00:00:00.000000+00:00".to_owned(), 1),
            ("2026-01-01T00:00:01.000000+00:00".to_owned(), 1),
        ]
    );
    let note = "the year is not in the records; 2025 to 2026 were assumed";
    assert!(
        text(&output.stderr).contains(note),
        "{}",
        text(&output.stderr)
    );
    let output = read_in("UTC", &["-q", "--json", "--since", "2026-01-01"], &log);
    assert_eq!(connections(&output), 2);
    let output = read_in("UTC", &["-q", "--long", "--time", "iso"], &log);
    let (first, last) = ("2025-12-31T23:59:59", "2026-01-01T00:00:01");
    let stdout = text(&output.stdout);
    assert!(stdout.contains(first) && stdout.contains(last), "{stdout}");
}

/// The last record is of the day on which the file was changed, however many days there are.
#[test]
fn days_are_counted_from_the_last_record() {
    let dir = TempDir::new("days");
    let syn = |time: &str, sequence: u32| {
        format!(
            "{time} IP 192.0.2.1.40000 > 192.0.2.9.80: Flags [S], seq {sequence}, win 1, length 0\n"
        )
    };
    let times = [
        "10:00:00.1",
        "23:59:59.9",
        "00:00:00.1",
        "12:00:00.0",
        "08:00:00.0",
    ];
    let records = (0..).zip(times).map(|(sequence, time)| syn(time, sequence));
    let records = records.collect::<String>();
    let file = dir.file("days.txt", &records);
    set_changed(&file, "2026-11-22T08:00:00Z");
    let arguments = ["--json", "--interval", "1h"];
    let hours = ["20T10", "20T23", "21T00", "21T12", "22T08"];
    let expected = hours.map(|hour| (format!("2026-11-{hour}:00:00.000000+00:00"), 1));
    let output = read_in("UTC", &arguments, &file);
    assert_eq!(intervals(&output, "start"), expected);
    let note = "the day is not in the records; 2026-11-20 to 2026-11-22 were assumed";
    assert!(
        text(&output.stderr).contains(note),
        "{}",
        text(&output.stderr)
    );
    // That cannot be known of a pipe.
    let output = read_from(records.as_bytes(), &arguments);
    let warning = "warning: standard input: the records are of more days than there were";
    assert!(
        text(&output.stderr).contains(warning),
        "{}",
        text(&output.stderr)
    );
}

/// A file can have a time in the future. The time of its records is still not later than now.
#[test]
fn records_are_not_later_than_now() {
    let dir = TempDir::new("future");
    let line = "23:59:59.9 IP 192.0.2.1.40000 > 192.0.2.9.80: Flags [S], seq 7, win 1, length 0\n";
    let file = dir.file("future.txt", line);
    set_changed(&file, "2200-01-01T00:00:00Z");
    let output = read_in("UTC", &["--json", "--interval", "1h"], &file);
    let starts = intervals(&output, "start");
    let now = jiff::Timestamp::now();
    let [(start, 1)] = &*starts else {
        panic!("{starts:?}");
    };
    assert!(start.parse::<jiff::Timestamp>().unwrap() <= now, "{start}");
}

/// Times that are in no order would begin a new day again and again.
#[test]
fn many_assumed_days_are_doubted() {
    let dir = TempDir::new("shuffled");
    let days = |number: u32| -> String {
        let syn = |sequence: u32| {
            let hour = 10 - sequence % 2;
            format!(
                "{hour:02}:00:00.1 IP 192.0.2.1.40000 > 192.0.2.9.80: Flags [S], seq {sequence}, win 1, length 0\n"
            )
        };
        (0..number * 2).map(syn).collect()
    };
    let warning = "the assumed days are more than a year apart";
    for (number, is_doubted) in [(300, false), (400, true)] {
        let file = dir.file("shuffled.txt", days(number));
        set_changed(&file, "2026-11-22T12:00:00Z");
        let output = read_in("UTC", &["-q", "--long"], &file);
        let stderr = text(&output.stderr);
        assert_eq!(stderr.contains(warning), is_doubted, "{stderr}");
    }
}

/// Between inputs, and between runs in one, nothing was measured; within one there were no connections.
#[test]
fn a_gap_between_inputs_is_not_measured() {
    let syn = |time: &str, flags: &str| {
        format!(
            "2026-11-22 {time} IP 192.0.2.1.40000 > 192.0.2.9.80: Flags [{flags}], seq 7, win 1, length 0\n"
        )
    };
    let dir = TempDir::new("gap");
    // The first has a record after its last connection.
    let first = [
        syn("10:00:00.1", "S"),
        syn("10:02:00.1", "S"),
        syn("10:03:59.9", "P"),
    ];
    let first = dir.file("first", first.concat());
    let second = dir.file("second", syn("10:07:00.0", "S"));
    let arguments = ["--utc", "--interval", "1m", "--every-packet"];
    let rows = |arguments: &[&str]| {
        let mut command = conn_cli();
        command
            .env("TZ", "UTC")
            .args(arguments)
            .args([&first, &second]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let stdout = rows(&arguments);
    let rows_of_text: Vec<_> = stdout
        .lines()
        .take(6)
        .map(|row| row.split_whitespace().take(4).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows_of_text,
        [
            "2026-11-22 10:00:00 1 connection",
            "2026-11-22 10:01:00 0 connections",
            "2026-11-22 10:02:00 1 connection",
            "2026-11-22 10:03:00 0 connections",
            "2026-11-22 10:04:00 (3 intervals",
            "2026-11-22 10:07:00 1 connection",
        ]
    );
    let json = rows(&[&arguments[..], &["--json"]].concat());
    let gap: Value = serde_json::from_str(json.lines().nth(4).unwrap()).unwrap();
    assert_eq!(gap["connections"], Value::Null);
    assert_eq!(
        (&gap["seconds"], &gap["not_measured"]),
        (&180.0.into(), &3.into())
    );
}

/// A saved run says when it began and ended, so that it is known where it counted nothing.
#[test]
fn a_run_measured_from_its_start_to_its_end() {
    let run = |connection: &str, start: &str, end: &str| {
        let at = |time: &str| format!("2026-11-22T10:{time}+00:00");
        let line = format!(
            r#"{{"type":"connection","time":"{}","remote_address":"192.0.2.1","local_port":80,"hook":"fentry"}}"#,
            at(connection)
        );
        let summary = format!(
            r#"{{"type":"summary","start":"{}","end":"{}","lines_shown":1,"clients":[{{"address":"192.0.2.1","connections":1,"ports":{{"80":1}}}}]}}"#,
            at(start),
            at(end)
        );
        format!("{line}\n{summary}\n")
    };
    let dir = TempDir::new("runs");
    let runs = [
        run("01:00", "00:00", "03:30"),
        run("07:00", "05:30", "08:00"),
    ];
    let log = dir.file("log", runs.concat());
    let output = read(&["--json", "--utc", "--interval", "1m"], &[&log]);
    let counts: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|row| row["type"] == "interval")
        .map(|row| row["connections"].clone())
        .collect();
    let expected = serde_json::json!([1, 0, 0, null, 0, 0, 1]);
    assert_eq!(Value::from(counts), expected);
}
