//! What is measured: each tracer as it is started.

/// The server's port.
pub(super) const PORT: u16 = 80;
/// So many threads of a server wait in `accept` when it is counted what a tracer misses.
pub(super) const WAITING_THREADS: usize = 64;
/// Where a row's output goes, in the guest.
pub(super) const OUT: &str = "/tmp/out";
/// Stands in a command line for the server's.
pub(super) const SERVER: &str = "SERVER";

/// A tracer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Words with blanks between them, or between `'`; what its standard output goes to comes after ` > `.
    pub(super) line: &'static str,
    pub(super) kind: Kind,
    pub(super) told: Told,
}

/// How a tracer is run, and how it says that it is ready.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Nothing is run.
    Nothing,
    /// Beside the server.
    Beside { ready: Ready, start: Start },
    /// It starts the server, which says that it listens; or it is told of one that runs, and
    /// says this on standard error once it has attached to it, if it can.
    Around { attached: Option<&'static str> },
    /// It changes the kernel and ends; this undoes it.
    Rule { undo: &'static str },
}

/// How it is known that a tracer sees connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ready {
    /// It says this on standard error.
    Says(&'static str),
    /// The kernel tells that programs are attached to these functions.
    Hooks(&'static [&'static str]),
}

/// Whether a tracer is started for each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    EachRun,
    /// Once, as starting it takes longer than all its runs.
    Once,
}

/// How a row tells of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Not one by one.
    Nowhere,
    /// In [`OUT`]: so many lines each that contain this.
    Lines { each: u32, with: &'static str },
    /// In a capture, of which tcpdump says at its end how many packets it captured.
    Captured,
    /// In the kernel's log, in a line each that contains this.
    KernelLog { with: &'static str },
}

const NOTHING: Row = Row {
    name: "no tracer",
    line: "",
    kind: Kind::Nothing,
    told: Told::Nowhere,
};

const TEXT: Told = Told::Lines {
    each: 1,
    with: " from 127.",
};

const JSON: Told = Told::Lines {
    each: 1,
    with: r#"{"type":"connection""#,
};

const STAGES: Told = Told::Lines {
    each: 3,
    with: " from 127.",
};

/// All rows; the first is what the others are compared with.
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
        Told::Nowhere,
    ),
    conn_cli(
        "conn-cli, kretprobe, JSON",
        "conn-cli --port 80 --probe kretprobe --json > /tmp/out",
        JSON,
    ),
    conn_cli(
        "conn-cli, kretprobe, other port",
        "conn-cli --port 81 --probe kretprobe > /tmp/out",
        Told::Nowhere,
    ),
    conn_cli(
        "conn-cli, kretprobe, funnel",
        "conn-cli --port 80 --probe kretprobe --funnel > /tmp/out",
        STAGES,
    ),
    conn_cli(
        "conn-cli, kretprobe, funnel, quiet",
        "conn-cli --port 80 --probe kretprobe --funnel --quiet > /tmp/out",
        Told::Nowhere,
    ),
    conn_cli(
        "conn-cli, kretprobe, funnel, other port",
        "conn-cli --port 81 --probe kretprobe --funnel > /tmp/out",
        Told::Nowhere,
    ),
    conn_cli(
        "conn-cli, fentry",
        "conn-cli --port 80 --probe fentry > /tmp/out",
        TEXT,
    ),
    conn_cli(
        "conn-cli, fentry, quiet",
        "conn-cli --port 80 --probe fentry --quiet > /tmp/out",
        Told::Nowhere,
    ),
    conn_cli(
        "conn-cli, fentry, JSON",
        "conn-cli --port 80 --probe fentry --json > /tmp/out",
        JSON,
    ),
    conn_cli(
        "conn-cli, fentry, other port",
        "conn-cli --port 81 --probe fentry > /tmp/out",
        Told::Nowhere,
    ),
    conn_cli(
        "conn-cli, fentry, funnel",
        "conn-cli --port 80 --probe fentry --funnel > /tmp/out",
        STAGES,
    ),
    conn_cli(
        "conn-cli, lsm",
        "conn-cli --port 80 --probe lsm > /tmp/out",
        TEXT,
    ),
    conn_cli(
        "conn-cli, lsm, quiet",
        "conn-cli --port 80 --probe lsm --quiet > /tmp/out",
        Told::Nowhere,
    ),
    conn_cli(
        "conn-cli, lsm, JSON",
        "conn-cli --port 80 --probe lsm --json > /tmp/out",
        JSON,
    ),
    conn_cli(
        "conn-cli, lsm, other port",
        "conn-cli --port 81 --probe lsm > /tmp/out",
        Told::Nowhere,
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
        told: Told::Lines {
            each: 1,
            with: "Flags [S]",
        },
    },
    Row {
        name: "tcpdump, capture",
        line: "tcpdump -Z root -i any -U -w /tmp/out 'dst port 80 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn'",
        kind: TCPDUMP,
        told: Told::Captured,
    },
    Row {
        name: "iptables, log",
        line: "iptables -A INPUT -p tcp --dport 80 --syn -j LOG --log-prefix 'NEW: '",
        kind: Kind::Rule {
            // To delete the rule alone would leave a chain that each packet still goes through.
            undo: "nft 'delete table ip filter'",
        },
        told: Told::KernelLog { with: "NEW: " },
    },
    Row {
        name: "strace",
        line: "strace -f -e trace=accept,accept4 -o /tmp/out SERVER",
        kind: Kind::Around {
            attached: Some("attached with"),
        },
        told: ACCEPTS,
    },
    Row {
        name: "strace, seccomp-bpf",
        line: "strace -f --seccomp-bpf -e trace=accept,accept4 -o /tmp/out SERVER",
        kind: Kind::Around { attached: None },
        told: ACCEPTS,
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
        told: PEERS_TEXT,
    },
    Row {
        name: "SystemTap, with longer lines",
        line: "staprun /tcp_connections_wide.ko > /tmp/out",
        kind: STAPRUN,
        told: PEERS_TEXT,
    },
    hooked(
        "nothing, on both hooks",
        "bpftrace -e 'kretprobe:inet_csk_accept { } kprobe:security_sock_graft { }'",
        &[ACCEPT, GRAFT],
        Told::Nowhere,
    ),
    hooked(
        "nothing, kretprobe inet_csk_accept",
        "bpftrace -e 'kretprobe:inet_csk_accept { }'",
        &[ACCEPT],
        Told::Nowhere,
    ),
    hooked(
        "nothing, kprobe security_sock_graft",
        "bpftrace -e 'kprobe:security_sock_graft { }'",
        &[GRAFT],
        Told::Nowhere,
    ),
    hooked(
        "nothing, fentry security_sock_graft",
        "bpftrace -e 'kfunc:security_sock_graft { }'",
        &[GRAFT],
        Told::Nowhere,
    ),
];

/// What the tracers of accepts attach to.
const ACCEPT: &str = "inet_csk_accept";
const GRAFT: &str = "security_sock_graft";

/// A line of those that show a table, in which there are addresses.
const PEERS_TEXT: Told = Told::Lines {
    each: 1,
    with: " 127.0.0.1",
};

const TCPDUMP: Kind = Kind::Beside {
    ready: Ready::Says("listening on"),
    start: Start::EachRun,
};

/// Its module has been compiled.
const STAPRUN: Kind = Kind::Beside {
    ready: Ready::Hooks(&[ACCEPT]),
    start: Start::EachRun,
};

/// The last call, which nobody answers, has no address.
const ACCEPTS: Told = Told::Lines {
    each: 1,
    with: "inet_addr",
};

const fn conn_cli(name: &'static str, line: &'static str, told: Told) -> Row {
    Row {
        name,
        line,
        kind: Kind::Beside {
            ready: Ready::Says("Tracing"),
            start: Start::EachRun,
        },
        told,
    }
}

/// A tracer that is compiled, or compiles something, when it is started.
const fn hooked(
    name: &'static str,
    line: &'static str,
    functions: &'static [&'static str],
    told: Told,
) -> Row {
    Row {
        name,
        line,
        kind: Kind::Beside {
            ready: Ready::Hooks(functions),
            start: Start::Once,
        },
        told,
    }
}

impl Row {
    /// Whether it is started once for all its runs.
    pub(super) fn starts_once(&self) -> bool {
        let once = Start::Once;
        matches!(self.kind, Kind::Beside { start, .. } if start == once)
    }

    /// Whether it can be asked what it sees of a server that waited before it was started.
    pub(super) fn can_miss(&self) -> bool {
        self.told != Told::Nowhere && !matches!(self.kind, Kind::Around { attached: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_they_are_read() {
        for row in ROWS {
            if let Some((_, out)) = row.line.split_once(" >") {
                assert_eq!(out, format!(" {OUT}"), "{}", row.name);
            }
            // What it has told of between two runs is looked up there.
            if row.starts_once() && row.told != Told::Nowhere {
                assert!(matches!(row.told, Told::Lines { .. }), "{}", row.name);
            }
            if matches!(row.kind, Kind::Around { .. }) {
                assert!(row.line.ends_with(SERVER), "{}", row.name);
            }
            if matches!(row.told, Told::Lines { .. }) {
                assert!(row.line.contains(OUT), "{}", row.name);
            }
        }
        assert!(matches!(ROWS[0].kind, Kind::Nothing));
    }
}
