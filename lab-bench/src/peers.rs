//! Other programs that count connections, with their usual command lines for each kind of record.

use std::process::Command;

use anyhow::Result;
use lab::command;

use super::inputs::Kind;
use super::truth::{self, Clients, Truth};

/// What a program's output must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The connections of each client, as conn-cli prints them.
    Summary,
    /// The connections of each client, as `17 192.0.2.1`.
    Clients,
    /// The number of connections.
    Total,
    /// The number of lines.
    Lines,
    /// Nothing in particular: only the speed is measured.
    Nothing,
}

/// A program that reads an input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// A shell command; the input is `"$1"`, conn-cli is `"$0"`.
    pub(super) line: &'static str,
    pub(super) answer: Answer,
    pub(super) pace: Pace,
}

/// How much of the input a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Whole,
    /// A tenth, because the program is slow.
    Tenth,
    /// A tenth, in one run only.
    Once,
}

const CONN_CLI: Peer = Peer {
    name: "conn-cli -q",
    line: r#"exec "$0" read -q --jobs 1 "$1""#,
    answer: Answer::Summary,
    pace: Pace::Whole,
};

const CONN_CLI_LINES: Peer = Peer {
    name: "conn-cli, with lines",
    line: r#"exec "$0" read --jobs 1 "$1" > /dev/null"#,
    answer: Answer::Nothing,
    pace: Pace::Whole,
};

const WC: Peer = Peer {
    name: "wc -l",
    line: r#"exec wc -l < "$1""#,
    answer: Answer::Lines,
    pace: Pace::Whole,
};

const GREP_ACCEPT: Peer = Peer {
    name: "grep -c accept",
    line: r#"exec grep -c accept "$1""#,
    answer: Answer::Nothing,
    pace: Pace::Whole,
};

const STRACE: [Peer; 6] = [
    CONN_CLI,
    CONN_CLI_LINES,
    gawk(
        r#"exec gawk 'match($0, /^.*accept.*inet_addr\("([^"]*)"\).*/, a) { n[a[1]]++ } END { for (i in n) print n[i], i }' "$1""#,
    ),
    mawk(
        r#"exec mawk -F '"' '/accept.*inet_addr/ { n[$2]++ } END { for (i in n) print n[i], i }' "$1""#,
    ),
    GREP_ACCEPT,
    WC,
];

const KERNEL_LOG: [Peer; 6] = [
    CONN_CLI,
    CONN_CLI_LINES,
    gawk(
        r#"exec gawk '/SYN/ && match($0, /SRC=([0-9.]+)/, a) { n[a[1]]++ } END { for (i in n) print n[i], i }' "$1""#,
    ),
    mawk(
        r#"exec mawk '/SYN/ { s = substr($0, index($0, "SRC=") + 4); n[substr(s, 1, index(s, " ") - 1)]++ } END { for (i in n) print n[i], i }' "$1""#,
    ),
    Peer {
        name: "grep -c SYN",
        line: r#"exec grep -c SYN "$1""#,
        answer: Answer::Total,
        pace: Pace::Whole,
    },
    WC,
];

const TCPDUMP: [Peer; 6] = [
    CONN_CLI,
    CONN_CLI_LINES,
    gawk(
        r#"exec gawk '/Flags \[S\]/ && match($3, /^(.*)\.[0-9]+$/, a) { n[a[1]]++ } END { for (i in n) print n[i], i }' "$1""#,
    ),
    mawk(
        r#"exec mawk '/Flags \[S\]/ { split($3, a, "."); n[a[1] "." a[2] "." a[3] "." a[4]]++ } END { for (i in n) print n[i], i }' "$1""#,
    ),
    Peer {
        name: "grep -c 'Flags \\[S\\]'",
        line: r#"exec grep -c 'Flags \[S\]' "$1""#,
        answer: Answer::Total,
        pace: Pace::Whole,
    },
    WC,
];

const PCAP: [Peer; 4] = [
    CONN_CLI,
    CONN_CLI_LINES,
    Peer {
        name: "tcpdump -r, wc -l",
        line: r#"tcpdump -n -r "$1" 'tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn' | wc -l"#,
        answer: Answer::Total,
        pace: Pace::Tenth,
    },
    Peer {
        name: "tshark -r, wc -l",
        line: r#"tshark -n -r "$1" -Y 'tcp.flags.syn==1 && tcp.flags.ack==0' | wc -l"#,
        answer: Answer::Total,
        pace: Pace::Once,
    },
];

const fn gawk(line: &'static str) -> Peer {
    Peer {
        name: "gawk",
        line,
        answer: Answer::Clients,
        pace: Pace::Tenth,
    }
}

const fn mawk(line: &'static str) -> Peer {
    Peer {
        name: "mawk",
        line,
        answer: Answer::Clients,
        pace: Pace::Whole,
    }
}

/// All programs that read this kind; the first is conn-cli.
pub(super) fn for_kind(kind: Kind) -> &'static [Peer] {
    match kind {
        Kind::StraceThreads | Kind::StraceOne => &STRACE,
        Kind::KernelLog => &KERNEL_LOG,
        Kind::Tcpdump => &TCPDUMP,
        Kind::Pcap => &PCAP,
    }
}

impl Answer {
    /// Whether the output is right; None if it cannot be checked.
    pub(super) fn is_right(self, output: &str, truth: &Truth) -> Option<bool> {
        let clients = |clients: Option<Clients>| clients.is_some_and(|all| all == truth.clients);
        let number = output.trim().parse::<u64>().ok();
        match self {
            Self::Summary => Some(clients(truth::summary(output))),
            Self::Clients => Some(clients(truth::count_and_client(output))),
            Self::Total => Some(number == Some(truth.connections())),
            Self::Lines => Some(number == Some(truth.records)),
            Self::Nothing => None,
        }
    }
}

/// The programs that Debian does not install by default.
pub(super) const PROGRAMS: [&str; 4] = ["gawk", "mawk", "tcpdump", "tshark"];

/// The version line of each program.
pub(super) fn versions() -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for (program, option) in [
        ("gawk", "--version"),
        // mawk has no other option for this, and would wait for input.
        ("mawk", "-Wversion"),
        ("grep", "--version"),
        ("wc", "--version"),
        ("tcpdump", "--version"),
        ("tshark", "--version"),
    ] {
        let output = command::output(Command::new(program).arg(option))?;
        versions.extend(output.lines().next().map(str::to_owned));
    }
    Ok(versions)
}
