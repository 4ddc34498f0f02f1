//! JSON Lines for programs. The names of the fields are documented in the README and do
//! not change.

mod summary;

use std::{borrow::Cow, net::IpAddr, time::Duration};

use serde::Serialize;

use self::summary::SummaryLine;
use super::{Clock, interval::IntervalLine};
use crate::{
    count::interval::Interval,
    model::{
        connection::{Connection, Family, Host, Lacks, Process, Record, Source, When},
        options::TimeFormat,
        stage::Stage,
    },
    report::{LineCounts, Report},
};

/// Writes one object per line.
#[derive(Debug)]
pub struct Json {
    clock: Clock,
    /// The stage that the summary counts, if there are several.
    counted: Option<Stage>,
}

#[derive(Serialize)]
struct ConnectionLine<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<Stage>,
    time: Option<&'a str>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Record>,
}

impl Json {
    /// Times are in the format of RFC 3339, with the offset of the clock's time zone.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock: clock.with_format(TimeFormat::Iso),
            counted: None,
        }
    }

    /// For connections at several stages, of which the summary counts those at this one.
    #[must_use]
    pub fn with_stages(self, counted: Stage) -> Self {
        let counted = Some(counted);
        Self { counted, ..self }
    }

    /// `{"type":"connection",...}`, or `{"type":"stage",...}` at a stage before the one that the
    /// summary counts. Unknown fields are left out.
    pub fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        let (time, recorded) = match &connection.time {
            When::At(timestamp) => (Some(self.clock.text(*timestamp)), None),
            When::Recorded(recorded) => (None, Some(recorded)),
            When::Unknown => (None, None),
        };
        let source = match connection.source {
            Source::Hook(_) | Source::SecondHook => None,
            Source::Record(record) => Some(record),
        };
        let stage = connection.stage();
        let process = connection.process.as_ref();
        let line = ConnectionLine {
            r#type: match self.counted {
                Some(counted) if counted != stage => "stage",
                _ => "connection",
            },
            stage: self.counted.map(|_| stage),
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
            pid: process.and_then(|process| process.pid),
            tid: process.map(|process| process.tid),
            comm: process.and_then(Process::name),
            uid: process.and_then(|process| process.uid),
            cgroup: process.and_then(|process| process.cgroup),
            netns: connection.netns,
            wait: connection.wait.map(seconds),
            hook: connection.source.hook_name(),
            source,
        };
        put(out, &line);
    }

    /// `{"type":"interval",...}`
    pub fn interval(&self, out: &mut Vec<u8>, interval: &Interval) {
        put(out, &IntervalLine::new(interval, &self.clock));
    }

    /// `{"type":"summary",...}`
    pub fn report(&self, out: &mut Vec<u8>, report: &Report, lines: LineCounts) {
        put(out, &SummaryLine::new(report, lines, &self.clock));
    }
}

/// Rounds to microseconds.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
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
