//! The last line of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Serialize;

use super::{address, name, seconds};
use crate::{
    count::{profile::Profile, waits::Quantiles},
    model::{
        exactness::Exactness,
        format::Format,
        group::{GroupBy, GroupKey},
        hook::Hook,
        listener::Listener,
        stage::Stage,
    },
    output::{Clock, brief::rounded},
    report::{LeftOff, LineCounts, Live, Origin, Report, Row},
};

/// The summary as a JSON object.
#[derive(Serialize)]
pub(super) struct SummaryLine<'a> {
    r#type: &'a str,
    #[serde(flatten)]
    origin: OriginFields<'a>,
    connections: u64,
    at_least: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<usize>,
    lines_shown: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_lines: Option<u64>,
    lines_not_shown: u64,
    unknown_clients: u64,
    other_clients: u64,
    unreadable: u64,
    missed_runs: Option<u64>,
    unaccounted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_off: Option<LeftOffEntry<'a>>,
    clients: Vec<ClientEntry<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OriginFields<'a> {
    Kernel {
        probe: Hook,
        exact: bool,
        exact_reason: &'a str,
        seconds: f64,
        second_hook_only: u64,
        out_of_memory: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        stages: Option<&'a BTreeMap<Stage, u64>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        other_stages: Option<&'a BTreeMap<Stage, u64>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stages_at_least: Option<BTreeSet<Stage>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        missed_runs_established: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        repeated_syns: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        waits: Option<WaitFields>,
        #[serde(skip_serializing_if = "Option::is_none")]
        listeners: Option<Vec<ListenerEntry<'a>>>,
    },
    Records {
        formats: Vec<Format>,
        lines: u64,
        packets: u64,
        not_understood: u64,
        first_not_understood: Option<&'a str>,
        repeated: u64,
        unknown_port: u64,
        unknown_client: u64,
    },
}

#[derive(Serialize)]
struct WaitFields {
    known: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    longest: f64,
}

#[derive(Serialize)]
struct ListenerEntry<'a> {
    address: IpAddr,
    port: u16,
    netns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads_in_accept: Option<u32>,
    waiting: u32,
    limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<u32>,
}

#[derive(Serialize)]
struct LeftOffEntry<'a> {
    clients: usize,
    connections: u64,
    #[serde(flatten)]
    stages: &'a BTreeMap<Stage, u64>,
}

#[derive(Default, Serialize)]
struct ClientEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    connections: u64,
    /// How many reached each earlier stage.
    #[serde(flatten)]
    stages: BTreeMap<Stage, u64>,
    ports: Option<&'a BTreeMap<u16, u64>>,
    #[serde(flatten)]
    profile: Option<ProfileFields>,
}

#[derive(Serialize)]
struct ProfileFields {
    first_seen: Option<String>,
    last_seen: Option<String>,
    peak_per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_wait: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_wait: Option<f64>,
}

impl<'a> SummaryLine<'a> {
    /// Times have the offset of the clock's time zone.
    pub(super) fn new(report: &'a Report, lines: LineCounts, clock: &Clock) -> Self {
        let by_address = report.by == GroupBy::Address;
        Self {
            r#type: "summary",
            origin: OriginFields::new(report),
            connections: report.connections,
            at_least: report.discrepancies.at_least,
            by: (!by_address).then_some(report.by.nouns().0),
            addresses: by_address.then_some(report.groups),
            groups: (!by_address).then_some(report.groups),
            lines_shown: lines.shown,
            connection_lines: lines.connections,
            lines_not_shown: lines.not_shown,
            unknown_clients: report.unknown_clients,
            other_clients: report.other_clients,
            unreadable: report.discrepancies.unreadable,
            missed_runs: report.discrepancies.missed_runs,
            unaccounted: report.discrepancies.unaccounted,
            left_off: report.left_off.as_ref().map(LeftOffEntry::new),
            clients: report
                .rows
                .iter()
                .map(|row| ClientEntry::new(row, clock))
                .collect(),
        }
    }
}

impl<'a> OriginFields<'a> {
    fn new(report: &'a Report) -> Self {
        match &report.origin {
            Origin::Kernel(live) => Self::live(live, report),
            Origin::Records(stats) => Self::Records {
                formats: stats.formats.iter().copied().collect(),
                lines: stats.lines,
                packets: stats.packets,
                not_understood: stats.not_understood,
                first_not_understood: stats.first_not_understood.as_deref(),
                repeated: stats.repeated,
                unknown_port: stats.unknown_port,
                unknown_client: stats.unknown_client,
            },
        }
    }

    fn live(live: &'a Live, report: &'a Report) -> Self {
        let several = live.stages.len() > 1;
        Self::Kernel {
            probe: live.hook,
            exact: live.exactness.is_exact() && !report.discrepancies.at_least,
            exact_reason: match (&live.exactness, report.discrepancies.at_least) {
                (Exactness::Exact(_), true) => "the kernel skipped the program that counts",
                (exactness, _) => exactness.reason(),
            },
            seconds: rounded(live.elapsed.as_secs_f64()),
            second_hook_only: live.second_hook_only,
            out_of_memory: live.out_of_memory,
            stages: several.then_some(&live.stages),
            other_stages: several.then_some(&live.others),
            stages_at_least: several.then(|| report.stages_at_least()),
            missed_runs_established: live.missed_established,
            repeated_syns: live
                .stages
                .contains_key(&Stage::Syn)
                .then_some(live.repeated),
            waits: live.waits.as_ref().map(WaitFields::new),
            listeners: live.queues.as_ref().map(|queues| {
                let entry =
                    |(listener, dropped): &'a (Listener, _)| ListenerEntry::new(listener, *dropped);
                queues.listeners.iter().map(entry).collect()
            }),
        }
    }
}

impl WaitFields {
    fn new(quantiles: &Quantiles) -> Self {
        Self {
            known: quantiles.known,
            p50: seconds(quantiles.p50),
            p90: seconds(quantiles.p90),
            p99: seconds(quantiles.p99),
            longest: seconds(quantiles.longest),
        }
    }
}

impl<'a> ListenerEntry<'a> {
    fn new(listener: &'a Listener, dropped: Option<u32>) -> Self {
        let owner = listener.owners.first();
        Self {
            address: listener.address.ip(),
            port: listener.address.port(),
            netns: listener.netns,
            pid: owner.map(|owner| owner.pid),
            comm: owner.map(|owner| &*owner.name),
            threads_in_accept: listener.in_accept(),
            waiting: listener.waiting,
            limit: listener.limit,
            dropped,
        }
    }
}

impl<'a> LeftOffEntry<'a> {
    fn new(left_off: &'a LeftOff) -> Self {
        Self {
            clients: left_off.rows,
            connections: left_off.connections,
            stages: &left_off.earlier,
        }
    }
}

impl ProfileFields {
    fn new(profile: &Profile, clock: &Clock) -> Self {
        let mean_wait = profile.mean_wait();
        Self {
            first_seen: profile.seen.map(|(first, _)| clock.rfc3339(first)),
            last_seen: profile.seen.map(|(_, last)| clock.rfc3339(last)),
            peak_per_second: profile.peak,
            mean_wait: mean_wait.map(seconds),
            longest_wait: mean_wait.map(|_| seconds(profile.longest_wait)),
        }
    }
}

impl<'a> ClientEntry<'a> {
    fn new(row: &'a Row, clock: &Clock) -> Self {
        let profile = row.profile.as_ref();
        Self {
            connections: row.connections,
            stages: row.earlier.clone(),
            ports: Some(&row.ports),
            profile: profile.map(|profile| ProfileFields::new(profile, clock)),
            ..Self::named(&row.key)
        }
    }

    fn named(key: &'a GroupKey) -> Self {
        let empty = Self::default();
        match key {
            GroupKey::Client(host) => Self {
                address: address(host),
                name: name(host),
                ..empty
            },
            GroupKey::Network(network) => Self {
                network: Some(network.to_string()),
                ..empty
            },
            GroupKey::Port(port) => Self {
                port: *port,
                ..empty
            },
            GroupKey::Process { pid, name } => Self {
                pid: Some(*pid),
                comm: Some(name),
                ..empty
            },
            GroupKey::Cgroup { id, name } => Self {
                cgroup: Some(*id),
                name: name.as_deref(),
                ..empty
            },
            GroupKey::User { uid, name } => Self {
                uid: Some(*uid),
                name: name.as_deref(),
                ..empty
            },
        }
    }
}
