//! JSON Lines for programs. The names of the fields are documented in docs/json.md and do
//! not change.

mod summary;
mod template;

use std::{borrow::Cow, iter::once, time::Duration};

use serde::Serialize;

use self::{
    summary::{client, group, summary_line},
    template::Templates,
};
use super::{Clock, interval::interval_line, over::over_line};
use crate::{
    count::interval::Interval,
    model::{
        connection::{Connection, Process, Source, When},
        group::GroupKey,
        machine::Machine,
        names::NetworkNames,
        over::Over,
        schema::{ConnectionLine, IntervalLine, OverLine, SummaryLine, TimeField, Type},
        stage::Stage,
    },
    report::{LineCounts, Origin, Report},
};

/// Writes one object per line.
#[derive(Debug)]
pub(crate) struct Json {
    clock: Clock,
    /// The stage that the summary counts, if there are several.
    counted: Option<Stage>,
    names: Option<&'static NetworkNames>,
    templates: Templates,
    /// The machine of what does not name another.
    machine: Option<Machine>,
}

impl Json {
    /// Times are numbers if the clock's format is [`crate::model::options::TimeFormat::Epoch`], else in the format of RFC 3339,
    /// with the offset of the clock's time zone.
    #[must_use]
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock: clock.for_json(),
            counted: None,
            names: None,
            templates: Templates::new(),
            machine: None,
        }
    }

    /// For connections on this machine, unless their records name another.
    #[must_use]
    pub(crate) fn on(self, machine: Option<Machine>) -> Self {
        Self { machine, ..self }
    }

    /// For connections at several stages, of which the summary counts those at this one.
    #[must_use]
    pub(crate) fn with_stages(self, counted: Stage) -> Self {
        let counted = Some(counted);
        Self { counted, ..self }
    }

    /// With the names of networks.
    #[must_use]
    pub(crate) fn with_names(self, names: Option<&'static NetworkNames>) -> Self {
        Self { names, ..self }
    }

    /// `{"type":"connection",...}`, or `{"type":"stage",...}` at a stage before the one that the
    /// summary counts. Unknown fields are left out.
    pub(crate) fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        let Self {
            clock,
            counted,
            names,
            templates,
            machine,
        } = self;
        let name = NetworkNames::of(*names, &connection.remote);
        let time = match &connection.time {
            When::At(timestamp) => Some(clock.cached_field(*timestamp)),
            When::Recorded(_) | When::Clock(_) | When::Unknown => None,
        };
        if !templates.put(out, connection, name, time.as_ref()) {
            let start = out.len();
            let line = ConnectionLine {
                network_name: name.map(Into::into),
                ..connection_line(connection, time, *counted, machine.as_ref())
            };
            put(out, &line);
            templates.keep(connection, name, &out[start..]);
        }
    }

    /// `{"type":"interval",...}`
    pub(crate) fn interval(&self, out: &mut Vec<u8>, interval: &Interval) {
        let line = IntervalLine {
            host: host(self.machine.as_ref()),
            ..interval_line(interval, &self.clock)
        };
        put(out, &line);
    }

    /// `{"type":"over",...}`
    pub(crate) fn over(&self, out: &mut Vec<u8>, over: &Over) {
        let name = match &over.key {
            GroupKey::Client(host) => NetworkNames::of(self.names, host),
            _ => None,
        };
        let line = OverLine {
            host: host(self.machine.as_ref()),
            ..over_line(over, group(&over.key), name, &self.clock)
        };
        put(out, &line);
    }

    /// `{"type":"summary",...}`, in parts
    pub(crate) fn report<'a>(
        &'a self,
        report: &'a Report,
        lines: LineCounts,
    ) -> impl Iterator<Item = String> + 'a {
        self.parts(report, self.summary(report, lines))
    }

    /// `{"type":"totals",...}`, with the fields of a summary
    pub(crate) fn totals<'a>(
        &'a self,
        report: &'a Report,
        lines: LineCounts,
    ) -> impl Iterator<Item = String> + 'a {
        let totals = SummaryLine {
            r#type: Type::Totals,
            ..self.summary(report, lines)
        };
        self.parts(report, totals)
    }

    fn summary<'a>(&'a self, report: &'a Report, lines: LineCounts) -> SummaryLine<'a> {
        let machine = match &report.origin {
            Origin::Kernel(_) => self.machine.as_ref(),
            Origin::Records(stats) => stats.machines.one(self.machine.as_ref()),
        };
        SummaryLine {
            host: host(machine),
            ..summary_line(report, lines, &self.clock)
        }
    }

    /// The line, with a client in each part.
    fn parts<'a>(
        &'a self,
        report: &'a Report,
        line: SummaryLine<'a>,
    ) -> impl Iterator<Item = String> + 'a {
        let mut start = text(&line);
        // The clients are the last field, and there are none yet.
        start.truncate(start.len() - NO_CLIENTS.len());
        let knows_refused = report.knows_refused();
        let clients = report.rows.iter().enumerate().map(move |(number, row)| {
            let mut part = Vec::with_capacity(ROW_LEN);
            part.extend((number > 0).then_some(b','));
            let mut client = client(&row, knows_refused, &self.clock);
            if let GroupKey::Client(host) = &row.key {
                client.network_name = NetworkNames::of(self.names, host).map(Into::into);
            }
            put_value(&mut part, &client);
            String::from_utf8(part).expect("JSON is text")
        });
        let start = once(start + "[");
        start.chain(clients).chain(once("]}\n".to_owned()))
    }
}

/// The field `host`.
fn host(machine: Option<&Machine>) -> Option<Cow<'_, str>> {
    machine.map(|machine| machine.as_str().into())
}

/// The fields of a connection's line. `time`: its timestamp, if that is known. `counted`: the stage
/// that the summary counts, if there are several. `machine`: that of a connection that does not name another.
fn connection_line<'a>(
    connection: &'a Connection,
    time: Option<TimeField<'a>>,
    counted: Option<Stage>,
    machine: Option<&'a Machine>,
) -> ConnectionLine<'a> {
    let recorded = match &connection.time {
        When::Recorded(recorded) => Some(recorded),
        When::At(_) | When::Clock(_) | When::Unknown => None,
    };
    let stage = connection.stage();
    let process = connection.process.as_ref();
    ConnectionLine {
        r#type: match counted {
            Some(counted) if counted != stage => Type::Stage,
            _ => Type::Connection,
        },
        stage: counted.map(|_| stage),
        host: host(connection.machine.as_ref().or(machine)),
        time,
        recorded_time: recorded.map(|recorded| (&*recorded.text).into()),
        lacks: recorded.map(|recorded| recorded.lacks),
        remote_address: connection.remote.address(),
        remote_name: connection.remote.name().map(Into::into),
        network_name: None,
        remote_port: connection.remote_port,
        local_address: connection.local.address(),
        local_name: connection.local.name().map(Into::into),
        local_port: connection.local_port,
        family: connection.family,
        pid: process.and_then(|process| process.pid),
        tid: process.and_then(|process| process.tid),
        comm: process.and_then(Process::name),
        uid: process.and_then(|process| process.uid),
        cgroup: process.and_then(|process| process.cgroup),
        kernel_thread: process.is_some_and(|process| process.is_kernel_thread),
        netns: connection.netns,
        wait: connection.wait.map(seconds),
        hook: connection.source.hook_name().map(Into::into),
        source: match connection.source {
            Source::Hook(_) | Source::SecondHook => None,
            Source::Record(record) => Some(record),
        },
    }
}
/// The bytes of most clients in a summary.
const ROW_LEN: usize = 128;

/// The end of a line without clients.
const NO_CLIENTS: &str = "[]}";

/// Rounds to microseconds.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

/// Appends a line.
fn put(out: &mut Vec<u8>, line: &impl Serialize) {
    put_value(out, line);
    out.push(b'\n');
}

fn put_value(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("writing to memory does not fail");
}

fn text(object: &impl Serialize) -> String {
    serde_json::to_string(object).expect("writing to memory does not fail")
}
