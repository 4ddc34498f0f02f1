//! The account on standard error: one line of what was counted, and a line for each thing
//! that could make the total wrong.

use super::{Origin, Summary};
use crate::{
    kernel::{Backend, Doubts},
    read::Ledger,
};

/// The lines, the account first, the doubts after it.
#[must_use]
pub fn account(summary: &Summary, quiet: bool) -> Vec<String> {
    let mut line = format!(
        "{} from {} in {}",
        plural(summary.connections, "connection", "connections"),
        plural(summary.clients.len() as u64, "address", "addresses"),
        extent(&summary.origin),
    );
    if !quiet {
        let lines = plural(summary.lines_not_shown, "line", "lines");
        line += &format!("; {lines} not shown");
    }
    let mut notes = Vec::new();
    match &summary.origin {
        Origin::Kernel {
            backend,
            second_hook_only,
            beyond_limit,
            elapsed: _,
        } => {
            if *backend == Backend::Kretprobe {
                line += &format!("; {second_hook_only} seen only by security_sock_graft");
            }
            if *beyond_limit > 0 {
                notes.push(format!(
                    "{beyond_limit} more were accepted before the probes were detached"
                ));
            }
        }
        Origin::Records(ledger) => records(ledger, &mut line, &mut notes),
    }
    if summary.other_clients > 0 {
        let others = plural(summary.other_clients, "connection", "connections");
        line += &format!("; {others} of clients beyond --max-clients under \"other\"");
    }
    let mut lines = vec![line];
    lines.extend(warnings(&summary.doubts));
    lines.append(&mut notes);
    lines
}

/// Over what it was counted.
fn extent(origin: &Origin) -> String {
    match origin {
        Origin::Kernel { elapsed, .. } => format!("{:.1} s", elapsed.as_secs_f64()),
        Origin::Records(ledger) => match (ledger.lines, ledger.packets) {
            (lines, 0) => plural(lines, "line", "lines"),
            (0, packets) => plural(packets, "packet", "packets"),
            (lines, packets) => format!(
                "{} and {}",
                plural(lines, "line", "lines"),
                plural(packets, "packet", "packets")
            ),
        },
    }
}

fn records(ledger: &Ledger, line: &mut String, notes: &mut Vec<String>) {
    if ledger.repeated > 0 {
        let repeated = plural(ledger.repeated, "repeated SYN", "repeated SYNs");
        *line += &format!("; {repeated} not counted");
    }
    if ledger.not_understood > 0 {
        let records = plural(ledger.not_understood, "record was", "records were");
        let first = ledger.first_not_understood.as_ref();
        let first = first.map_or(String::new(), |first| format!(", first {first}"));
        notes.push(format!("warning: {records} not understood{first}"));
    }
    if ledger.unknown_port > 0 {
        let records = plural(ledger.unknown_port, "connection", "connections");
        notes.push(format!(
            "warning: {records} not counted, since the record does not tell the local port"
        ));
    }
}

fn warnings(doubts: &Doubts) -> Vec<String> {
    let mut lines = Vec::new();
    if doubts.unreadable > 0 {
        let sockets = plural(doubts.unreadable, "socket", "sockets");
        lines.push(format!(
            "warning: {sockets} could not be read: so many connections may be missing from the total"
        ));
    }
    if let Some(missed @ 1..) = doubts.missed_runs {
        let times = plural(missed, "time", "times");
        lines.push(format!(
            "warning: the kernel did not run the probe {times}: so many connections may be missing from the total"
        ));
    }
    if doubts.unaccounted > 0 {
        let lost = plural(doubts.unaccounted, "connection", "connections");
        lines.push(format!(
            "warning: {lost} of the total neither arrived nor was counted as lost; please report this"
        ));
    }
    lines
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{connection::Host, tally::Tally};

    fn kernel(backend: Backend) -> Origin {
        Origin::Kernel {
            backend,
            elapsed: Duration::from_millis(1500),
            second_hook_only: 0,
            beyond_limit: 0,
        }
    }

    fn summary(origin: Origin) -> Summary {
        let mut tally = Tally::default();
        tally.add(&Host::at([192, 0, 2, 1]), Some(80), 1);
        Summary::new(tally, Doubts::default(), origin)
    }

    #[test]
    fn one_line_when_all_is_well() {
        assert_eq!(
            account(&summary(kernel(Backend::Kretprobe)), false),
            [
                "1 connection from 1 address in 1.5 s; 0 lines not shown; 0 seen only by security_sock_graft"
            ]
        );
        let fentry = Summary {
            connections: 7,
            other_clients: 6,
            ..summary(kernel(Backend::Fentry))
        };
        assert_eq!(
            account(&fentry, true),
            [
                "7 connections from 1 address in 1.5 s; 6 connections of clients beyond --max-clients under \"other\""
            ]
        );
    }

    #[test]
    fn every_doubt_is_said() {
        let doubts = Doubts {
            unreadable: 1,
            missed_runs: Some(2),
            unaccounted: 3,
        };
        let lines = account(
            &Summary {
                doubts,
                ..summary(kernel(Backend::Fentry))
            },
            false,
        );
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("1 socket could not be read"));
        assert!(lines[2].contains("2 times"));
        assert!(lines[3].contains("3 connections"));
    }

    #[test]
    fn records_are_accounted_for() {
        let ledger = Ledger {
            lines: 20,
            packets: 3,
            repeated: 1,
            not_understood: 2,
            first_not_understood: Some("line 4 of log: it is cut".to_owned()),
            unknown_port: 5,
            ..Ledger::default()
        };
        assert_eq!(
            account(&summary(Origin::Records(ledger)), true),
            [
                "1 connection from 1 address in 20 lines and 3 packets; 1 repeated SYN not counted",
                "warning: 2 records were not understood, first line 4 of log: it is cut",
                "warning: 5 connections not counted, since the record does not tell the local port",
            ]
        );
    }
}
