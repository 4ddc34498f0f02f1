//! JSON Lines for programs. The names of the fields are documented in the README and do
//! not change.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::{Clock, Summary};
use crate::{
    connection::{Connection, Family, Hook},
    kernel::{Backend, Doubts},
};

/// Writes one object a line.
#[derive(Debug)]
pub struct Json {
    clock: Clock,
}

#[derive(Serialize)]
struct ConnectionLine<'a> {
    r#type: &'a str,
    time: String,
    remote_address: IpAddr,
    remote_port: u16,
    local_address: IpAddr,
    local_port: u16,
    family: Family,
    #[serde(flatten)]
    process: Option<ProcessFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u32>,
    hook: Hook,
}

#[derive(Serialize)]
struct ProcessFields {
    pid: u32,
    tid: u32,
    comm: String,
    uid: u32,
    cgroup: u64,
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    r#type: &'a str,
    probe: Backend,
    connections: u64,
    addresses: usize,
    seconds: f64,
    lines_not_shown: u64,
    second_hook_only: u64,
    other_clients: u64,
    unreadable: u64,
    missed_runs: Option<u64>,
    unaccounted: u64,
    clients: Vec<ClientEntry<'a>>,
}

#[derive(Serialize)]
struct ClientEntry<'a> {
    address: IpAddr,
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
        let line = ConnectionLine {
            r#type: "connection",
            time: self.clock.rfc3339(connection.time),
            remote_address: connection.remote.ip(),
            remote_port: connection.remote.port(),
            local_address: connection.local.ip(),
            local_port: connection.local.port(),
            family: connection.family,
            process: connection.process.map(|process| ProcessFields {
                pid: process.pid,
                tid: process.tid,
                comm: process.name(),
                uid: process.uid,
                cgroup: process.cgroup,
            }),
            netns: connection.netns,
            hook: connection.hook,
        };
        put(out, &line);
    }

    /// `{"type":"summary",...}`
    pub fn summary(&self, out: &mut Vec<u8>, summary: &Summary, doubts: &Doubts) {
        let clients = summary.clients.iter().map(|client| ClientEntry {
            address: client.address,
            connections: client.connections,
            ports: &client.ports,
        });
        let line = SummaryLine {
            r#type: "summary",
            probe: summary.backend,
            connections: summary.connections,
            addresses: summary.clients.len(),
            seconds: (summary.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            lines_not_shown: summary.lines_not_shown,
            second_hook_only: summary.second_hook_only,
            other_clients: summary.other_clients,
            unreadable: doubts.unreadable,
            missed_runs: doubts.missed_runs,
            unaccounted: doubts.unaccounted,
            clients: clients.collect(),
        };
        put(out, &line);
    }
}

fn put(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("writing to memory does not fail");
    out.push(b'\n');
}
