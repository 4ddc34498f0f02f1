//! The total at the end of the summary, with which a report is complete.

use super::{DATED, RECORDINGS, by_client, by_hand, recorded, run, stdout, total, truth};

/// The last line of the output.
fn last(options: &str, files: &[&std::path::Path], input: &str) -> String {
    let stdout = stdout(run(&format!("--utc {options}"), files, input));
    stdout.lines().last().unwrap().to_owned()
}

#[test]
fn the_total_is_that_of_the_server() {
    for file in RECORDINGS {
        let (path, truth) = (recorded(file), truth(file));
        let clients = by_client(&truth).len();
        let expected = format!("{} connections from {clients} addresses in ", total(&truth));
        for options in ["", "-q", "--long", "--top 2", "--new", "--interval 1m"] {
            let last = last(options, &[&path], "");
            assert!(last.starts_with(&expected), "{file} {options}: {last}");
        }
        let ports: std::collections::BTreeSet<_> = truth.keys().map(|(_, port)| port).collect();
        let last = last("-q --by port", &[&path], "");
        let expected = format!("{} connections to {} ports in ", total(&truth), ports.len());
        assert!(last.starts_with(&expected), "{file}: {last}");
    }
}

/// The times are those of the first and the last line, which other options show.
#[test]
fn the_period_is_that_of_the_lines() {
    for file in DATED {
        let path = recorded(file);
        let lines = stdout(run("--utc --time iso", &[&path], ""));
        let mut times: Vec<&str> = lines
            .lines()
            .filter_map(|line| line.split_once(" New "))
            .map(|(time, _)| time)
            .collect();
        times.sort_unstable();
        let (first, end) = (times[0], times[times.len() - 1]);
        for options in ["", "-q"] {
            let last = last(&format!("--time iso {options}"), &[&path], "");
            assert!(last.contains(&format!(", {first} to {end} (")), "{last}");
        }
    }
}

#[test]
fn filters_and_times_are_named() {
    assert_eq!(
        last("-q", &[], &by_hand()),
        "4 connections from 3 addresses in 4 lines, 2026-11-22 15:12:01 to 15:12:04 (2.8 s)"
    );
    assert_eq!(
        last(
            "-q -p 80,8000-8099 --not-from 192.0.2.2 -4",
            &[],
            &by_hand()
        ),
        "1 connection from 1 address to ports 80,8000-8099 in 4 lines, 2026-11-22 15:12:01, not \
         from 192.0.2.2, only IPv4"
    );
    assert_eq!(
        last("-q --from 10.0.0.0/8 --to 198.51.100.1", &[], &by_hand()),
        "no connections in 4 lines, only from 10.0.0.0/8, to 198.51.100.1"
    );
    let next_day = by_hand().replace("-22T15:12:04", "-23T15:12:04");
    assert_eq!(
        last("-q", &[], &next_day),
        "4 connections from 3 addresses in 4 lines, 2026-11-22 15:12:01 to 2026-11-23 15:12:04 \
         (86402.8 s)"
    );
}

/// Of a part of the connections, the times would be wrong.
#[test]
fn the_period_is_left_out_unless_all_times_are_known() {
    let unknown = by_hand().replace("\"2026-11-22T15:12:04.000000+00:00\"", "null");
    assert_eq!(
        last("-q", &[], &unknown),
        "4 connections from 3 addresses in 4 lines"
    );
    assert_eq!(
        last("-q --count 2", &[], &unknown),
        "2 connections from 2 addresses in 4 lines, 2026-11-22 15:12:01 (0.2 s)"
    );
}
