//! The rows: each tracer and how it is started.

/// The server's port.
pub(super) const PORT: u16 = 80;
/// How many threads of a server wait in `accept` when missed connections are counted.
pub(super) const WAITING_THREADS: usize = 64;
/// The output file of a row, in the guest.
pub(super) const OUT: &str = "/tmp/out";
/// Placeholder in a command line for the server's command line.
pub(super) const SERVER: &str = "SERVER";

/// A tracer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// The command line: words are separated by blanks or quoted with `'`; the file for standard
    /// output follows ` > `.
    pub(super) line: &'static str,
    pub(super) kind: Kind,
    pub(super) reports: Reports,
}

/// How a tracer is run, and how it shows that it is ready.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Nothing is run.
    Nothing,
    /// It runs beside the server.
    Beside { ready: Ready, start: Start },
    /// It starts the server, which prints that it listens. Or it attaches to a running server, if
    /// it can, and then prints `attached` on standard error.
    Around { attached: Option<&'static str> },
    /// It changes the kernel and exits; `undo` reverts the change.
    Rule { undo: &'static str },
}

/// What shows that a tracer sees connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ready {
    /// It prints this on standard error.
    Prints(&'static str),
    /// The kernel lists these functions as attached to.
    Hooks(&'static [&'static str]),
}

/// Whether a tracer is started for each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    EachRun,
    /// Once, because starting it takes longer than all its runs.
    Once,
}

/// How a row reports connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    /// Not one by one.
    Nowhere,
    /// In [`OUT`]: `each` lines for each connection that contain `with`.
    Lines { each: u32, with: &'static str },
    /// In a capture; tcpdump prints at its end how many packets it captured.
    Captured,
    /// In the kernel's log: one line for each connection that contains `with`.
    KernelLog { with: &'static str },
}

const NOTHING: Row = Row {
    name: "no tracer",
    line: "",
    kind: Kind::Nothing,
    reports: Reports::Nowhere,
};

const TEXT: Reports = Reports::Lines {
    each: 1,
    with: " from 127.",
};

const JSON: Reports = Reports::Lines {
    each: 1,
    with: r#"{"type":"connection""#,
};

const STAGES: Reports = Reports::Lines {
    each: 3,
    with: " from 127.",
};

/// All rows; the others are compared with the first.
pub(super) const ROWS: &[Row] = &[
    NOTHING,
    conn_cli(
        "conn-cli, kretprobe",
        "conn-cli --port 80 --probe kretprobe > /tmp/out",
        TEXT,
    ),
    conn_cli(
        "conn-cli, kretprobe, quiet",
        "conn-cli --port 80 --probe kretprobe --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, kretprobe, names",
        "conn-cli --port 80 --probe kretprobe --quiet --by name --name office=10.1.0.0/16 --name here=127.0.0.0/8 > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, kretprobe, JSON",
        "conn-cli --port 80 --probe kretprobe --json > /tmp/out",
        JSON,
    ),
    conn_cli(
        "conn-cli, kretprobe, other port",
        "conn-cli --port 81 --probe kretprobe > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, kretprobe, funnel",
        "conn-cli --port 80 --probe kretprobe --funnel > /tmp/out",
        STAGES,
    ),
    conn_cli(
        "conn-cli, kretprobe, funnel, quiet",
        "conn-cli --port 80 --probe kretprobe --funnel --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, kretprobe, funnel, other port",
        "conn-cli --port 81 --probe kretprobe --funnel > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, fentry",
        "conn-cli --port 80 --probe fentry > /tmp/out",
        TEXT,
    ),
    conn_cli(
        "conn-cli, fentry, quiet",
        "conn-cli --port 80 --probe fentry --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, fentry, names",
        "conn-cli --port 80 --probe fentry --quiet --by name --name office=10.1.0.0/16 --name here=127.0.0.0/8 > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, fentry, JSON",
        "conn-cli --port 80 --probe fentry --json > /tmp/out",
        JSON,
    ),
    conn_cli(
        "conn-cli, fentry, other port",
        "conn-cli --port 81 --probe fentry > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, fentry, funnel",
        "conn-cli --port 80 --probe fentry --funnel > /tmp/out",
        STAGES,
    ),
    conn_cli(
        "conn-cli, fentry, funnel, quiet",
        "conn-cli --port 80 --probe fentry --funnel --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, fentry, funnel, other port",
        "conn-cli --port 81 --probe fentry --funnel > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, SYNs, quiet",
        "conn-cli --port 80 --event syn --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, SYNs, other port",
        "conn-cli --port 81 --event syn > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, handshakes, quiet",
        "conn-cli --port 80 --event established --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, handshakes, other port",
        "conn-cli --port 81 --event established > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, lsm",
        "conn-cli --port 80 --probe lsm > /tmp/out",
        TEXT,
    ),
    conn_cli(
        "conn-cli, lsm, quiet",
        "conn-cli --port 80 --probe lsm --quiet > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, lsm, JSON",
        "conn-cli --port 80 --probe lsm --json > /tmp/out",
        JSON,
    ),
    conn_cli(
        "conn-cli, lsm, other port",
        "conn-cli --port 81 --probe lsm > /tmp/out",
        Reports::Nowhere,
    ),
    conn_cli(
        "conn-cli, lsm, funnel",
        "conn-cli --port 80 --probe lsm --funnel > /tmp/out",
        STAGES,
    ),
    Row {
        name: "tcpdump, text",
        line: "tcpdump -Z root -n -l -i any 'dst port 80 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn' > /tmp/out",
        kind: TCPDUMP,
        reports: Reports::Lines {
            each: 1,
            with: "Flags [S]",
        },
    },
    Row {
        name: "tcpdump, capture",
        line: "tcpdump -Z root -i any -U -w /tmp/out 'dst port 80 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn'",
        kind: TCPDUMP,
        reports: Reports::Captured,
    },
    Row {
        name: "iptables, log",
        line: "iptables -A INPUT -p tcp --dport 80 --syn -j LOG --log-prefix 'NEW: '",
        kind: Kind::Rule {
            // Deleting only the rule would leave a chain that each packet still goes through.
            undo: "nft 'delete table ip filter'",
        },
        reports: Reports::KernelLog { with: "NEW: " },
    },
    Row {
        name: "strace",
        line: "strace -f -e trace=accept,accept4 -o /tmp/out SERVER",
        kind: Kind::Around {
            attached: Some("attached with"),
        },
        reports: ACCEPTS,
    },
    Row {
        name: "strace, seccomp-bpf",
        line: "strace -f --seccomp-bpf -e trace=accept,accept4 -o /tmp/out SERVER",
        kind: Kind::Around { attached: None },
        reports: ACCEPTS,
    },
    hooked(
        "bpftrace, tcpaccept.bt",
        "bpftrace /usr/sbin/tcpaccept.bt > /tmp/out",
        &[ACCEPT],
        PEERS_TEXT,
    ),
    hooked(
        "bcc, tcpaccept",
        "tcpaccept-bpfcc -P 80 > /tmp/out",
        &[ACCEPT],
        PEERS_TEXT,
    ),
    Row {
        name: "SystemTap, tcp_connections",
        line: "staprun /tcp_connections.ko > /tmp/out",
        kind: STAPRUN,
        reports: PEERS_TEXT,
    },
    Row {
        name: "SystemTap, with longer lines",
        line: "staprun /tcp_connections_wide.ko > /tmp/out",
        kind: STAPRUN,
        reports: PEERS_TEXT,
    },
    hooked(
        "nothing, on both hooks",
        "bpftrace -e 'kretprobe:inet_csk_accept { } kprobe:security_sock_graft { }'",
        &[ACCEPT, GRAFT],
        Reports::Nowhere,
    ),
    hooked(
        "nothing, kretprobe inet_csk_accept",
        "bpftrace -e 'kretprobe:inet_csk_accept { }'",
        &[ACCEPT],
        Reports::Nowhere,
    ),
    hooked(
        "nothing, kprobe security_sock_graft",
        "bpftrace -e 'kprobe:security_sock_graft { }'",
        &[GRAFT],
        Reports::Nowhere,
    ),
    hooked(
        "nothing, fentry security_sock_graft",
        "bpftrace -e 'kfunc:security_sock_graft { }'",
        &[GRAFT],
        Reports::Nowhere,
    ),
];

/// The functions that tracers of accepts attach to.
const ACCEPT: &str = "inet_csk_accept";
const GRAFT: &str = "security_sock_graft";

/// For tracers that print a table with addresses.
const PEERS_TEXT: Reports = Reports::Lines {
    each: 1,
    with: " 127.0.0.1",
};

const TCPDUMP: Kind = Kind::Beside {
    ready: Ready::Prints("listening on"),
    start: Start::EachRun,
};

/// Its module is already compiled.
const STAPRUN: Kind = Kind::Beside {
    ready: Ready::Hooks(&[ACCEPT]),
    start: Start::EachRun,
};

/// The last call, which never returns, has no address.
const ACCEPTS: Reports = Reports::Lines {
    each: 1,
    with: "inet_addr",
};

const fn conn_cli(name: &'static str, line: &'static str, reports: Reports) -> Row {
    Row {
        name,
        line,
        kind: Kind::Beside {
            ready: Ready::Prints("Tracing"),
            start: Start::EachRun,
        },
        reports,
    }
}

/// A tracer that compiles its program when it is started.
const fn hooked(
    name: &'static str,
    line: &'static str,
    functions: &'static [&'static str],
    reports: Reports,
) -> Row {
    Row {
        name,
        line,
        kind: Kind::Beside {
            ready: Ready::Hooks(functions),
            start: Start::Once,
        },
        reports,
    }
}

impl Row {
    /// Whether it is started once for all its runs.
    pub(super) fn starts_once(&self) -> bool {
        let once = Start::Once;
        matches!(self.kind, Kind::Beside { start, .. } if start == once)
    }

    /// Whether missed connections can be counted: it must start after a server that waits.
    pub(super) fn can_miss(&self) -> bool {
        self.reports != Reports::Nowhere && !matches!(self.kind, Kind::Around { attached: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_match_the_other_fields() {
        for row in ROWS {
            if let Some((_, out)) = row.line.split_once(" >") {
                assert_eq!(out, format!(" {OUT}"), "{}", row.name);
            }
            // What it has reported between two runs is counted in its lines.
            if row.starts_once() && row.reports != Reports::Nowhere {
                assert!(matches!(row.reports, Reports::Lines { .. }), "{}", row.name);
            }
            if matches!(row.kind, Kind::Around { .. }) {
                assert!(row.line.ends_with(SERVER), "{}", row.name);
            }
            if matches!(row.reports, Reports::Lines { .. }) {
                assert!(row.line.contains(OUT), "{}", row.name);
            }
        }
        assert!(matches!(ROWS[0].kind, Kind::Nothing));
    }
}
