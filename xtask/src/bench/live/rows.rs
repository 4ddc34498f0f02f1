//! What is measured: each tracer as it is started.

use crate::vm::tools::Tool;

/// The server's port.
pub(super) const PORT: u16 = 80;
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
    /// Beside the server, and says this on standard error.
    Beside { ready: &'static str },
    /// It starts the server, which says that it listens.
    Around,
    /// It changes the kernel and ends; this undoes it.
    Rule { undo: &'static str },
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
        name: "nftables, log",
        line: r#"nft 'add table ip bench; add chain ip bench input { type filter hook input priority 0; }; add rule ip bench input tcp dport 80 tcp flags & (syn|ack) == syn log prefix "NEW: "'"#,
        kind: Kind::Rule {
            undo: "nft 'delete table ip bench'",
        },
        told: Told::KernelLog { with: "NEW: " },
    },
    Row {
        name: "strace",
        line: "strace -f -e trace=accept,accept4 -o /tmp/out SERVER",
        kind: Kind::Around,
        told: ACCEPTS,
    },
    Row {
        name: "strace, seccomp-bpf",
        line: "strace -f --seccomp-bpf -e trace=accept,accept4 -o /tmp/out SERVER",
        kind: Kind::Around,
        told: ACCEPTS,
    },
];

/// The programs that these are, beside those that each guest has.
pub(super) const TOOLS: [Tool; 2] = [("nft", "nftables"), ("strace", "strace")];

const TCPDUMP: Kind = Kind::Beside {
    ready: "listening on",
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
        kind: Kind::Beside { ready: "Tracing" },
        told,
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
            if matches!(row.kind, Kind::Around) {
                assert!(row.line.ends_with(SERVER), "{}", row.name);
            }
            if matches!(row.told, Told::Lines { .. }) {
                assert!(row.line.contains(OUT), "{}", row.name);
            }
        }
        assert!(matches!(ROWS[0].kind, Kind::Nothing));
    }
}
