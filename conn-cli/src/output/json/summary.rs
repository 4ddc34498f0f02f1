//! The last line of a run.

use std::borrow::Cow;

use super::seconds;
use crate::{
    count::{profile::Profile, waits::Quantiles},
    model::{
        exactness::Exactness,
        group::{GroupBy, GroupKey},
        listener::Listener,
        schema::{
            ClientEntry, EarlierStages, LeftOffEntry, ListenerEntry, SelfTestFields, SummaryLine,
            Type, WaitFields,
        },
        self_test::SelfTestOutcome,
        stage::Stage,
    },
    output::{Clock, brief::rounded},
    report::{LeftOff, LineCounts, Live, MISSED_IN_CGROUP, Origin, Report, Row},
};

/// `{"type":"summary",...}`, without the machine and the clients; times are in the clock's format.
pub(super) fn summary_line<'a>(
    report: &'a Report,
    lines: LineCounts,
    clock: &Clock,
) -> SummaryLine<'a> {
    let by_address = report.by == GroupBy::Address.into();
    let live = report.live();
    let period = live.map(|live| live.period).or(report.period);
    let syn_hook = live.and_then(|live| live.syn_hook);
    let knows_refused = report.knows_refused();
    let several = live.filter(|live| live.stages.len() > 1);
    let records = match &report.origin {
        Origin::Kernel(_) => None,
        Origin::Records(stats) => Some(stats),
    };
    SummaryLine {
        r#type: Type::Summary,
        host: None,
        probe: live.map(|live| live.hook.name().into()),
        exact: live.map(|live| live.exactness.is_exact() && !report.discrepancies.at_least),
        exact_reason: live.map(|live| exact_reason(live, report)),
        self_test: live.map(|live| self_test(&live.self_test, clock)),
        start: live.map(|live| clock.field(live.period.0)),
        begin: period.map(|(begin, _)| clock.field(begin)),
        end: period.map(|(_, end)| clock.field(end)),
        seconds: live.map(|live| rounded(live.elapsed.as_secs_f64())),
        second_hook_only: live.map(|live| live.second_hook_only),
        out_of_memory: live.map(|live| live.out_of_memory),
        user_namespaces: live.and_then(|live| live.of_users),
        kernel_threads: live.and_then(|live| live.by_kernel_threads),
        stages: several.map(|live| std::borrow::Cow::Borrowed(&live.stages)),
        other_stages: several.map(|live| std::borrow::Cow::Borrowed(&live.others)),
        stages_at_least: several.map(|_| report.stages_at_least()),
        missed_runs_established: live.and_then(|live| live.missed_established),
        repeated_syns: live
            .filter(|live| live.stages.contains_key(&Stage::Syn))
            .map(|live| live.repeated),
        refused_syns: live
            .filter(|live| live.stages.contains_key(&Stage::Syn))
            .map(|live| live.refused),
        syn_probe: syn_hook.map(|hook| hook.name().into()),
        syn_counts: syn_hook.map(|hook| hook.info().counts.into()),
        waits: live.and_then(|live| live.waits.as_ref().map(waits)),
        listeners: live.and_then(|live| live.queues.as_ref()).map(|queues| {
            let entry = |(listener, dropped): &'a (Listener, _)| listener_entry(listener, *dropped);
            queues.listeners.iter().map(entry).collect()
        }),
        formats: records.map(|stats| {
            let names = stats.formats.iter().map(|format| format.name().into());
            names.collect()
        }),
        lines: records.map(|stats| stats.lines),
        packets: records.map(|stats| stats.packets),
        not_understood: records.map(|stats| stats.not_understood),
        first_not_understood: records
            .map(|stats| stats.first_not_understood.as_deref().map(Into::into)),
        unknown_type: records
            .map(|stats| stats.unknown_type)
            .filter(|&unknown| unknown > 0),
        repeated: records.map(|stats| stats.repeated),
        repeated_by_ports: records
            .map(|stats| stats.repeated_by_ports)
            .filter(|&repeated| repeated > 0),
        duplicates: records
            .map(|stats| stats.duplicates)
            .filter(|&duplicates| duplicates > 0),
        forgot_syns: live.is_some_and(|live| live.forgot_syns)
            || records.is_some_and(|stats| stats.forgot_syns),
        lower_bounds: records.is_some_and(|stats| stats.lower_bounds),
        inner: records.map(|stats| stats.inner).filter(|&inner| inner > 0),
        unknown_port: records.map(|stats| stats.unknown_port),
        unknown_client: records.map(|stats| stats.unknown_client),
        unknown_time: records
            .map(|stats| stats.unknown_time)
            .filter(|&unknown| unknown > 0),
        connections: report.connections,
        at_least: report.discrepancies.at_least,
        by: (!by_address).then(|| report.by.name().into()),
        addresses: by_address.then_some(report.groups),
        groups: (!by_address).then_some(report.groups),
        only_new: report.only_new,
        lines_shown: lines.shown,
        connection_lines: lines.connections,
        lines_not_shown: lines.not_shown,
        unknown_clients: report.unknown_clients,
        other_clients: report.other_clients,
        detailed_clients: report.rows.detailed(),
        unreadable: report.discrepancies.unreadable,
        unreadable_packets: live
            .filter(|live| live.stages.contains_key(&Stage::Syn))
            .map(|_| report.discrepancies.unreadable_packets),
        missed_runs: report.discrepancies.missed_runs,
        unaccounted: report.discrepancies.unaccounted,
        left_off: { report.left_off.as_ref() }
            .map(|left_off| left_off_entry(left_off, knows_refused)),
        clients: Vec::new(),
    }
}

fn exact_reason<'a>(live: &'a Live, report: &Report) -> Cow<'a, str> {
    match (&live.exactness, report.discrepancies.at_least) {
        (Exactness::Exact(_), true) if live.missed_in_cgroup => MISSED_IN_CGROUP.into(),
        (Exactness::Exact(_), true) => match live.self_test.silent() {
            Some(silent) => silent.into(),
            None => "the kernel skipped the program that counts".into(),
        },
        (exactness, _) => exactness.reason().into(),
    }
}

fn self_test<'a>(outcome: &'a SelfTestOutcome, clock: &Clock) -> SelfTestFields<'a> {
    let result = |result: &'static str| SelfTestFields {
        result: result.into(),
        hook: None,
        reason: None,
        since: None,
    };
    match outcome {
        SelfTestOutcome::Passed => result("passed"),
        SelfTestOutcome::NotTested(why) => SelfTestFields {
            reason: Some(why.as_str().into()),
            ..result("not tested")
        },
        SelfTestOutcome::Silent { hook, cause, since } => SelfTestFields {
            hook: Some(hook.name().into()),
            reason: Some(cause.to_string().into()),
            since: Some(clock.field(*since)),
            ..result("silent")
        },
    }
}

fn waits(quantiles: &Quantiles) -> WaitFields {
    WaitFields {
        known: quantiles.known,
        p50: seconds(quantiles.p50),
        p90: seconds(quantiles.p90),
        p99: seconds(quantiles.p99),
        longest: seconds(quantiles.longest),
    }
}

fn listener_entry(listener: &Listener, dropped: Option<u32>) -> ListenerEntry<'_> {
    let owner = listener.owners.first();
    ListenerEntry {
        address: listener.address.ip(),
        port: listener.address.port(),
        netns: listener.netns,
        pid: owner.map(|owner| owner.pid),
        comm: owner.map(|owner| (&*owner.name).into()),
        threads_in_accept: listener.in_accept(),
        waiting: listener.waiting,
        limit: listener.limit,
        dropped,
    }
}

fn left_off_entry(left_off: &LeftOff, knows_refused: bool) -> LeftOffEntry {
    LeftOffEntry {
        clients: left_off.rows,
        connections: left_off.connections,
        earlier: EarlierStages::new(&left_off.earlier),
        refused: knows_refused.then_some(left_off.refused),
    }
}

/// An entry of the clients. `knows_refused`: whether it is known which SYNs were refused.
pub(super) fn client<'a>(row: &'a Row, knows_refused: bool, clock: &Clock) -> ClientEntry<'a> {
    let profile = row.profile.as_ref();
    let seen = |time: fn((jiff::Timestamp, jiff::Timestamp)) -> jiff::Timestamp| {
        let text = |profile: &Profile| profile.seen.map(|seen| clock.field(time(seen)));
        profile.map(text)
    };
    let mean_wait = profile.and_then(Profile::mean_wait);
    let longest_wait = profile.map(|profile| profile.longest_wait);
    ClientEntry {
        connections: row.connections,
        at_least: row.error.is_some(),
        error: row.error,
        earlier: EarlierStages::new(&row.earlier),
        refused: knows_refused.then_some(row.refused),
        ports: std::borrow::Cow::Borrowed(&row.ports),
        first_seen: seen(|(first, _)| first),
        last_seen: seen(|(_, last)| last),
        peak_per_second: profile.map(|profile| profile.peak),
        mean_wait: mean_wait.map(seconds),
        longest_wait: longest_wait.filter(|_| mean_wait.is_some()).map(seconds),
        ..group(&row.key)
    }
}

/// The fields of what is counted by.
pub(super) fn group(key: &GroupKey) -> ClientEntry<'_> {
    let empty = ClientEntry::default();
    match key {
        GroupKey::Client(host) => ClientEntry {
            address: host.address(),
            name: host.name().map(Into::into),
            ..empty
        },
        GroupKey::Network(network) => ClientEntry {
            network: Some(network.to_string().into()),
            ..empty
        },
        GroupKey::Name(name) => ClientEntry {
            network_name: Some((*name).into()),
            ..empty
        },
        GroupKey::Port(port) => ClientEntry {
            port: *port,
            ..empty
        },
        GroupKey::Process {
            pid,
            name,
            is_kernel_thread,
        } => ClientEntry {
            pid: *pid,
            comm: name.as_deref().map(Into::into),
            kernel_thread: *is_kernel_thread,
            ..empty
        },
        GroupKey::KernelThreads => ClientEntry {
            kernel_thread: true,
            ..empty
        },
        GroupKey::Cgroup { id, name } => ClientEntry {
            cgroup: Some(*id),
            name: name.as_deref().map(Into::into),
            ..empty
        },
        GroupKey::User { uid, name } => ClientEntry {
            uid: Some(*uid),
            name: name.as_deref().map(Into::into),
            ..empty
        },
        GroupKey::WithPort(key, port) => ClientEntry {
            port: *port,
            ..group(key)
        },
    }
}
