//! JSON Lines for programs. The names of the fields are documented in the README and do
//! not change.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::{Clock, Origin, Summary};
use crate::{
    connection::{Connection, Family, Hook, Host, Lacks, Record, Source, When},
    kernel::Backend,
    read::Format,
    tally::Client,
};

/// Writes one object a line.
#[derive(Debug)]
pub struct Json {
    clock: Clock,
}

#[derive(Serialize)]
struct ConnectionLine<'a> {
    r#type: &'a str,
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks: Option<Lacks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<Family>,
    #[serde(flatten)]
    process: Option<ProcessFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<Hook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Record>,
}

#[derive(Serialize)]
struct ProcessFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<u64>,
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    r#type: &'a str,
    #[serde(flatten)]
    origin: OriginFields<'a>,
    connections: u64,
    addresses: usize,
    lines_shown: u64,
    lines_not_shown: u64,
    unknown_clients: u64,
    other_clients: u64,
    unreadable: u64,
    missed_runs: Option<u64>,
    unaccounted: u64,
    clients: Vec<ClientEntry<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OriginFields<'a> {
    Kernel {
        probe: Backend,
        seconds: f64,
        second_hook_only: u64,
    },
    Records {
        formats: Vec<Format>,
        lines: u64,
        packets: u64,
        not_understood: u64,
        first_not_understood: Option<&'a str>,
        repeated: u64,
        unknown_port: u64,
    },
}

#[derive(Serialize)]
struct ClientEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    connections: u64,
    ports: &'a BTreeMap<u16, u64>,
}

impl Json {
    /// Times are given with the offset of the clock's time zone.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// `{"type":"connection",...}`; what is not known is left out.
    pub fn connection(&self, out: &mut Vec<u8>, connection: &Connection) {
        let (time, recorded) = match &connection.time {
            When::At(moment) => (Some(self.clock.rfc3339(*moment)), None),
            When::Recorded(recorded) => (None, Some(recorded)),
            When::Unknown => (None, None),
        };
        let (hook, source) = match connection.source {
            Source::Hook(hook) => (Some(hook), None),
            Source::Record(record) => (None, Some(record)),
        };
        let line = ConnectionLine {
            r#type: "connection",
            time,
            recorded_time: recorded.map(|recorded| &*recorded.text),
            lacks: recorded.map(|recorded| recorded.lacks),
            remote_address: address(&connection.remote),
            remote_name: name(&connection.remote),
            remote_port: connection.remote_port,
            local_address: address(&connection.local),
            local_name: name(&connection.local),
            local_port: connection.local_port,
            family: connection.family,
            process: connection.process.map(|process| ProcessFields {
                pid: process.pid,
                tid: process.tid,
                comm: process.name(),
                uid: process.uid,
                cgroup: process.cgroup,
            }),
            netns: connection.netns,
            hook,
            source,
        };
        put(out, &line);
    }

    /// `{"type":"summary",...}`
    pub fn summary(&self, out: &mut Vec<u8>, summary: &Summary) {
        let line = SummaryLine {
            r#type: "summary",
            origin: OriginFields::of(&summary.origin),
            connections: summary.connections,
            addresses: summary.clients.len(),
            lines_shown: summary.lines_shown,
            lines_not_shown: summary.lines_not_shown,
            unknown_clients: summary.unknown_clients,
            other_clients: summary.other_clients,
            unreadable: summary.doubts.unreadable,
            missed_runs: summary.doubts.missed_runs,
            unaccounted: summary.doubts.unaccounted,
            clients: summary.clients.iter().map(ClientEntry::of).collect(),
        };
        put(out, &line);
    }
}

impl<'a> OriginFields<'a> {
    fn of(origin: &'a Origin) -> Self {
        match origin {
            Origin::Kernel {
                backend,
                elapsed,
                second_hook_only,
                beyond_limit: _,
            } => Self::Kernel {
                probe: *backend,
                seconds: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
                second_hook_only: *second_hook_only,
            },
            Origin::Records(ledger) => Self::Records {
                formats: ledger.formats.iter().copied().collect(),
                lines: ledger.lines,
                packets: ledger.packets,
                not_understood: ledger.not_understood,
                first_not_understood: ledger.first_not_understood.as_deref(),
                repeated: ledger.repeated,
                unknown_port: ledger.unknown_port,
            },
        }
    }
}

impl<'a> ClientEntry<'a> {
    fn of(client: &'a Client) -> Self {
        Self {
            address: address(&client.host),
            name: name(&client.host),
            connections: client.connections,
            ports: &client.ports,
        }
    }
}

fn address(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Address(address) => Some(*address),
        Host::Name(_) | Host::Unknown => None,
    }
}

fn name(host: &Host) -> Option<&str> {
    match host {
        Host::Name(name) => Some(name),
        Host::Address(_) | Host::Unknown => None,
    }
}

fn put(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("writing to memory does not fail");
    out.push(b'\n');
}
