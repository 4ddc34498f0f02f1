//! The index of the recordings, `truth.json`: what each file is, and what the server counted.
//!
//! `names` has the address of each name in it. A recording has:
//!
//! - `file`, `format` (`strace`, `tcpdump`, `pcap`, `pcapng`, `kernel-log`, `ulogd`, `suricata`,
//!   `conntrack`, `tcpaccept`), `command`;
//! - `connections`: what the server accepted, by port and client; the client is `unknown` if
//!   the server does not ask for its address;
//! - `syns`: the same for SYNs, as the kernel counted them on arrival: includes SYNs that were
//!   refused, dropped or retransmitted;
//! - `copies`: how often each packet appears in it, if not once;
//! - `failed`: accepts that failed, by error, as far as the server saw them;
//! - `only`: `ipv4`, if IPv6 cannot be read in it: the counts are then for IPv4, too;
//! - `names`: true, if it has names instead of addresses and ports;
//! - `server`, `rules`, `note`: what was run, and what logged, for human readers.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

/// Counts for each port and client.
type Counts = BTreeMap<u16, BTreeMap<String, u64>>;

/// The counts of one session: the kernel's for SYNs, otherwise the server's.
#[derive(Default)]
struct Session {
    connections: Counts,
    syns: Counts,
    failed: BTreeMap<String, u64>,
}

/// Selects the clients that a recording can show.
type ClientFilter = fn(&str) -> bool;

/// Makes the index from the guest's notes in `truth`: JSON with a line for each recording.
pub(super) fn make(truth: &Path) -> Result<String> {
    let mut recordings = Vec::new();
    for line in read(&truth.join("index.tsv"))?.lines() {
        let recording = recording(line, truth);
        recordings.push(
            recording
                .with_context(|| format!("in the index: {line}"))?
                .to_string(),
        );
    }
    let mut names = Map::new();
    for line in read(&truth.join("hosts"))?.lines() {
        if let Some((address, name)) = line.split_once(' ') {
            names.insert(name.to_owned(), address.into());
        }
    }
    Ok(format!(
        "{{\n\"names\": {},\n\"recordings\": [\n{}\n]\n}}\n",
        Value::from(names),
        recordings.join(",\n")
    ))
}

/// Parses one line: file, format, session, command, and other fields as `KEY=VALUE`.
fn recording(line: &str, truth: &Path) -> Result<Value> {
    let mut fields = line.split('\t');
    let mut next = |what| fields.next().with_context(|| format!("no {what}"));
    let file = next("file")?;
    let format = next("format")?;
    let sessions = next("session")?;
    // A missing option leaves two spaces.
    let command = next("command")?.split_whitespace().collect::<Vec<_>>();
    let command = command.join(" ");
    let mut recording = json!({ "file": file, "format": format, "command": command });
    let mut filter: ClientFilter = |_| true;
    for field in fields {
        match field.split_once('=').unwrap_or((field, "")) {
            ("names", "") => recording["names"] = true.into(),
            ("copies", "1") | ("note", "") => {}
            ("copies", copies) => recording["copies"] = copies.parse::<u64>()?.into(),
            (key @ ("server" | "rules" | "note"), value) => recording[key] = value.trim().into(),
            ("only", "ipv4") => {
                filter = |client| matches!(client.parse(), Ok(IpAddr::V4(_)));
                recording["only"] = "ipv4".into();
            }
            _ => bail!("unknown field: {field}"),
        }
    }
    let mut session = Session::default();
    for name in sessions.split('+') {
        session.add(&read(&truth.join(name))?, filter)?;
    }
    recording["connections"] = json!(session.connections);
    if !session.syns.is_empty() {
        recording["syns"] = json!(session.syns);
    }
    if !session.failed.is_empty() {
        recording["failed"] = json!(session.failed);
    }
    Ok(recording)
}

impl Session {
    fn add(&mut self, counts: &str, filter: ClientFilter) -> Result<()> {
        for line in counts.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                [kind @ ("accepted" | "syns"), port, client, count] if filter(client) => {
                    let counts = match kind {
                        "accepted" => &mut self.connections,
                        _ => &mut self.syns,
                    };
                    let clients = counts.entry(port.parse()?).or_default();
                    *clients.entry(client.to_owned()).or_default() += count.parse::<u64>()?;
                }
                ["accepted" | "syns", _, _, _] => {}
                ["failed", name, count] => {
                    *self.failed.entry(name.to_owned()).or_default() += count.parse::<u64>()?;
                }
                _ => bail!("unexpected line in a session: {line:?}"),
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_restricted_to_visible_clients() {
        let counts =
            "accepted 80 127.0.0.2 3\naccepted 80 ::1 2\nsyns 80 127.0.0.2 4\nfailed EAGAIN 5\n";
        let mut session = Session::default();
        session.add(counts, |client| client.contains('.')).unwrap();
        assert_eq!(json!(session.connections), json!({"80": {"127.0.0.2": 3}}));
        assert_eq!(json!(session.syns), json!({"80": {"127.0.0.2": 4}}));
        assert_eq!(json!(session.failed), json!({"EAGAIN": 5}));
    }
}
