//! Options that records do not support, and the JSON of live runs as input.

use std::collections::BTreeMap;

use serde_json::{Value, json as object};

use super::{by_hand, json, listed, run, text};

#[test]
fn live_only_options_are_refused_with_the_reason() {
    for (options, reason) in [
        ("--event syn", "a record is of one stage"),
        ("--funnel", "a record is of one stage"),
        ("--pid 1", "who accepted"),
        ("--comm nginx", "who accepted"),
        ("--uid 0", "who accepted"),
        ("--cgroup /", "who accepted"),
        ("--netns 1", "network namespace"),
        ("-i lo", "not from this kernel"),
        ("--interface lo", "not from this kernel"),
        ("--probe fentry", "not from this kernel"),
        ("--by process", "who accepted"),
        ("--by user", "who accepted"),
        ("--by cgroup", "who accepted"),
    ] {
        let output = run(options, &[], &by_hand());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{options}: {stderr}");
        assert!(stderr.contains(reason), "{options}: {stderr}");
        assert!(output.stdout.is_empty(), "{options}");
    }
}

/// The lines of a run of `--funnel --by network --top 1`, without its summary. Not all of its
/// connections have lines.
const FUNNEL: &str = concat!(
    r#"{"type":"stage","stage":"syn","time":"2026-11-22T15:12:01.000000+00:00","remote_address":"192.0.2.1","local_port":80,"hook":"fentry"}"#,
    "\n",
    r#"{"type":"stage","stage":"established","time":"2026-11-22T15:12:01.000100+00:00","remote_address":"192.0.2.1","local_port":80,"hook":"fentry"}"#,
    "\n",
    r#"{"type":"connection","stage":"accepted","time":"2026-11-22T15:12:01.000200+00:00","remote_address":"192.0.2.1","local_port":80,"hook":"fentry"}"#,
    "\n",
    r#"{"type":"stage","stage":"syn","time":"2026-11-22T15:12:01.000300+00:00","remote_address":"192.0.2.9","local_port":80,"hook":"fentry"}"#,
    "\n",
    r#"{"type":"interval","start":"2026-11-22T15:12:01.000000+00:00","seconds":1.0,"connections":2,"lost":0,"addresses":2,"rate":2.0,"partial":false}"#,
    "\n",
);

fn summary_of_funnel(lines_shown: u64, connection_lines: u64) -> String {
    object!({
        "type": "summary", "probe": "fentry", "seconds": 2.0, "second_hook_only": 0, "out_of_memory": 0,
        "stages": { "syn": 4, "established": 3, "accepted": 3 }, "repeated_syns": 0,
        "connections": 3, "by": "network", "groups": 2, "lines_shown": lines_shown,
        "connection_lines": connection_lines, "lines_not_shown": 6, "unknown_clients": 0,
        "other_clients": 0, "unreadable": 0, "missed_runs": 0, "unaccounted": 0,
        "left_off": { "clients": 1, "connections": 1, "syn": 1, "established": 1 },
        "clients": [{
            "network": "192.0.2.0/24", "connections": 2, "syn": 3, "established": 2,
            "ports": { "80": 2 },
        }],
    })
    .to_string()
        + "\n"
}

#[test]
fn the_json_of_a_funnel_is_read() {
    // Without the summary, the lines are counted.
    let (lines, summary) = json("", &[], FUNNEL);
    assert_eq!(lines.len(), 1);
    assert_eq!(summary["connections"], 1);
    let whole = format!("{FUNNEL}{}", summary_of_funnel(4, 1));
    for input in [whole.clone(), whole.repeat(2)] {
        let runs = input.matches("summary").count() as u64;
        let (lines, summary) = json("", &[], &input);
        assert_eq!(lines.len() as u64, runs);
        assert_eq!(summary["connections"], 3 * runs);
        // The clients of the network are unknown; one connection is in no listed network.
        assert_eq!(summary["unknown_clients"], 2 * runs);
        assert_eq!(summary["other_clients"], runs);
        assert_eq!(summary["not_understood"], 0);
        let (_, in_text) = text("-q", &[], &input);
        assert_eq!(
            in_text,
            [format!("unknown: {}", 2 * runs), format!("other: {runs}")]
        );
    }
    let (rows, _) = json("--interval 1s", &[], &whole);
    assert_eq!((rows.len(), &rows[0]["connections"]), (1, &object!(1)));
}

/// In summaries by user or cgroup, the names are not those of hosts.
#[test]
fn users_and_cgroups_are_not_clients() {
    let summary = |by: &str, client: Value| {
        object!({ "type": "summary", "by": by, "connections": 5, "lines_shown": 0, "clients": [client] })
            .to_string()
            + "\n"
    };
    for input in [
        summary(
            "user",
            object!({ "uid": 0, "name": "root", "connections": 5, "ports": { "80": 5 } }),
        ),
        summary(
            "cgroup",
            object!({ "cgroup": 7, "name": "/a b", "connections": 5, "ports": { "80": 5 } }),
        ),
        summary(
            "process",
            object!({ "pid": 7, "comm": "a b", "connections": 5, "ports": { "80": 5 } }),
        ),
        summary(
            "port",
            object!({ "port": 80, "connections": 5, "ports": { "80": 5 } }),
        ),
    ] {
        let (_, summary) = json("-q", &[], &input);
        assert_eq!(summary["connections"], 5, "{input}");
        assert_eq!(summary["unknown_clients"], 5, "{input}");
        assert_eq!(summary["not_understood"], 0, "{input}");
        let by_port = listed(&json("-q --by port", &[], &input).1, "port");
        assert_eq!(by_port, BTreeMap::from([("80".to_owned(), 5)]), "{input}");
    }
}
