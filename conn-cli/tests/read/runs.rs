//! The JSON Lines of conn-cli itself, of several runs and of other versions.

use std::{fs, path::Path};

use serde_json::Value;

use super::{ACCEPT, TempDir, assert_output, read, read_from, said, text};

#[test]
fn runs_are_merged() {
    let line = |client: &str| {
        format!(
            r#"{{"type":"connection","time":"2026-11-22T15:12:08.901474+00:00","remote_address":"{client}","remote_port":1,"local_address":"192.0.2.9","local_port":80,"family":"ipv4","pid":9,"tid":9,"comm":"a\\u{{1b}}","uid":0,"cgroup":1,"netns":1,"hook":"fentry"}}"#
        ) + "\n"
    };
    let summary = r#"{"type":"summary","probe":"fentry","connections":5,"addresses":1,"seconds":2.1,"lines_shown":1,"lines_not_shown":4,"second_hook_only":0,"other_clients":1,"unreadable":2,"missed_runs":0,"unaccounted":0,"clients":[{"address":"192.0.2.1","connections":4,"ports":{"80":3,"443":1}}]}"#;
    let dir = TempDir::new("merge");
    // The first run has one line and the summary, the second only lines.
    let first = dir.file("first", format!("{}{summary}\n", line("192.0.2.1")));
    let second = dir.file("second", line("192.0.2.1") + &line("192.0.2.2"));
    let output = read(&["-q"], &[&first, &second]);
    assert_output(
        &output,
        0,
        "\n=== Summary ===\n192.0.2.1: 5\n192.0.2.2: 1\nother: 1\n\
         7 connections from 2 addresses in 4 lines\n",
        &[
            "7 connections in 4 lines",
            "1 connection of clients that the records only sum up under \"other\"",
            "warning: 2 sockets could not be read: as many connections may be missing from the total",
        ],
    );
    let output = read(&["-q", "-p", "443"], &[&first, &second]);
    assert!(text(&output.stdout).contains(
        "=== Summary ===\n192.0.2.1: 1\n1 connection from 1 address to port 443 in 4 lines\n"
    ));
    // Reading lines and writing them as JSON again does not change them.
    let again = read(&["--json", "--utc"], &[&second]);
    let stdout = text(&again.stdout);
    let lines = fs::read_to_string(&second).unwrap();
    assert!(stdout.starts_with(&lines), "{stdout}");
}

#[test]
fn times_may_be_numbers() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let capture = &recorded.join("packets/syn.pcap");
    let dir = TempDir::new("epoch");
    let epoch = ["--json", "--time", "epoch", "--long"];
    let numbers = dir.file("numbers", read(&epoch, &[capture]).stdout);
    let iso = ["--utc", "--time", "iso"];
    let (again, first) = (read(&iso, &[&numbers]), read(&iso, &[capture]));
    // Only the units of what was read differ.
    assert_eq!(
        text(&again.stdout).replace("in 23 lines", "in 22 packets"),
        text(&first.stdout)
    );
    // No object has a time of another kind.
    let intervals = [&epoch[..3], &["--interval", "1s"]].concat();
    let intervals = text(&read(&intervals, &[&numbers]).stdout).to_owned();
    let mut times = 0;
    for line in fs::read_to_string(&numbers)
        .unwrap()
        .lines()
        .chain(intervals.lines())
    {
        let object: Value = serde_json::from_str(line).unwrap();
        let clients = object["clients"].as_array().map_or(&[][..], Vec::as_slice);
        for object in clients.iter().chain([&object]) {
            for key in ["time", "start", "first_seen", "last_seen"] {
                let time = &object[key];
                assert!(time.is_null() || time.as_f64() > Some(1.7e9), "{line}");
                times += usize::from(time.is_number());
            }
        }
    }
    let connections = fs::read_to_string(&numbers)
        .unwrap()
        .matches("\"time\":1")
        .count();
    assert!(
        connections > 20 && times > connections + 10,
        "{connections} {times}"
    );
}

/// A live run can have rows of clients for which it had no room at first.
#[test]
fn lower_bounds_are_not_taken_for_exact() {
    let json = r#"{"type":"summary","lines_shown":0,"other_clients":2,"clients":[{"address":"192.0.2.1","connections":5,"at_least":true,"error":1,"ports":{"80":5}}]}"#;
    let list = "=== Summary ===\n192.0.2.1: ~5\nother: 2\n7 connections from 1 address\n";
    let table = "=== Summary ===\ncount  share  address\n   ~5   71 %  192.0.2.1\n    2   29 %  other\n    7         \
                 total\n7 connections from 1 address\n";
    let warning = "warning: some clients may have had more connections than their rows say";
    for records in [&*format!("{json}\n"), list, table] {
        let output = read_from(records.as_bytes(), &["-q"]);
        assert_eq!(output.status.code(), Some(0), "{records}");
        assert!(text(&output.stdout).contains("192.0.2.1: 5\nother: 2\n7 connections"));
        assert!(text(&output.stderr).contains(warning), "{records}");
        // And so on.
        let output = read_from(records.as_bytes(), &["-q", "--json"]);
        assert!(text(&output.stdout).contains(r#""lower_bounds":true"#));
        let again = read_from(&output.stdout, &["-q"]);
        assert!(text(&again.stderr).contains(warning), "{records}");
    }
    for exact in [
        json.replace(r#""at_least":true,"error":1,"#, ""),
        list.replace('~', ""),
        table.replace('~', " "),
    ] {
        let output = read_from(format!("{exact}\n").as_bytes(), &["-q"]);
        assert_eq!(output.status.code(), Some(0), "{exact}");
        assert!(!text(&output.stderr).contains(warning), "{exact}");
    }
}

#[test]
fn a_run_that_missed_connections_fails() {
    let summary = r#"{"type":"summary","probe":"kretprobe","connections":5,"missed_runs":3,"clients":[{"address":"192.0.2.1","connections":5,"ports":{"80":5}}]}"#;
    let output = read_from(format!("{summary}\n").as_bytes(), &["-q"]);
    assert_output(
        &output,
        1,
        "\n=== Summary ===\n192.0.2.1: 5\nat least 5 connections from 1 address in 1 line\n",
        &[
            "at least 5 connections in 1 line",
            "warning: the count is at least 5: the kernel skipped the probe 3 times",
        ],
    );
    // Also if the number is unknown, and after merging with another run.
    let unknown = summary.replace(
        r#""missed_runs":3"#,
        r#""at_least":true,"missed_runs":null"#,
    );
    let whole = summary.replace(r#""missed_runs":3"#, r#""at_least":false,"missed_runs":0"#);
    let both = format!("{unknown}\n{whole}\n");
    let output = read_from(both.as_bytes(), &["-q", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains(r#""connections":10,"at_least":true,"#));
    let output = read_from(format!("{whole}\n").as_bytes(), &["-q", "--json"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn json_of_an_unknown_type_is_skipped_and_told() {
    let connection = r#"{"type":"connection","time":null,"remote_address":"192.0.2.1","local_port":80,"hook":"fentry"}"#;
    let input = format!("{connection}\n{{\"type\":\"close\",\"bytes\":1}}\n{connection}\n");
    let output = read_from(input.as_bytes(), &["-q"]);
    assert_output(
        &output,
        0,
        "\n=== Summary ===\n192.0.2.1: 2\n2 connections from 1 address in 3 lines\n",
        &[
            "2 connections in 3 lines",
            "1 JSON object of a type that this conn-cli does not know, skipped",
        ],
    );
    let output = read_from(input.as_bytes(), &["-q", "--json"]);
    assert!(
        text(&output.stdout)
            .contains(r#""not_understood":0,"first_not_understood":null,"unknown_type":1,"#)
    );
    let again = read_from(&output.stdout, &["-q"]);
    assert!(text(&again.stderr).contains("1 JSON object of a type"));
    // An object without a type is not of conn-cli.
    let input = format!("{connection}\n{{\"bytes\":1}}\n");
    let output = read_from(input.as_bytes(), &["-q"]);
    assert!(text(&output.stderr).contains("1 of 2 records could not be parsed"));
}

/// Fields that reading does not need may have other values in another version.
#[test]
fn fields_that_are_not_needed_may_be_anything() {
    let summary = r#"{"type":"summary","clients":[{"address":"192.0.2.1","connections":3,"ports":{"80":3},"established":"x","peak_per_second":-1,"first_seen":[]}],"#;
    for field in [
        r#""stages":{"syn":1,"half-open":2}"#,
        r#""connections":null"#,
        r#""waits":{"known":1},"listeners":[{"address":"::"}],"exact":"mostly""#,
        r#""probe":7,"addresses":-1,"lines":"many""#,
    ] {
        let output = read_from(format!("{summary}{field}}}\n").as_bytes(), &["-q"]);
        assert_eq!(
            text(&output.stdout),
            "\n=== Summary ===\n192.0.2.1: 3\n3 connections from 1 address in 1 line\n",
            "{field}"
        );
        assert_eq!(output.status.code(), Some(0));
    }
    let line = r#"{"type":"connection","stage":"data","time":null,"remote_address":"192.0.2.1","local_port":80,"hook":"lsm"}"#;
    let output = read_from(format!("{line}\n").as_bytes(), &["-q"]);
    assert_eq!(
        text(&output.stdout),
        "\n=== Summary ===\n192.0.2.1: 1\n1 connection from 1 address in 1 line\n"
    );
}

#[test]
fn lines_of_a_killed_run_are_counted() {
    let line = |client: &str| {
        format!(
            r#"{{"type":"connection","time":null,"remote_address":"{client}","local_port":80,"hook":"fentry"}}"#
        ) + "\n"
    };
    let summary = r#"{"type":"summary","lines_shown":1,"clients":[{"address":"192.0.2.2","connections":1,"ports":{"80":1}}]}"#;
    let killed = line("192.0.2.1").repeat(2);
    // Once as `conn-cli --json >> log` writes it, and once with the summary in another file.
    let dir = TempDir::new("killed");
    let whole = dir.file("log", format!("{killed}{}{summary}\n", line("192.0.2.2")));
    let first = dir.file("log.1", format!("{killed}{}", line("192.0.2.2")));
    let second = dir.file("log.2", format!("{summary}\n"));
    for files in [&[&*whole][..], &[&first, &second]] {
        let output = read(&["-q"], files);
        let stdout = text(&output.stdout);
        assert!(
            stdout.contains(
                "192.0.2.1: 2\n192.0.2.2: 1\n3 connections from 2 addresses in 4 lines\n"
            ),
            "{stdout}"
        );
    }
    let output = read(&["--count", "9"], &[&whole]);
    assert_eq!(output.status.code(), Some(0));
    let output = read(&["--count", "9"], &[&second]);
    assert!(
        text(&output.stderr).contains("--count needs"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_long_summary_is_recognised() {
    let accepts: Vec<_> = (0..3000)
        .map(|client| {
            ACCEPT.replace(
                "192.0.2.1\"",
                &format!("10.0.{}.{}\"", client / 250, client % 250),
            )
        })
        .collect();
    let summary = read_from(accepts.concat().as_bytes(), &["-q", "--json"]).stdout;
    assert!(summary.len() > 100_000);
    let output = read_from(&summary, &["-q"]);
    let (_, other) = said(&output);
    assert_eq!(other, ["3000 connections in 1 line"]);
}
