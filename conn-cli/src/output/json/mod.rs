//! JSON Lines for programs. The names of the fields are documented in docs/json.md and do
//! not change.

mod summary;

use std::time::Duration;

use serde::Serialize;

use self::summary::summary_line;
use super::{Clock, interval::interval_line};
use crate::{
    count::interval::Interval,
    model::{
        connection::{Connection, Process, Source, When},
        options::TimeFormat,
        schema::{ConnectionLine, SummaryLine, Type},
        stage::Stage,
    },
    report::{LineCounts, Report},
};

/// Writes one object per line.
#[derive(Debug)]
pub(crate) struct Json {
    clock: Clock,
    /// The stage that the summary counts, if there are several.
    counted: Option<Stage>,
}

impl Json {
    /// Times are in the format of RFC 3339, with the offset of the clock's time zone.
    #[must_use]
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock: clock.with_format(TimeFormat::Iso),
            counted: None,
        }
    }

    /// For connections at several stages, of which the summary counts those at this one.
    #[must_use]
    pub(crate) fn with_stages(self, counted: Stage) -> Self {
        let counted = Some(counted);
        Self { counted, ..self }
    }

    /// `{"type":"connection",...}`, or `{"type":"stage",...}` at a stage before the one that the
    /// summary counts. Unknown fields are left out.
    pub(crate) fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        let (time, recorded) = match &connection.time {
            When::At(timestamp) => (Some(self.clock.text(*timestamp).into()), None),
            When::Recorded(recorded) => (None, Some(recorded)),
            When::Unknown => (None, None),
        };
        let stage = connection.stage();
        let process = connection.process.as_ref();
        let line = ConnectionLine {
            r#type: match self.counted {
                Some(counted) if counted != stage => Type::Stage,
                _ => Type::Connection,
            },
            stage: self.counted.map(|_| stage),
            time,
            recorded_time: recorded.map(|recorded| (&*recorded.text).into()),
            lacks: recorded.map(|recorded| recorded.lacks),
            remote_address: connection.remote.address(),
            remote_name: connection.remote.name().map(Into::into),
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
        };
        put(out, &line);
    }

    /// `{"type":"interval",...}`
    pub(crate) fn interval(&self, out: &mut Vec<u8>, interval: &Interval) {
        put(out, &interval_line(interval, &self.clock));
    }

    /// `{"type":"summary",...}`
    pub(crate) fn report(&self, out: &mut Vec<u8>, report: &Report, lines: LineCounts) {
        put(out, &summary_line(report, lines, &self.clock));
    }

    /// `{"type":"totals",...}`, with the fields of a summary
    pub(crate) fn totals(&self, out: &mut Vec<u8>, report: &Report, lines: LineCounts) {
        let summary = summary_line(report, lines, &self.clock);
        let totals = SummaryLine {
            r#type: Type::Totals,
            ..summary
        };
        put(out, &totals);
    }
}

/// Rounds to microseconds.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

fn put(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("writing to memory does not fail");
    out.push(b'\n');
}
