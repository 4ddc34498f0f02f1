//! JSON Lines that conn-cli itself wrote, to merge several runs or machines.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;

use super::{
    lines::{Form, Line, Wanted},
    scan,
};
use crate::{
    count::tally::Tally,
    model::{
        connection::{Connection, Host, Process, Source, When},
        discrepancies::Discrepancies,
        machine::Machine,
        read_stats::ReadStats,
        schema::{ConnectionLine, SummaryLine, TimeField, Type, Typed},
    },
    read::event::{Event, ParseError, Run},
    system::text::is_unsafe,
};

const NOT_OURS: ParseError = "not a line of conn-cli's JSON";

/// The lines of `conn-cli --json`.
#[derive(Debug)]
pub(crate) struct Lines;

impl Lines {
    /// Creates the parser. It parses every field: skipping one costs as much.
    #[must_use]
    pub(crate) fn new(_wanted: &Wanted) -> Self {
        Self
    }
}

impl Line for Lines {
    /// Only connections have a time.
    fn time(&mut self, _: &[u8]) -> When {
        When::Unknown
    }

    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        if line.is_empty() {
            return Ok(Form::Shared);
        }
        // The type is read first: serde's internally tagged enums do not support maps with
        // integer keys.
        events.push(match object::<Typed>(line)?.r#type {
            Type::Stage
            | Type::Interval
            | Type::Over
            | Type::Totals
            | Type::Comparison
            | Type::ComparisonSummary => return Ok(Form::Own),
            Type::Unknown => Event::UnknownType,
            Type::Connection => {
                let line: ConnectionLine = object(line)?;
                Event::Connection(connection(line).ok_or(NOT_OURS)?)
            }
            Type::Summary => {
                let line: SummaryLine = object(line)?;
                Event::Run(Box::new(run(line).ok_or(NOT_OURS)?))
            }
        });
        Ok(Form::Own)
    }
}

fn object<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, ParseError> {
    serde_json::from_slice(line).map_err(|_| NOT_OURS)
}

fn connection(line: ConnectionLine<'_>) -> Option<Connection> {
    let source = match (line.hook, line.source) {
        (Some(hook), _) => Source::from_hook_name(&hook)?,
        (None, Some(record)) => Source::Record(record),
        (None, None) => return None,
    };
    let process = match (line.tid, &line.comm) {
        (Some(_), _) | (_, Some(_)) => Some(Process {
            pid: line.pid,
            tid: line.tid,
            uid: line.uid,
            cgroup: line.cgroup,
            comm: match line.comm {
                Some(comm) => Some(unescaped_comm(&comm)?),
                None => None,
            },
            is_kernel_thread: line.kernel_thread,
        }),
        (None, None) => None,
    };
    let time = match (line.time, line.recorded_time, line.lacks) {
        (Some(time), _, _) => When::At(time.timestamp()?),
        (None, Some(text), Some(lacks)) if is_time(&text) => scan::recorded(text.as_bytes(), lacks),
        (None, Some(_), _) => return None,
        (None, None, _) => When::Unknown,
    };
    let wait = line.wait;
    Some(Connection {
        time,
        remote: host(line.remote_address, line.remote_name.as_deref())?,
        remote_port: line.remote_port,
        local: host(line.local_address, line.local_name.as_deref())?,
        local_port: line.local_port,
        family: line.family,
        process,
        netns: line.netns,
        wait: wait.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        source,
        machine: line.host.as_deref().and_then(Machine::printed),
    })
}

fn run(line: SummaryLine<'_>) -> Option<Run> {
    let mut tally = Tally::default();
    let partial = partial(&line);
    // Without "by", the groups are clients.
    let names_host = { line.by.as_deref() }.is_none_or(|by| by == "address,port");
    let mut lower_bounds = line.lower_bounds;
    for client in line.clients {
        lower_bounds |= client.at_least;
        let name = client.name.filter(|_| names_host);
        let host = host(client.address, name.as_deref())?;
        let mut unknown = client.connections;
        for (port, connections) in &*client.ports {
            unknown = unknown.checked_sub(*connections)?;
            tally.add(&host, Some(*port), *connections);
        }
        if unknown > 0 {
            tally.add(&host, None, unknown);
        }
    }
    if line.unknown_clients > 0 {
        tally.add(&Host::Unknown, None, line.unknown_clients);
    }
    tally.add_other(line.other_clients);
    if let Some(left_off) = line.left_off {
        tally.add_other(left_off.connections);
    }
    let first_not_understood = line.first_not_understood.flatten();
    let time = |time: Option<TimeField<'_>>| time?.timestamp();
    Some(Run {
        period: time(line.start).zip(time(line.end)),
        machine: line.host.as_deref().and_then(Machine::printed),
        tally,
        partial,
        lines_shown: Some(line.connection_lines.unwrap_or(line.lines_shown)),
        discrepancies: Discrepancies {
            at_least: line.at_least || line.missed_runs > Some(0),
            unreadable: line.unreadable,
            unreadable_packets: line.unreadable_packets.unwrap_or(0),
            missed_runs: line.missed_runs,
            unaccounted: line.unaccounted,
        },
        stats: ReadStats {
            not_understood: line.not_understood.unwrap_or(0),
            first_not_understood: first_not_understood.as_deref().map(sanitized),
            unknown_type: line.unknown_type.unwrap_or(0),
            repeated: line.repeated.unwrap_or(0),
            repeated_by_ports: line.repeated_by_ports.unwrap_or(0),
            duplicates: line.duplicates.unwrap_or(0),
            forgot_syns: line.forgot_syns,
            lower_bounds,
            inner: line.inner.unwrap_or(0),
            unknown_port: line.unknown_port.unwrap_or(0),
            unknown_client: line.unknown_client.unwrap_or(0),
            unknown_time: line.unknown_time.unwrap_or(0),
            ..ReadStats::default()
        },
    })
}

/// The option by which a summary does not name all addresses, if there is one.
fn partial(line: &SummaryLine<'_>) -> Option<&'static str> {
    let is_by_address = { line.by.as_deref() }.is_none_or(|by| by == "address,port");
    if line.only_new {
        Some("--known")
    } else if !is_by_address && !line.clients.is_empty() {
        Some("--by")
    } else {
        line.left_off.as_ref().map(|_| "--top")
    }
}

/// The text without unsafe characters, truncated: somebody else may have written the input.
fn sanitized(text: &str) -> String {
    let is_safe = |char: &char| !is_unsafe(*char);
    text.chars().filter(is_safe).take(MAX_MESSAGE_LEN).collect()
}

/// The longest message about a record that was not understood, in characters.
const MAX_MESSAGE_LEN: usize = 500;

fn host(address: Option<IpAddr>, name: Option<&str>) -> Option<Host> {
    match (address, name) {
        (Some(address), _) => Some(Host::at(address)),
        (None, Some(name)) => Host::named(name.as_bytes()),
        (None, None) => Some(Host::Unknown),
    }
}

/// Whether a text is a plausible time of a record and safe to print.
fn is_time(text: &str) -> bool {
    text.len() <= 40
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":.,+- ".contains(&byte))
}

/// A thread's name, from the output of [`crate::system::text::escaped`].
fn unescaped_comm(text: &str) -> Option<[u8; 16]> {
    let mut bytes = Vec::with_capacity(16);
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        if char != '\\' {
            bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        match kind {
            '\\' => bytes.push(b'\\'),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'x' => {
                bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = &rest[2..];
            }
            'u' => {
                let (code, after) = rest.strip_prefix('{')?.split_once('}')?;
                let char = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
                bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            _ => return None,
        }
    }
    let mut comm = [0; 16];
    comm.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(comm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::text::escaped;

    #[test]
    fn totals_so_far_are_no_run() {
        let mut events = Vec::new();
        let mut lines = Lines::new(&Wanted::default());
        for kind in ["totals", "interval", "over", "summary"] {
            let line = format!(r#"{{"type":"{kind}","connections":3}}"#);
            let is_run = lines.line(line.as_bytes(), &mut events).is_err();
            // A summary without clients is not one of conn-cli's.
            assert_eq!(is_run, kind == "summary");
        }
        assert!(events.is_empty());
    }

    #[test]
    fn escaped_comm_is_decoded() {
        for name in [
            &b"nginx"[..],
            b"a\x1b\"\\b",
            b"\xff\xfe\n\r\t",
            "caf\u{e9}\u{9b}".as_bytes(),
        ] {
            let comm = unescaped_comm(&escaped(name)).unwrap();
            assert_eq!(&comm[..name.len()], name);
            assert!(comm[name.len()..].iter().all(|&byte| byte == 0));
        }
        for text in [
            "\\",
            "\\q",
            "\\x1",
            "\\u{110000}",
            "\\u1b",
            "seventeen bytes..",
        ] {
            assert_eq!(unescaped_comm(text), None, "{text}");
        }
    }
}
