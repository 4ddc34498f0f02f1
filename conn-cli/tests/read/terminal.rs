//! The summary on a terminal.

use std::fmt::Write as _;

use lab::terminal::{ROWS, Terminal};

use super::{TempDir, conn_cli};

const ADDRESSES: u64 = 60;

/// Their connections: the first address makes one, the second two, and so on.
const ALL: u64 = ADDRESSES * (ADDRESSES + 1) / 2;

/// What a terminal shows of a summary of so many addresses.
fn shown(name: &str, options: &[&str]) -> String {
    let directory = TempDir::new(name);
    let mut log = String::new();
    for address in 1..=ADDRESSES {
        for port in 1..=address {
            writeln!(
                log,
                "12 14:25:37 accept4(3<TCP:[0.0.0.0:80]>, {{sa_family=AF_INET, sin_port=htons({port}), \
                 sin_addr=inet_addr(\"192.0.2.{address}\")}}, [16], 0) = \
                 4<TCP:[192.0.2.200:80->192.0.2.{address}:{port}]>"
            )
            .unwrap();
        }
    }
    let log = directory.file("log", log);
    let mut command = conn_cli();
    command.env("NO_COLOR", "1");
    command.arg("-q").args(options).arg(log);
    let terminal = Terminal::start("conn-cli read", command, None).unwrap();
    let (status, shown) = terminal.end().unwrap();
    assert!(status.success(), "{shown}");
    shown
}

/// The connections of each address.
fn counts(shown: &str) -> Vec<u64> {
    let count = |line: &str| {
        line.strip_prefix("192.0.2.")?
            .split_once(": ")?
            .1
            .parse()
            .ok()
    };
    shown.lines().filter_map(count).collect()
}

#[test]
fn the_summary_fits_the_screen() {
    let shown = shown("fits", &[]);
    let summary = shown
        .lines()
        .skip_while(|line| !line.contains("=== Summary"));
    // And the prompt.
    let lines = summary.count() + 1;
    assert_eq!(lines, usize::from(ROWS), "{shown}");
    let counts = counts(&shown);
    let most_first: Vec<u64> = (1..=ADDRESSES).rev().take(counts.len()).collect();
    assert_eq!(counts, most_first);
    let others = ADDRESSES - counts.len() as u64;
    let connections = ALL - counts.iter().sum::<u64>();
    let rest = format!("{others} other addresses: {connections} connections (--top 0 for all)");
    assert!(shown.lines().any(|line| line == rest), "{rest}: {shown}");
}

#[test]
fn top_decides_instead_of_the_screen() {
    let all = counts(&shown("all", &["--top", "0"]));
    assert_eq!((all.len() as u64, all.iter().sum()), (ADDRESSES, ALL));
    assert_eq!(counts(&shown("forty", &["--top", "40"])).len(), 40);
}
