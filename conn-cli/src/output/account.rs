//! The account on standard error: one line of what was counted, and a line for each thing
//! that could make the total wrong.

use super::Summary;
use crate::kernel::{Backend, Doubts};

/// The lines, the account first, the doubts after it.
#[must_use]
pub fn account(summary: &Summary, quiet: bool, doubts: &Doubts) -> Vec<String> {
    let mut line = format!(
        "{} from {} in {:.1} s",
        plural(summary.connections, "connection", "connections"),
        plural(summary.clients.len() as u64, "address", "addresses"),
        summary.elapsed.as_secs_f64(),
    );
    if !quiet {
        let lines = plural(summary.lines_not_shown, "line", "lines");
        line += &format!("; {lines} not shown");
    }
    if summary.backend == Backend::Kretprobe {
        let only = summary.second_hook_only;
        line += &format!("; {only} seen only by security_sock_graft");
    }
    if summary.other_clients > 0 {
        let others = plural(summary.other_clients, "connection", "connections");
        line += &format!("; {others} of clients beyond --max-clients under \"other\"");
    }
    let mut lines = vec![line];
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
    use crate::tally::Tally;

    fn summary() -> Summary {
        let mut tally = Tally::default();
        tally.add("192.0.2.1".parse().unwrap(), 80, 1);
        Summary {
            backend: Backend::Kretprobe,
            connections: 1,
            clients: tally.ranked(),
            other_clients: 0,
            second_hook_only: 0,
            lines_not_shown: 0,
            elapsed: Duration::from_millis(1500),
        }
    }

    #[test]
    fn one_line_when_all_is_well() {
        assert_eq!(
            account(&summary(), false, &Doubts::default()),
            [
                "1 connection from 1 address in 1.5 s; 0 lines not shown; 0 seen only by security_sock_graft"
            ]
        );
        let fentry = Summary {
            backend: Backend::Fentry,
            connections: 7,
            other_clients: 6,
            ..summary()
        };
        assert_eq!(
            account(&fentry, true, &Doubts::default()),
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
        let lines = account(&summary(), false, &doubts);
        assert_eq!(lines.len(), 4);
        assert!(lines[1].contains("1 socket could not be read"));
        assert!(lines[2].contains("2 times"));
        assert!(lines[3].contains("3 connections"));
    }
}
