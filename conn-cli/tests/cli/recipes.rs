//! The recipes: those that need no kernel are run here, on records like those of a web server; the others in
//! the live cases.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::Command,
};

use conn_cli::cli;
use jiff::{SignedDuration, Timestamp};

use super::documents::invocations;

const RECIPES: &str = include_str!("../../../docs/recipes.md");

/// The text of the first block of code under a heading.
fn recipe(heading: &str) -> &'static str {
    let (_, section) = RECIPES
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no recipe {heading:?}"));
    let (_, block) = section.split_once("\n```").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    let (_language, lines) = block.split_once('\n').unwrap();
    lines
}

/// A directory in which recipes are run, removed when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("conn-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("bin")).unwrap();
        let _ = symlink(env!("CARGO_BIN_EXE_conn-cli"), path.join("bin/conn-cli"));
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> &Self {
        fs::write(self.0.join(name), content).unwrap();
        self
    }

    /// What a shell prints that runs this.
    fn output(&self, commands: &str) -> String {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", commands])
            .current_dir(&self.0)
            .env("PATH", format!("{}/bin:{path}", self.0.display()))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A line of `conn-cli --json`.
fn connection(time: &str, client: &str, port: u16, wait: f64) -> String {
    format!(
        r#"{{"type":"connection","time":"{time}","remote_address":"{client}","remote_port":{port},"local_address":"192.0.2.9","local_port":80,"family":"ipv4","wait":{wait},"hook":"fentry"}}"#
    ) + "\n"
}

/// Three connections in two minutes.
fn web() -> String {
    [
        connection(
            "2026-11-22T14:25:37.901474+00:00",
            "192.0.2.1",
            40001,
            0.000041,
        ),
        connection(
            "2026-11-22T14:25:59.999999+00:00",
            "192.0.2.2",
            40002,
            0.0015,
        ),
        connection("2026-11-22T15:26:00.000000+01:00", "192.0.2.1", 40003, 0.25),
    ]
    .concat()
}

#[test]
fn connections_are_counted_per_minute() {
    let place = Place::new("per-minute");
    let output = place
        .file("web.jsonl", &web())
        .output(recipe("Connections per minute"));
    let rows: Vec<Vec<_>> = output
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows,
        [["2", "2026-11-22T14:25:00Z"], ["1", "2026-11-22T14:26:00Z"]]
    );
}

#[test]
fn requests_are_joined_with_their_connections() {
    let log = "192.0.2.1:40003 /slow\n192.0.2.7:40001 /of-another\n192.0.2.1:40001 /first\n";
    let place = Place::new("join");
    place.file("web.jsonl", &web()).file("access.log", log);
    let output = place.output(recipe("How long each request of an access log waited"));
    assert_eq!(
        output,
        "192.0.2.1:40001 /first 4.1e-05\n192.0.2.1:40003 /slow 0.25\n"
    );
}

#[test]
fn what_is_written_so_far_is_counted() {
    let (_, read) = recipe("Totals meanwhile")
        .split_once("kill -USR1 $!\n")
        .unwrap();
    let place = Place::new("meanwhile");
    let totals = r#"{"type":"totals","connections":3,"clients":[]}"#;
    let output = place
        .file("web.jsonl", &(web() + totals + "\n"))
        .output(read);
    let expected =
        "3\n\n=== Summary ===\n192.0.2.1: 2\n192.0.2.2: 1\n3 connections from 2 addresses";
    assert!(output.starts_with(expected), "{output}");
}

#[test]
fn a_period_and_two_runs_are_read() {
    let place = Place::new("since");
    let client = |hours, client| {
        let time = Timestamp::now() - SignedDuration::from_hours(hours);
        connection(&time.to_string(), client, 40001, 0.25)
    };
    // A day before yesterday has ended by now, whatever the time zone.
    place.file(
        "web.jsonl",
        &(client(72, "192.0.2.1") + &client(0, "192.0.2.2")),
    );
    // In place of systemd's.
    let journalctl = r#"#!/bin/sh
log() {
    echo "$(date -d "$1" '+%b %e %H:%M:%S') web kernel: NEW: IN=eth0 OUT= SRC=$2 DST=192.0.2.9 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=40001 DPT=80 WINDOW=64240 RES=0x00 SYN URGP=0"
}
log '3 days ago' 192.0.2.3
log now 192.0.2.4
"#;
    place.file("bin/journalctl", journalctl);
    let program = place.0.join("bin/journalctl");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    let output = place.output(recipe("Since yesterday"));
    let rows: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("192.0.2."))
        .collect();
    assert_eq!(rows, ["192.0.2.2: 1", "192.0.2.4: 1"]);

    let after = web() + &client(0, "192.0.2.2") + &client(0, "192.0.2.7");
    place
        .file("before.jsonl", &web())
        .file("after.jsonl", &after);
    let output = place.output(recipe("Before and after"));
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for row in [
        "1 2 +1 192.0.2.2",
        "0 1 +1 192.0.2.7 new",
        "2 2 0 192.0.2.1",
    ] {
        assert!(
            output.lines().any(|line| words(line) == words(row)),
            "{row}: {output}"
        );
    }
}

/// Neither systemd nor cron runs where the tests do: what they start is parsed.
#[test]
fn what_services_start_is_accepted() {
    let mut parsed = 0;
    for heading in ["As a service", "A report for each day", "An alert"] {
        for line in recipe(heading).lines() {
            // In a table of cron, a percent sign is escaped; five times and a user are before the command.
            let command = line
                .splitn(7, ' ')
                .last()
                .filter(|_| line.contains(" * * * root "));
            let command = command.unwrap_or(line).replace("\\%", "%");
            let syntax = Command::new("bash")
                .args(["-n", "-c", &command])
                .status()
                .unwrap();
            assert!(syntax.success(), "{command}");
            for words in invocations(&command) {
                let args = [&["conn-cli"], &words[1..]].concat();
                cli::parse(&args).unwrap_or_else(|error| panic!("{line}: {error}"));
                parsed += 1;
            }
        }
    }
    assert_eq!(parsed, 3);
    let unit = recipe("As a service");
    assert_eq!(unit.matches("web-count").count(), unit.lines().count());
}
