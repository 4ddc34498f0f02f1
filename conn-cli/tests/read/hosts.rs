//! The machines that JSON names.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use super::{read, read_from, text};

/// A record of the kernel log, from this client.
fn record(client: u8) -> String {
    format!(
        "kernel: IN=eth0 OUT= SRC=192.0.2.{client} DST=192.0.2.9 LEN=60 PROTO=TCP SPT=40000 DPT=80 SEQ={client} ACK=0 WINDOW=1 SYN URGP=0"
    )
}

fn objects(json: &[u8]) -> Vec<Value> {
    let lines = text(json).lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The host of each object, the summary last.
#[track_caller]
fn hosts(log: &[u8], options: &[&str]) -> Vec<Option<String>> {
    let output = read_from(log, &[&["--json"], options].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let host = |object: &Value| {
        object
            .get("host")
            .map(|host| host.as_str().unwrap().to_owned())
    };
    objects(&output.stdout).iter().map(host).collect()
}

fn some<const N: usize>(hosts: [&str; N]) -> Vec<Option<String>> {
    hosts
        .map(|host| (!host.is_empty()).then(|| host.to_owned()))
        .to_vec()
}

#[test]
fn a_line_has_the_host_of_its_record() {
    let log = |hosts: &[&str]| -> String {
        let line = |(client, host): (usize, &&str)| {
            format!("2026-11-22T14:25:37+00:00 {host}{}\n", record(client as u8))
        };
        hosts.iter().enumerate().map(line).collect()
    };
    for (log, options, expected) in [
        (log(&["web1 ", "web1 "]), &[][..], &["web1", "web1", "web1"]),
        (log(&["web1 ", "web2 "]), &[], &["web1", "web2", ""]),
        (log(&["web1 ", ""]), &[], &["web1", "", ""]),
        (log(&["web1 ", ""]), &["--host", "db"], &["web1", "db", ""]),
        (log(&["", ""]), &["--host", "db"], &["db", "db", "db"]),
        (log(&["", ""]), &[], &["", "", ""]),
    ] {
        assert_eq!(hosts(log.as_bytes(), options), some(*expected), "{log}");
        let quiet = [&["--quiet"], options].concat();
        assert_eq!(hosts(log.as_bytes(), &quiet), some([expected[2]]), "{log}");
    }
}

/// What programs have written for these hosts, as another machine called them.
#[test]
fn hosts_of_recordings_are_found() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    for (file, host) in [
        ("kernel-log/rsyslog-traditional.log", Some("server")),
        ("kernel-log/rsyslog-rfc5424.log", Some("server")),
        ("kernel-log/rsyslog-iso.log", Some("server")),
        ("kernel-log/journalctl-short.txt", Some("server")),
        ("kernel-log/journalctl-short-unix.txt", Some("server")),
        ("kernel-log/journalctl-short-monotonic.txt", Some("server")),
        ("kernel-log/journalctl-json.txt", Some("server")),
        ("ulogd/logemu.log", Some("server")),
        ("kernel-log/journalctl-cat.txt", None),
        ("kernel-log/dmesg.txt", None),
        ("kernel-log/dmesg-iso.txt", None),
        ("kernel-log/dmesg-T.txt", None),
        ("strace/single-t.txt", None),
        ("packets/syn-n.txt", None),
    ] {
        let output = read(&["--json"], &[&recorded.join(file)]);
        let objects = objects(&output.stdout);
        assert!(objects.len() > 1, "{file}");
        let hosts: BTreeSet<_> = { objects.iter() }
            .map(|object| object.get("host").and_then(Value::as_str))
            .collect();
        assert_eq!(hosts, BTreeSet::from([host]), "{file}");
    }
}

#[test]
fn layers_around_lines_name_a_host() {
    let strace = r#"accept4(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("192.0.2.1")}, [16], 0) = 4"#;
    let quoted = Value::from(strace);
    let syslog = format!("Nov 22 14:25:37 web1 strace[7]: {strace}\n").repeat(3);
    let json = format!("{{\"message\":{quoted},\"host\":{{\"name\":\"web1\"}}}}\n").repeat(3);
    let journal = format!("{{\"MESSAGE\":{quoted},\"_HOSTNAME\":\"web1\"}}\n").repeat(3);
    for log in [syslog, json, journal] {
        assert_eq!(hosts(log.as_bytes(), &[]), some(["web1"; 4]), "{log}");
    }
}

#[test]
fn hostile_names_are_escaped() {
    let log = format!("Nov 22 14:25:37 a\x1b[2J\"\\ {}\n", record(1));
    let output = read_from(log.as_bytes(), &["--json"]);
    assert!(!output.stdout.contains(&0x1b));
    let name = "a\\u{1b}[2J\"\\\\";
    assert_eq!(hosts(log.as_bytes(), &[]), some([name; 2]));
    // Also after it is read back, and from somebody else who wrote it as it is.
    assert_eq!(hosts(&output.stdout, &[]), some([name; 2]));
    let printed = text(&output.stdout).replace("\\\\u{1b}", "\\u001b");
    let twice = "a\\u{1b}[2J\"\\\\\\\\";
    assert_eq!(hosts(printed.as_bytes(), &[]), some([twice; 2]));
    assert_eq!(hosts(b"", &["--host", "a\x1bb"]), some(["a\\u{1b}b"]));
}

#[test]
fn the_host_stays_when_json_is_read_again() {
    let log = format!("Nov 22 14:25:37 {}\n", record(1));
    let one = |host| read_from(log.as_bytes(), &["--json", "--host", host]).stdout;
    let both = [one("web1"), one("web2")].concat();
    assert_eq!(hosts(&both, &["--host", "db"]), some(["web1", "web2", ""]));
    // Runs that have no lines.
    let quiet = |host| read_from(log.as_bytes(), &["--json", "--quiet", "--host", host]).stdout;
    let (web1, web2) = (quiet("web1"), quiet("web2"));
    assert_eq!(hosts(&web1, &[]), some(["web1"]));
    assert_eq!(hosts(&[web1, web2].concat(), &[]), some([""]));
}

#[test]
fn a_summary_has_the_first_and_the_last_time() {
    let line = |second, client| format!("2026-11-22T14:25:{second}+00:00 {}\n", record(client));
    let summary = |log: &str| {
        let output = read_from(log.as_bytes(), &["--json", "--utc"]);
        objects(&output.stdout).pop().unwrap()
    };
    let dated = summary(&(line(37, 1) + &line(41, 2)));
    assert_eq!(dated["begin"], "2026-11-22T14:25:37.000000+00:00");
    assert_eq!(dated["end"], "2026-11-22T14:25:41.000000+00:00");
    let undated = summary(&(line(37, 1) + &record(2) + "\n"));
    assert!(undated.get("begin").is_none() && undated.get("end").is_none());
}

#[test]
fn the_host_is_for_json() {
    let output = read_from(b"", &["--host", "web1"]);
    assert_eq!(output.status.code(), Some(2));
    let output = read_from(b"", &["--json", "--host", ""]);
    assert_eq!(output.status.code(), Some(2));
}
