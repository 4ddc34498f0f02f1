//! The diagnostics on standard error after the report: what is not part of it, the losses between the
//! stages of a connection, and a line for each thing that could make the total wrong.

#[cfg(test)]
mod tests;

use std::fmt;

use super::{
    brief::{brief, plural},
    listeners::queues_at_end,
};
use crate::{
    model::{
        connection::Lacks,
        exactness::Exactness,
        link_type,
        read_stats::{Incomplete, ReadStats},
        self_test::SelfTestOutcome,
        stage::Stage,
    },
    report::{LineCounts, Live, MISSED_IN_CGROUP, NewClients, Origin, Report},
};

/// The lines after the report: other counts first, the warnings last. `lines`: how many lines there were,
/// if any were requested.
#[must_use]
pub(crate) fn diagnostics(report: &Report, lines: Option<LineCounts>) -> Vec<String> {
    let mut counts = Vec::new();
    if let Some(not_shown @ 1..) = lines.map(|lines| lines.not_shown) {
        let lines = plural(not_shown, "line", "lines");
        counts.push(format!("{lines} not shown"));
    }
    let mut notes = Vec::new();
    match &report.origin {
        Origin::Kernel(live) => live_details(live, report, &mut notes),
        Origin::Records(stats) => records(stats, &mut counts, &mut notes),
    }
    let beyond = match &report.origin {
        Origin::Kernel(_) => report.other_clients,
        // Not with `--count`, which may end before.
        Origin::Records(stats) => stats.turned_away.min(report.other_clients),
    };
    for (others, why) in [
        (beyond, "beyond --max-clients"),
        (
            report.other_clients - beyond,
            "that the records only sum up",
        ),
    ] {
        if others > 0 {
            let others = plural(others, "connection", "connections");
            counts.push(format!("{others} of clients {why} under \"other\""));
        }
    }
    if let Some(detailed) = report.rows.detailed() {
        let (one, many) = report.by.nouns();
        notes.push(format!(
            "note: times, peaks and waits are only of the {} that came first, as --max-clients allows",
            plural(detailed as u64, one, many)
        ));
    }
    let mut lines = Vec::new();
    if !counts.is_empty() {
        lines.push(counts.join("; "));
    }
    lines.append(&mut notes);
    lines.extend(report.new_clients.as_ref().map(new_clients));
    lines.extend(warnings(report));
    lines
}

const FORGOT_SYNS: &str = "note: there were more SYNs within two minutes than conn-cli remembers: one that was \
    retransmitted may count again";

fn live_details(live: &Live, report: &Report, notes: &mut Vec<String>) {
    notes.extend(live.limits.iter().map(|limit| format!("note: {limit}")));
    if let SelfTestOutcome::NotTested(why) = &live.self_test {
        notes.push(format!("note: not self-tested to the end: {why}"));
    }
    if live.out_of_memory > 0 {
        let connections = plural(live.out_of_memory, "connection", "connections");
        notes.push(format!(
            "warning: {connections} under \"other\", as the kernel had no memory for the client: its row may \
             lack them"
        ));
    }
    if let Some(of_users @ 1..) = live.of_users {
        let what = match live.counted {
            Stage::Syn => plural(of_users, "SYN", "SYNs, also ones sent again,"),
            _ => plural(of_users, "connection", "connections"),
        };
        notes.push(format!(
            "{what} in network namespaces of users; --netns all counts them"
        ));
    }
    if let Some(by_kernel_threads @ 1..) = live.by_kernel_threads {
        notes.push(format!(
            "{} that kernel threads accepted, which --pid, --uid and --cgroup cannot judge, not counted",
            plural(by_kernel_threads, "connection", "connections")
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
        let any = live.stages.values().any(|connections| *connections > 0);
        if any || live.repeated > 0 || live.refused.is_some_and(|refused| refused > 0) {
            notes.push(stage_losses(live, *syns, report));
        }
    }
    if live.forgot_syns {
        notes.push(FORGOT_SYNS.to_owned());
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
            "accept wait: median {}, p90 {}, p99 {}, max {}",
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

/// `2 new addresses: 192.0.2.8 (2), 192.0.2.12 (1)`
fn new_clients(new: &NewClients) -> String {
    if new.clients == 0 {
        return "no new addresses".to_owned();
    }
    let first = new.first.iter();
    let first: Vec<_> = first
        .map(|(client, connections)| format!("{client} ({connections})"))
        .collect();
    let mut line = plural(new.clients as u64, "new address", "new addresses");
    line += &format!(": {}", first.join(", "));
    let more = new.clients - new.first.len();
    if more > 0 {
        line += &format!(" and {more} more");
    }
    line
}

/// How many of the SYNs reached each later stage, and how many did not.
fn stage_losses(live: &Live, syns: u64, report: &Report) -> String {
    let at_least = report.stages_at_least();
    let mut text = plural(syns, "SYN", "SYNs");
    if live.repeated > 0 && !report.only_new {
        text += &format!(" and {} retransmitted", live.repeated);
    }
    if let Some(refused @ 1..) = live.refused {
        text += &format!(", {refused} refused");
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

fn records(stats: &ReadStats, counts: &mut Vec<String>, notes: &mut Vec<String>) {
    if stats.repeated > 0 {
        let repeated = plural(stats.repeated, "retransmitted SYN", "retransmitted SYNs");
        counts.push(format!("{repeated} not counted"));
    }
    if stats.duplicates > 0 {
        let duplicates = plural(stats.duplicates, "record", "records");
        counts.push(format!(
            "{duplicates} of a packet that another record shows, not counted"
        ));
    }
    if stats.inner > 0 {
        let inner = plural(stats.inner, "SYN", "SYNs");
        counts.push(format!("{inner} in tunnels not counted (--inner)"));
    }
    if stats.repeated_by_ports > 0 {
        let repeated = plural(stats.repeated_by_ports, "SYN is", "SYNs are");
        notes.push(format!(
            "note: {repeated} known as retransmitted only by addresses, ports and times, as the records have no \
             sequence numbers"
        ));
    }
    if stats.forgot_syns {
        notes.push(FORGOT_SYNS.to_owned());
    }
    if stats.lower_bounds {
        notes.push(
            "warning: some clients may have had more connections than their rows say: conn-cli had no room for \
             them at first, and these are under \"other\""
                .to_owned(),
        );
    }
    let unsupported: u64 = stats.unknown_link_types.values().sum();
    for (link_type, packets) in &stats.unknown_link_types {
        let packets = plural(*packets, "packet", "packets");
        let name = link_type::name(*link_type).map_or(String::new(), |name| format!(" ({name})"));
        notes.push(format!(
            "warning: {packets} of link type {link_type}{name} could not be read: it is not supported"
        ));
    }
    if stats.not_understood > unsupported {
        let first = stats.first_not_understood.as_ref();
        let first = first.map_or(String::new(), |first| format!(", first {first}"));
        // Those of runs whose summaries were read are not among the records that were read.
        let all = stats.lines + stats.packets;
        let records = if stats.not_understood < all {
            format!("{} of {all} records", stats.not_understood)
        } else {
            plural(stats.not_understood, "record", "records")
        };
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
    if stats.without_line > 0 {
        let (have, they) = match stats.without_line {
            1 => ("connection has", "it is"),
            _ => ("connections have", "they are"),
        };
        notes.push(format!(
            "warning: {} {have} no line, which alone names the port: {they} not counted",
            stats.without_line
        ));
    }
    let unknown_port = stats.unknown_port - stats.without_line;
    if unknown_port > 0 {
        let records = plural(unknown_port, "connection", "connections");
        notes.push(format!(
            "warning: {records} not counted: the record has no local port"
        ));
    }
    if stats.unknown_time > 0 {
        let records = plural(stats.unknown_time, "connection", "connections");
        notes.push(format!(
            "warning: {records} not counted: the record has no date and time"
        ));
    }
    for (lacks, incomplete) in &stats.incomplete {
        notes.extend(incomplete_times(*lacks, incomplete));
    }
}

/// What times lack, and what was assumed instead.
fn incomplete_times(lacks: Lacks, incomplete: &Incomplete) -> Vec<String> {
    let mut input = incomplete.first_input.clone();
    if incomplete.inputs > 1 {
        input += &format!(" and {} more", incomplete.inputs - 1);
    }
    let what = match lacks {
        Lacks::Year => "the year is not in the records",
        Lacks::Date => "the day is not in the records",
        Lacks::Zone => "the time zone is not in the records",
        Lacks::Boot => "the times are since boot, whose time is not in the records",
        Lacks::Before => "the times are since an earlier record, and not on the calendar",
    };
    let dates = match (lacks, incomplete.dates) {
        (Lacks::Zone, Some(_)) => "; local time was assumed".to_owned(),
        (Lacks::Year, Some((first, last))) => assumed(first.year(), last.year()),
        (_, Some((first, last))) => assumed(first, last),
        (_, None) => String::new(),
    };
    let mut lines = vec![format!("note: {input}: {what}{dates}")];
    if incomplete.is_future {
        lines.push(format!(
            "warning: {input}: the records are of more days than there were, so that the assumed days are \
             wrong; name the file in place of a pipe"
        ));
    }
    if incomplete.is_long {
        lines.push(format!(
            "warning: {input}: the assumed days are more than a year apart, since each record that is earlier \
             than the one before begins a new day"
        ));
    }
    lines
}

/// `; 2026 was assumed`, or `; 2025 to 2026 were assumed`
fn assumed<T: fmt::Display + PartialEq>(first: T, last: T) -> String {
    if first == last {
        format!("; {first} was assumed")
    } else {
        format!("; {first} to {last} were assumed")
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
    if discrepancies.unreadable_packets > 0 {
        let packets = plural(discrepancies.unreadable_packets, "packet", "packets");
        lines.push(format!(
            "warning: {packets} could not be read: as many SYNs may be missing"
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
        (Some(_), _) => {
            let reason = why?.reason();
            return Some(format!("note: {reason}; it skipped none in this run"));
        }
    };
    if let Some(silent) = report.live().and_then(|live| live.self_test.silent()) {
        line += &format!("; {silent}");
    }
    if report.live().is_some_and(|live| live.missed_in_cgroup) {
        line += &format!("; {MISSED_IN_CGROUP}");
    }
    if let Some(why) = why.map(Exactness::reason) {
        line += &format!("; {why}");
    }
    Some(line)
}
