//! JSON Lines that conn-cli itself wrote, to merge several runs or machines.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    lines::{Line, Wanted},
    scan,
};
use crate::{
    count::tally::Tally,
    model::{
        connection::{Connection, Family, Host, Lacks, Process, Record, Source, When},
        discrepancies::Discrepancies,
        read_stats::ReadStats,
    },
    read::{
        confidence::Confidence,
        event::{Event, ParseError, Run},
    },
    system::text::is_unsafe,
};

const NOT_OURS: ParseError = "not a line of conn-cli's JSON";

/// The lines of `conn-cli --json`.
#[derive(Debug)]
pub struct Lines;

/// The type of a line, which is read first: serde's internally tagged enums do not support maps
/// with integer keys.
#[derive(Deserialize)]
struct Object {
    r#type: Type,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Connection,
    Summary,
    /// An earlier stage of a connection, which gets its own line if it reaches the counted stage.
    Stage,
    /// A count printed instead of one line for each connection.
    Interval,
}

#[derive(Deserialize)]
struct ConnectionObject {
    time: Option<Timestamp>,
    recorded_time: Option<String>,
    lacks: Option<Lacks>,
    remote_address: Option<IpAddr>,
    remote_name: Option<String>,
    remote_port: Option<u16>,
    local_address: Option<IpAddr>,
    local_name: Option<String>,
    local_port: Option<u16>,
    family: Option<Family>,
    pid: Option<u32>,
    tid: Option<u32>,
    comm: Option<String>,
    uid: Option<u32>,
    cgroup: Option<u64>,
    netns: Option<u32>,
    wait: Option<f64>,
    hook: Option<String>,
    source: Option<Record>,
}

#[derive(Deserialize)]
struct SummaryObject {
    #[serde(default)]
    lines_shown: u64,
    #[serde(default)]
    unknown_clients: u64,
    #[serde(default)]
    other_clients: u64,
    #[serde(default)]
    unreadable: u64,
    missed_runs: Option<u64>,
    #[serde(default)]
    at_least: bool,
    #[serde(default)]
    unaccounted: u64,
    #[serde(default)]
    not_understood: u64,
    first_not_understood: Option<String>,
    #[serde(default)]
    repeated: u64,
    #[serde(default)]
    unknown_port: u64,
    #[serde(default)]
    unknown_client: u64,
    /// Those of `lines_shown` whose connections the summary counts.
    connection_lines: Option<u64>,
    left_off: Option<LeftOffObject>,
    clients: Vec<ClientObject>,
}

#[derive(Deserialize)]
struct LeftOffObject {
    connections: u64,
}

#[derive(Deserialize)]
struct ClientObject {
    address: Option<IpAddr>,
    /// The host's name; with `uid` or `cgroup`, the name of that user or cgroup.
    name: Option<String>,
    uid: Option<u32>,
    cgroup: Option<u64>,
    connections: u64,
    #[serde(default)]
    ports: BTreeMap<u16, u64>,
}

impl Lines {
    /// Creates the parser. It parses every field: skipping one costs as much.
    #[must_use]
    pub fn new(_wanted: Wanted) -> Self {
        Self
    }
}

/// Whether a line is JSON that conn-cli wrote.
#[must_use]
pub fn confidence(line: &[u8]) -> Confidence {
    // A summary line may be longer than the head that is examined, and so not be valid JSON.
    let is_ours = [&br#"{"type":"connection","#[..], br#"{"type":"summary","#]
        .iter()
        .any(|start| line.starts_with(start));
    match object::<Object>(line) {
        _ if is_ours => Confidence::Certain,
        Ok(_) => Confidence::Certain,
        Err(_) => Confidence::None,
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), ParseError> {
        if line.is_empty() {
            return Ok(());
        }
        events.push(match object::<Object>(line)?.r#type {
            Type::Stage | Type::Interval => return Ok(()),
            Type::Connection => {
                let object: ConnectionObject = object(line)?;
                Event::Connection(object.connection().ok_or(NOT_OURS)?)
            }
            Type::Summary => {
                let object: SummaryObject = object(line)?;
                Event::Run(Box::new(object.run().ok_or(NOT_OURS)?))
            }
        });
        Ok(())
    }
}

fn object<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, ParseError> {
    serde_json::from_slice(line).map_err(|_| NOT_OURS)
}

impl ConnectionObject {
    fn connection(self) -> Option<Connection> {
        let source = match (self.hook, self.source) {
            (Some(hook), _) => Source::from_hook_name(&hook)?,
            (None, Some(record)) => Source::Record(record),
            (None, None) => return None,
        };
        let process = match self.tid {
            Some(tid) => Some(Process {
                pid: self.pid,
                tid,
                uid: self.uid,
                cgroup: self.cgroup,
                comm: match self.comm {
                    Some(comm) => Some(unescaped_comm(&comm)?),
                    None => None,
                },
            }),
            None => None,
        };
        let time = match (self.time, self.recorded_time, self.lacks) {
            (Some(time), _, _) => When::At(time),
            (None, Some(text), Some(lacks)) if is_time(&text) => {
                scan::recorded(text.as_bytes(), lacks)
            }
            (None, Some(_), _) => return None,
            (None, None, _) => When::Unknown,
        };
        Some(Connection {
            time,
            remote: host(self.remote_address, self.remote_name)?,
            remote_port: self.remote_port,
            local: host(self.local_address, self.local_name)?,
            local_port: self.local_port,
            family: self.family,
            process,
            netns: self.netns,
            wait: self
                .wait
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            source,
        })
    }
}

impl SummaryObject {
    fn run(self) -> Option<Run> {
        let mut tally = Tally::default();
        for client in self.clients {
            let names_host = client.uid.is_none() && client.cgroup.is_none();
            let host = host(client.address, client.name.filter(|_| names_host))?;
            let mut unknown = client.connections;
            for (port, connections) in client.ports {
                unknown = unknown.checked_sub(connections)?;
                tally.add(&host, Some(port), connections);
            }
            if unknown > 0 {
                tally.add(&host, None, unknown);
            }
        }
        if self.unknown_clients > 0 {
            tally.add(&Host::Unknown, None, self.unknown_clients);
        }
        tally.add_other(self.other_clients);
        if let Some(left_off) = self.left_off {
            tally.add_other(left_off.connections);
        }
        Some(Run {
            tally,
            lines_shown: self.connection_lines.unwrap_or(self.lines_shown),
            discrepancies: Discrepancies {
                at_least: self.at_least || self.missed_runs > Some(0),
                unreadable: self.unreadable,
                missed_runs: self.missed_runs,
                unaccounted: self.unaccounted,
            },
            stats: ReadStats {
                not_understood: self.not_understood,
                first_not_understood: self.first_not_understood.as_deref().map(sanitized),
                repeated: self.repeated,
                unknown_port: self.unknown_port,
                unknown_client: self.unknown_client,
                ..ReadStats::default()
            },
        })
    }
}

/// The text without unsafe characters, truncated: somebody else may have written the input.
fn sanitized(text: &str) -> String {
    let is_safe = |char: &char| !is_unsafe(*char);
    text.chars().filter(is_safe).take(MAX_MESSAGE_LEN).collect()
}

/// The longest message about a record that was not understood, in characters.
const MAX_MESSAGE_LEN: usize = 500;

fn host(address: Option<IpAddr>, name: Option<String>) -> Option<Host> {
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
