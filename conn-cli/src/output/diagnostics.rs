//! The diagnostics on standard error: one line with the counts, the losses between the stages of a
//! connection, and a line for each thing that could make the total wrong.

use std::collections::BTreeSet;

use super::brief::{brief, plural};
use crate::{
    model::{
        exactness::Exactness, hook::Hook, listener::Listener, ports::PortSet, queues::Queues,
        read_stats::ReadStats, stage::Stage,
    },
    report::{LineCounts, Live, Origin, Report},
};

/// How many listeners are named one by one at most.
const MAX_NAMED_LISTENERS: usize = 8;

/// The lines of the diagnostics: the counts first, the warnings last. `lines`: how many lines there
/// were, if any were requested.
#[must_use]
pub(crate) fn diagnostics(report: &Report, lines: Option<LineCounts>) -> Vec<String> {
    let (one, many) = report.by.nouns();
    let mut line = format!(
        "{} from {} in {}",
        plural(report.connections, "connection", "connections"),
        plural(report.groups as u64, one, many),
        extent(&report.origin),
    );
    if let Some(lines) = lines {
        let lines = plural(lines.not_shown, "line", "lines");
        line += &format!("; {lines} not shown");
    }
    let mut notes = Vec::new();
    match &report.origin {
        Origin::Kernel(live) => live_details(live, report, &mut line, &mut notes),
        Origin::Records(stats) => records(stats, &mut line, &mut notes),
    }
    if report.other_clients > 0 {
        let others = plural(report.other_clients, "connection", "connections");
        line += &match report.origin {
            Origin::Kernel(_) => {
                format!("; {others} of clients beyond --max-clients under \"other\"")
            }
            Origin::Records(_) => {
                format!("; {others} of clients that the records only sum up under \"other\"")
            }
        };
    }
    let mut lines = vec![line];
    lines.append(&mut notes);
    lines.extend(warnings(report));
    lines
}

/// The time, lines or packets that were counted over.
fn extent(origin: &Origin) -> String {
    match origin {
        Origin::Kernel(live) => format!("{:.1} s", live.elapsed.as_secs_f64()),
        Origin::Records(stats) => match (stats.lines, stats.packets) {
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

fn live_details(live: &Live, report: &Report, line: &mut String, notes: &mut Vec<String>) {
    if live.hook == Hook::Kretprobe {
        *line += &format!(
            "; {} seen only by security_sock_graft",
            live.second_hook_only
        );
    }
    if live.out_of_memory > 0 {
        let connections = plural(live.out_of_memory, "connection", "connections");
        notes.push(format!(
            "warning: {connections} under \"other\", as the kernel had no memory for the client: its row may \
             lack them"
        ));
    }
    if live.beyond_limit > 0 {
        let what = match live.counted {
            Stage::Accepted => "accepted",
            Stage::Established => "established",
            Stage::Syn => "requested",
        };
        notes.push(format!(
            "{} more were {what} before the probes were detached",
            live.beyond_limit
        ));
    }
    if let Some(syns) = live.stages.get(&Stage::Syn) {
        notes.push(stage_losses(live, *syns, &report.stages_at_least()));
    }
    if let Some(missed @ 1..) = live.missed_established {
        let times = plural(missed, "time", "times");
        notes.push(format!(
            "warning: the kernel skipped the probe of the established stage {times}: as many connections \
             may be missing there"
        ));
    }
    if let Some(waits) = &live.waits {
        notes.push(format!(
            "time in the accept queue: p50 {}, p90 {}, p99 {}, max {}",
            brief(waits.p50),
            brief(waits.p90),
            brief(waits.p99),
            brief(waits.longest)
        ));
    }
    if let Some(queues) = &live.queues {
        notes.extend(queues_at_end(queues));
    }
}

/// How many of the SYNs reached each later stage, and how many did not.
fn stage_losses(live: &Live, syns: u64, at_least: &BTreeSet<Stage>) -> String {
    let mut text = plural(syns, "SYN", "SYNs");
    if live.repeated > 0 {
        text += &format!(" and {} retransmitted", live.repeated);
    }
    let (mut previous, mut previous_is_least) = (syns, false);
    for (stage, what) in [
        (Stage::Established, "never completed"),
        (Stage::Accepted, "not accepted"),
    ] {
        if let Some(connections) = live.stages.get(&stage) {
            let missing = previous.saturating_sub(*connections);
            let is_least = at_least.contains(&stage);
            let at = if is_least { "at least " } else { "" };
            let missing_at = match (previous_is_least, is_least) {
                (false, false) => "",
                (false, true) => "at most ",
                (true, false) => "at least ",
                (true, true) => "perhaps ",
            };
            text += &format!(
                "; {at}{connections} {}, {missing_at}{missing} {what}",
                stage.name()
            );
            (previous, previous_is_least) = (*connections, is_least);
        }
    }
    text
}

/// The listeners at the start. `hidden_namespaces`: how many network namespaces could not be
/// inspected.
#[must_use]
pub(crate) fn listening(
    ports: &PortSet,
    listeners: &[Listener],
    hidden_namespaces: usize,
) -> Vec<String> {
    let mut lines = Vec::new();
    if !ports.is_all() {
        let named = listeners.iter().take(MAX_NAMED_LISTENERS);
        lines.extend(named.map(|listener| format!("listening: {}", listener.describe())));
        if listeners.len() > MAX_NAMED_LISTENERS {
            let more = listeners.len() - MAX_NAMED_LISTENERS;
            lines.push(format!("listening: {more} more"));
        }
    }
    if listeners.is_empty() {
        lines.push(if ports.is_all() {
            "no listeners".to_owned()
        } else {
            format!("no listener on {ports}")
        });
    }
    if hidden_namespaces > 0 {
        let namespaces = plural(
            hidden_namespaces as u64,
            "network namespace",
            "network namespaces",
        );
        lines.push(format!("{namespaces} could not be inspected"));
    }
    lines
}

/// The accept queues at the end. Of many listeners only those with trouble are named.
fn queues_at_end(queues: &Queues) -> Vec<String> {
    let mut lines = Vec::new();
    let name_all = queues.listeners.len() <= MAX_NAMED_LISTENERS;
    for (listener, dropped) in &queues.listeners {
        let dropped = *dropped;
        if name_all || listener.waiting > 0 || dropped.is_some_and(|dropped| dropped > 0) {
            lines.push(queue(listener, dropped));
        }
    }
    let lacks_count = queues
        .listeners
        .iter()
        .any(|(_, dropped)| dropped.is_none());
    for namespace in &queues.namespaces {
        // The kernel's count for each listener is more precise.
        if (lacks_count || !queues.closed.is_empty()) && namespace.drops > 0 {
            let place = match namespace.is_own_netns {
                true => "this network namespace".to_owned(),
                false => format!("network namespace {}", namespace.netns),
            };
            lines.push(format!(
                "all listeners in {place}: {} packets dropped, {} of them by a full accept queue",
                namespace.drops, namespace.overflows
            ));
        }
    }
    for listener in queues.closed.iter().take(MAX_NAMED_LISTENERS) {
        lines.push(format!("{} has stopped listening", listener.name()));
    }
    lines
}

fn queue(listener: &Listener, dropped: Option<u32>) -> String {
    let mut line = format!(
        "{}: accept queue {}/{}",
        listener.name(),
        listener.waiting,
        listener.limit
    );
    if let Some(dropped) = dropped {
        line += &format!(", {} dropped", plural(dropped.into(), "packet", "packets"));
    }
    line
}

fn records(stats: &ReadStats, line: &mut String, notes: &mut Vec<String>) {
    if stats.repeated > 0 {
        let repeated = plural(stats.repeated, "retransmitted SYN", "retransmitted SYNs");
        *line += &format!("; {repeated} not counted");
    }
    if stats.not_understood > 0 {
        let records = plural(stats.not_understood, "record", "records");
        let first = stats.first_not_understood.as_ref();
        let first = first.map_or(String::new(), |first| format!(", first {first}"));
        notes.push(format!("warning: {records} could not be parsed{first}"));
    }
    if stats.unknown_type > 0 {
        let objects = plural(stats.unknown_type, "JSON object", "JSON objects");
        notes.push(format!(
            "{objects} of a type that this conn-cli does not know, skipped"
        ));
    }
    if stats.unknown_client > 0 {
        let records = plural(stats.unknown_client, "connection", "connections");
        notes.push(format!(
            "warning: {records} not counted: the record has no client address"
        ));
    }
    if stats.unknown_port > 0 {
        let records = plural(stats.unknown_port, "connection", "connections");
        notes.push(format!(
            "warning: {records} not counted: the record has no local port"
        ));
    }
}

fn warnings(report: &Report) -> Vec<String> {
    let discrepancies = &report.discrepancies;
    let mut lines = Vec::new();
    lines.extend(inexact(report));
    if discrepancies.unreadable > 0 {
        let sockets = plural(discrepancies.unreadable, "socket", "sockets");
        lines.push(format!(
            "warning: {sockets} could not be read: as many connections may be missing from the total"
        ));
    }
    if discrepancies.unaccounted > 0 {
        let lost = plural(discrepancies.unaccounted, "connection", "connections");
        lines.push(format!(
            "warning: {lost} of the total neither arrived nor were counted as lost; please report this"
        ));
    }
    lines
}

/// How wrong the count can be, if the kernel skipped the probe or may have.
fn inexact(report: &Report) -> Option<String> {
    let why = report.live().map(|live| &live.exactness);
    let why = why.filter(|exactness| !exactness.is_exact());
    let missed = report.discrepancies.missed_runs;
    let mut line = match (missed, report.discrepancies.at_least) {
        (Some(times @ 1..), _) => format!(
            "warning: the count is at least {}: the kernel skipped the probe {}",
            report.connections,
            plural(times, "time", "times")
        ),
        (_, true) => format!("warning: the count is at least {}", report.connections),
        (None, _) => {
            let reason = why?.reason();
            return Some(format!("warning: connections may be missing: {reason}"));
        }
        (Some(_), _) => return Some(format!("{}; it skipped none in this run", why?.reason())),
    };
    if let Some(why) = why.map(Exactness::reason) {
        line += &format!("; {why}");
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        count::{tally::Tally, waits::Quantiles},
        model::{connection::Host, discrepancies::Discrepancies, exactness::is_at_least},
    };

    fn kernel(hook: Hook) -> Origin {
        Origin::Kernel(Live::sample(hook, Duration::from_millis(1500)))
    }

    fn report(origin: Origin) -> Report {
        let mut tally = Tally::default();
        tally.add(&Host::at([192, 0, 2, 1]), Some(80), 1);
        Report::sample(tally, origin)
    }

    #[test]
    fn one_line_if_there_is_nothing_to_warn_of() {
        assert_eq!(
            diagnostics(
                &report(kernel(Hook::Kretprobe)),
                Some(LineCounts::default())
            ),
            [
                "1 connection from 1 address in 1.5 s; 0 lines not shown; 0 seen only by security_sock_graft"
            ]
        );
        let fentry = Report {
            connections: 7,
            other_clients: 6,
            ..report(kernel(Hook::Fentry))
        };
        assert_eq!(
            diagnostics(&fentry, None),
            [
                "7 connections from 1 address in 1.5 s; 6 connections of clients beyond --max-clients under \"other\""
            ]
        );
    }

    #[test]
    fn lack_of_memory_is_a_warning() {
        let live = Live {
            out_of_memory: 3,
            ..Live::sample(Hook::Fentry, Duration::from_millis(1500))
        };
        let lines = diagnostics(&report(Origin::Kernel(live)), Some(LineCounts::default()));
        assert_eq!(lines.len(), 2);
        assert!(
            lines[1].starts_with("warning: 3 connections under \"other\""),
            "{}",
            lines[1]
        );
    }

    #[test]
    fn each_discrepancy_is_a_warning() {
        let discrepancies = Discrepancies {
            at_least: true,
            unreadable: 1,
            missed_runs: Some(2),
            unaccounted: 3,
        };
        let lines = diagnostics(
            &Report {
                discrepancies,
                ..report(kernel(Hook::Fentry))
            },
            Some(LineCounts::default()),
        );
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[1],
            "warning: the count is at least 1: the kernel skipped the probe 2 times"
        );
        assert!(lines[2].contains("1 socket could not be read"));
        assert!(lines[3].contains("3 connections"));
    }

    #[test]
    fn an_inexact_hook_is_reported_at_the_end() {
        let line = |exactness, missed_runs| {
            let discrepancies = Discrepancies {
                at_least: is_at_least(&exactness, missed_runs),
                missed_runs,
                ..Discrepancies::default()
            };
            let live = Live {
                exactness,
                ..Live::sample(Hook::Kretprobe, Duration::from_millis(1500))
            };
            let report = Report {
                discrepancies,
                ..report(Origin::Kernel(live))
            };
            diagnostics(&report, None)[1..].join("|")
        };
        let reason = || "this kernel is preemptible (full)".to_owned();
        assert_eq!(
            line(Exactness::Inexact(reason()), Some(2)),
            "warning: the count is at least 1: the kernel skipped the probe 2 times; this kernel is \
             preemptible (full)"
        );
        assert_eq!(
            line(Exactness::Inexact(reason()), Some(0)),
            "this kernel is preemptible (full); it skipped none in this run"
        );
        assert_eq!(
            line(Exactness::Inexact(reason()), None),
            "warning: connections may be missing: this kernel is preemptible (full)"
        );
        assert_eq!(
            line(Exactness::Lost(reason()), None),
            "warning: the count is at least 1; this kernel is preemptible (full)"
        );
        assert_eq!(line(Exactness::Exact(reason()), None), "");
    }

    #[test]
    fn records_that_are_not_counted_are_reported() {
        let stats = ReadStats {
            lines: 20,
            packets: 3,
            repeated: 1,
            not_understood: 2,
            first_not_understood: Some("line 4 of log: it is cut".to_owned()),
            unknown_port: 5,
            unknown_type: 3,
            ..ReadStats::default()
        };
        assert_eq!(
            diagnostics(&report(Origin::Records(stats)), None),
            [
                "1 connection from 1 address in 20 lines and 3 packets; 1 retransmitted SYN not counted",
                "warning: 2 records could not be parsed, first line 4 of log: it is cut",
                "3 JSON objects of a type that this conn-cli does not know, skipped",
                "warning: 5 connections not counted: the record has no local port",
            ]
        );
    }

    #[test]
    fn losses_between_the_stages_are_reported() {
        let ms = Duration::from_millis;
        let live = Live {
            stages: [
                (Stage::Syn, 200),
                (Stage::Established, 120),
                (Stage::Accepted, 100),
            ]
            .into(),
            repeated: 300,
            waits: Some(Quantiles {
                known: 100,
                p50: ms(50),
                p90: ms(99),
                p99: ms(150),
                longest: ms(1234),
            }),
            ..Live::sample(Hook::Fentry, ms(1500))
        };
        let lines = diagnostics(&report(Origin::Kernel(live.clone())), None);
        assert_eq!(
            lines[1..],
            [
                "200 SYNs and 300 retransmitted; 120 established, 80 never completed; 100 accepted, \
                 20 not accepted",
                "time in the accept queue: p50 50 ms, p90 99 ms, p99 150 ms, \
                 max 1.2 s",
            ]
        );
        let live = Live {
            missed_established: Some(1),
            ..live
        };
        let lines = diagnostics(&report(Origin::Kernel(live)), None);
        assert_eq!(
            lines[1],
            "200 SYNs and 300 retransmitted; at least 120 established, at most 80 never completed; 100 \
             accepted, at least 20 not accepted"
        );
    }
}
