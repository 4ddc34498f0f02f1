//! `--by`: each conn-cli groups the same connections differently, and every sum must equal that of
//! the servers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::slice;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use lab::accept::Accept;
use lab::as_user::USER;
use lab::cgroup::Cgroup;
use lab::client::Load;
use lab::diagnostics::CountLine;
use lab::family::Family;
use lab::hook::Hook;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::several::Several;
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::text;
use crate::context::Context;
use crate::rfc3339;

/// Clients in different networks, with the number of connections each makes to the first server. To
/// the second server, the nth client makes n connections. No two counts of a group are equal.
const CLIENTS: [(&str, u32); 6] = [
    ("127.0.0.1", 30),
    ("127.0.0.2", 20),
    ("127.0.1.1", 17),
    ("127.0.1.2", 8),
    ("127.1.0.1", 9),
    ("::1", 7),
];

const CGROUP: &str = "conn-cli-groups";

/// How far conn-cli's wall clock may be from this process's: they are read at different times.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Two servers, on two ports, and what they counted.
struct Served {
    pids: [u32; 2],
    counts: BTreeMap<(IpAddr, usize), u64>,
}

/// The name of a group, in text and in JSON, and its connections.
#[derive(Debug)]
struct Group {
    text: String,
    json: Value,
    connections: u64,
}

impl Served {
    /// Adds up the connections of each name, the most connections first.
    fn groups(&self, name: impl Fn(IpAddr, usize) -> (String, Value)) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for ((client, server), connections) in &self.counts {
            let (text, json) = name(*client, *server);
            match groups.iter_mut().find(|group| group.text == text) {
                Some(group) => group.connections += connections,
                None => groups.push(Group {
                    text,
                    json,
                    connections: *connections,
                }),
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.connections));
        groups
    }

    fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The groups that `--by` must have.
    fn expected(&self, by: &str, port: u16, cgroup: Option<&Cgroup>) -> Result<Vec<Group>> {
        let ids = match cgroup {
            Some(cgroup) => [Cgroup::root_id()?, cgroup.id()?],
            None => [0; 2],
        };
        Ok(match by {
            "address" => self.groups(|client, _| {
                let text = client.to_string();
                (text.clone(), json!({ "address": text }))
            }),
            "network" => self.groups(|client, _| network(client, 3, "/24")),
            "network/16" => self.groups(|client, _| network(client, 2, "/16")),
            "port" => self.groups(|_, server| {
                let port = usize::from(port) + server;
                (format!("port {port}"), json!({ "port": port }))
            }),
            "address,port" => self.groups(|client, server| {
                let (client, port) = (client.to_string(), usize::from(port) + server);
                let json = json!({ "address": client, "port": port });
                (format!("{client} port {port}"), json)
            }),
            "name" => self.groups(|client, _| network_name(client)),
            "name,port" => self.groups(|client, server| {
                let (name, _) = network_name(client);
                let port = usize::from(port) + server;
                let json = json!({ "network_name": name, "port": port });
                (format!("{name} port {port}"), json)
            }),
            "process,port" => self.groups(|_, server| {
                let (name, pid, port) =
                    (NAMES[server], self.pids[server], usize::from(port) + server);
                let json = json!({ "pid": pid, "comm": name, "port": port });
                (format!("{name}[{pid}] port {port}"), json)
            }),
            "process" => self.groups(|_, server| {
                let (name, pid) = (NAMES[server], self.pids[server]);
                let json = json!({ "pid": pid, "comm": name });
                (format!("{name}[{pid}]"), json)
            }),
            "user" => self.groups(|_, server| {
                let (name, uid) = [("root", 0), ("nobody", USER)][server];
                (name.to_owned(), json!({ "uid": uid, "name": name }))
            }),
            _ => self.groups(|_, server| {
                let name = ["/".to_owned(), format!("/{CGROUP}")][server].clone();
                let json = json!({ "cgroup": ids[server], "name": name });
                (name, json)
            }),
        })
    }
}

/// The names of the servers' threads.
const NAMES: [&str; 2] = ["web", "mail"];

/// The network of a client: the first `prefix_octets` octets for IPv4, the upper half for IPv6.
fn network(client: IpAddr, prefix_octets: usize, length: &str) -> (String, Value) {
    let text = match client {
        IpAddr::V4(client) => {
            let mut octets = client.octets();
            octets[prefix_octets..].fill(0);
            format!("{}{length}", std::net::Ipv4Addr::from(octets))
        }
        // There is only one IPv6 client.
        IpAddr::V6(_) => "::/64".to_owned(),
    };
    (text.clone(), json!({ "network": text }))
}

/// Names of networks, one in another and one beside it, and of all of IPv6, in which no IPv4 client is.
const NETWORK_NAMES: &str = "--name office=127.0.0.0/24 --name desk=127.0.0.1 --name desk=127.0.1.0/24 \
                             --name away=127.1.1.0/24 --name six=::/0";

/// The name of a client's network.
fn network_name(client: IpAddr) -> (String, Value) {
    let name = match client.to_string().as_str() {
        "127.0.0.1" | "127.0.1.1" | "127.0.1.2" => "desk",
        "127.0.0.2" => "office",
        "::1" => "six",
        _ => "other",
    };
    (name.to_owned(), json!({ "network_name": name }))
}

/// The names of networks are counted in the kernel, however few clients it has room for.
pub(crate) fn names(context: &Context) -> Result<String> {
    let kinds = ["name", "name --json", "name,port", "name,port --json"];
    let more = format!("--max-clients 1 {NETWORK_NAMES}");
    let options = kinds.map(|by| format!("--by {by}"));
    count_with(context, None, options, &more)
}

/// Groups by what only the kernel knows; in JSON and, with one hook, in text.
pub(crate) fn tasks(context: &Context) -> Result<String> {
    let kinds = ["process", "user", "cgroup", "process,port"];
    let cgroup = Cgroup::new(CGROUP)?;
    let json = kinds.map(|by| format!("--by {by} --json"));
    let text = kinds.map(|by| format!("--by {by}"));
    let text = text.into_iter().filter(|_| context.hook == Hook::Kretprobe);
    count(context, Some(&cgroup), json.into_iter().chain(text))
}

/// Whatever its threads call themselves from one accept to the next, a process is one row of its own name,
/// also once it has ended.
pub(crate) fn renaming(context: &Context) -> Result<String> {
    const CONNECTIONS: u32 = 40;
    let serve = Serve {
        accept: Accept::Renaming(4),
        name: Some(NAMES[0]),
        ..Serve::threads(4, Family::V4.listen())
    };
    let server = Server::start(serve, context.port)?;
    let pid = server.pid();
    let start = |options: &[&str]| {
        let mut command = context.conn_cli(context.port);
        Tracer::start(command.args(["--quiet", "--by", "process"]).args(options))
    };
    let (mut text, mut json, mut later) = (start(&[])?, start(&["--json"])?, start(&["--json"])?);
    let (text_lines, json_lines, later_lines) = (text.stdout()?, json.stdout()?, later.stdout()?);
    Load::v4(context.port, CONNECTIONS).run()?;
    let ended_text = text.finish(Signal::INT, &text_lines)?;
    let text = text::parse(&ended_text)?.summary;
    let ended = json.finish(Signal::INT, &json_lines)?;
    let connections: u64 = server.finish()?.values().sum();
    let group = Group {
        text: format!("{}[{pid}]", NAMES[0]),
        json: json!({ "pid": pid, "comm": NAMES[0] }),
        connections,
    };
    ensure!(
        text == [format!("{}: {connections}", group.text)],
        "{text:?}"
    );
    check_json(&ended, slice::from_ref(&group))?;
    check_json(&later.finish(Signal::INT, &later_lines)?, &[group])?;
    Ok(format!("server={connections}"))
}

/// A cgroup with the name of a container is one where root made it, not where a user can.
pub(crate) fn containers(context: &Context) -> Result<String> {
    let id = "0123456789ab".repeat(6)[..64].to_owned();
    let name = format!("docker-{id}.scope");
    let of_user = Cgroup::new("conn-cli-users.service")?;
    chown(of_user.path(), Some(USER), None)?;
    let forged = format!("conn-cli-users.service/{name}");
    let mut shown = Vec::new();
    for (path, expected) in [
        (&name, format!("docker:0123456789ab (/{name})")),
        (&forged, format!("/{forged}")),
    ] {
        let cgroup = Cgroup::new(path)?;
        let server = Server::plain(context.port)?;
        cgroup.add(server.pid())?;
        let mut command = context.conn_cli(context.port);
        let mut tracer = Tracer::start(command.args(["--quiet", "--by", "cgroup", "--json"]))?;
        let stdout = tracer.stdout()?;
        Load::v4(context.port, 5).run()?;
        let ended = tracer.finish(Signal::INT, &stdout)?;
        let group = Group {
            text: String::new(),
            json: json!({ "cgroup": cgroup.id()?, "name": expected }),
            connections: server.finish()?.values().sum(),
        };
        check_json(&ended, &[group])?;
        shown.push(expected);
    }
    Ok(shown.join("; "))
}

/// Groups by the endpoints of a connection, with the other options of the summary.
pub(crate) fn endpoints(context: &Context) -> Result<String> {
    let options = [
        "--by network",
        "--by network/16 --json",
        "--by port --json",
        "--by port",
        "--by address,port",
        "--by address,port --json",
        "--by address --top 2 --json",
        "--by address --top 2",
        "--by address --long --json",
        "--by address --long --time iso",
    ];
    count(context, None, options.map(str::to_owned))
}

/// Runs one conn-cli with each of these options while two servers accept. The second server runs as
/// an ordinary user and, if there is one, in the cgroup.
fn count(
    context: &Context,
    cgroup: Option<&Cgroup>,
    options: impl IntoIterator<Item = String>,
) -> Result<String> {
    count_with(context, cgroup, options, "")
}

/// The same with more options, which are separated by blanks, for each.
fn count_with(
    context: &Context,
    cgroup: Option<&Cgroup>,
    options: impl IntoIterator<Item = String>,
    more: &str,
) -> Result<String> {
    let serve = Serve {
        name: Some(NAMES[0]),
        ..Serve::threads(2, Family::Dual.listen())
    };
    let second = Serve {
        name: Some(NAMES[1]),
        nobody: true,
        ..serve
    };
    let servers = [
        Server::start(serve, context.port)?,
        Server::start(second, context.port + 1)?,
    ];
    if let Some(cgroup) = cgroup {
        cgroup.add(servers[1].pid())?;
    }
    let command = || {
        let mut command = context.conn_cli(context.port);
        command.args([
            "--quiet",
            "--utc",
            "--port",
            &(context.port + 1).to_string(),
        ]);
        command.args(more.split_whitespace());
        command
    };
    let started = now()?;
    let several = Several::start(command, options)?;
    let served = connect(context, servers)?;
    several.finish(|options, ended| {
        let words: Vec<_> = options.split(' ').collect();
        let groups = served.expected(words[1], context.port, cgroup)?;
        let diagnostics = CountLine::without_warnings(ended)?;
        ensure!(diagnostics.connections == served.total(), "{diagnostics:?}");
        match words[2..] {
            [] => check_text(ended, &groups, None),
            ["--json"] => check_json(ended, &groups).map(|_| ()),
            ["--top", _] => check_text(ended, &groups[..2], Some(&groups[2..])),
            ["--top", _, _] => check_top(ended, &groups),
            ["--long", "--json"] => check_seen(ended, &groups, started),
            _ => check_table(ended, &groups),
        }
    })?;
    Ok(format!("server={}", served.total()))
}

fn connect(context: &Context, servers: [Server; 2]) -> Result<Served> {
    let pids = [servers[0].pid(), servers[1].pid()];
    let mut counts = BTreeMap::new();
    for (index, server) in servers.into_iter().enumerate() {
        let mut made = BTreeMap::new();
        for (position, (client, connections)) in (1..).zip(CLIENTS) {
            let connections = [connections, position][index];
            let load = Load {
                from: vec![client.parse()?],
                ..Load::v4(context.port + u16::try_from(index)?, connections)
            };
            made.extend(load.run()?);
        }
        let served = server.finish()?;
        ensure!(
            served == made,
            "the test is at fault: made {made:?}, served {served:?}"
        );
        let with_server = |(client, connections)| ((client, index), connections);
        counts.extend(served.into_iter().map(with_server));
    }
    Ok(Served { pids, counts })
}

/// Each group must have its name and its position.
fn check_json(ended: &Ended, groups: &[Group]) -> Result<Report> {
    let report = Report::new(ended)?;
    report.check_discrepancies(0)?;
    let clients = report.summary["clients"].as_array().context("no clients")?;
    let left_off = report.summary["left_off"]["clients"].as_u64().unwrap_or(0);
    ensure!(
        clients.len() as u64 + left_off == groups.len() as u64,
        "not {} groups: {}",
        groups.len(),
        report.summary
    );
    for (client, group) in clients.iter().zip(groups) {
        let names = group.json.as_object().context("no names")?;
        let is_named = names.iter().all(|(key, value)| client[key] == *value);
        ensure!(
            is_named && client["connections"] == group.connections,
            "{client} instead of {group:?}"
        );
    }
    let total: u64 = groups.iter().map(|group| group.connections).sum();
    ensure!(
        report.number("connections")? == total,
        "not {total}: {}",
        report.summary
    );
    Ok(report)
}

fn check_text(ended: &Ended, groups: &[Group], more: Option<&[Group]>) -> Result<()> {
    let line = |group: &Group| format!("{}: {}", group.text, group.connections);
    let mut expected: Vec<_> = groups.iter().map(line).collect();
    if let Some(more) = more {
        let sum: u64 = more.iter().map(|group| group.connections).sum();
        expected.push(format!("{} other addresses: {sum}", more.len()));
    }
    let shown = text::parse(ended)?;
    let summary = shown.summary;
    ensure!(summary == expected, "{summary:?} instead of {expected:?}");
    let all = groups.len() + more.map_or(0, <[Group]>::len);
    ensure!(
        shown.last.groups == Some(all as u64),
        "not {all} groups: {:?}",
        shown.last
    );
    Ok(())
}

/// `--top 2`: two groups, and the sum of the others.
fn check_top(ended: &Ended, groups: &[Group]) -> Result<()> {
    let report = check_json(ended, groups)?;
    let others: u64 = groups[2..].iter().map(|group| group.connections).sum();
    let expected = json!({ "clients": groups.len() - 2, "connections": others });
    ensure!(
        report.summary["left_off"] == expected,
        "not {expected}: {}",
        report.summary
    );
    Ok(())
}

/// `--long`: each client was seen during the run.
fn check_seen(ended: &Ended, groups: &[Group], started: Duration) -> Result<()> {
    let report = check_json(ended, groups)?;
    let run = started - TOLERANCE..=now()? + TOLERANCE;
    for client in report.summary["clients"].as_array().context("no clients")? {
        let time = |key: &str| rfc3339::parse(client[key].as_str().context("no time")?);
        let (first, last) = (time("first_seen")?, time("last_seen")?);
        ensure!(
            first <= last && run.contains(&first) && run.contains(&last),
            "outside the run {run:?}: {client}"
        );
        let connections = client["connections"].as_u64().context("no number")?;
        let peak = client["peak_per_second"].as_u64().context("no peak")?;
        // No second from the first to the last has more connections than the peak.
        let seconds = last.as_secs() - first.as_secs() + 1;
        ensure!(
            peak <= connections && peak * seconds >= connections,
            "wrong peak: {client}"
        );
    }
    Ok(())
}

/// `--long` in text: the counts and shares are those of the servers.
fn check_table(ended: &Ended, groups: &[Group]) -> Result<()> {
    let rows = text::parse(ended)?.summary;
    let cells = |row: &String| -> Vec<String> {
        let cells = row.split("  ").map(str::trim);
        cells
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (title, rows) = rows.split_first().context("no table")?;
    let title = cells(title);
    ensure!(
        title.starts_with(&["count", "share"].map(str::to_owned))
            && title.last().is_some_and(|title| title == "address"),
        "{title:?}"
    );
    let (total, rows) = rows.split_last().context("no total")?;
    let sum: u64 = groups.iter().map(|group| group.connections).sum();
    ensure!(
        cells(total) == [sum.to_string(), "total".to_owned()],
        "{total}"
    );
    ensure!(rows.len() == groups.len(), "{rows:?}");
    for (row, group) in rows.iter().zip(groups) {
        let row = cells(row);
        ensure!(
            row[0] == group.connections.to_string() && row.last() == Some(&group.text),
            "{row:?} instead of {group:?}"
        );
        let share: f64 = row[1].trim_end_matches(" %").parse()?;
        let expected = group.connections as f64 * 100.0 / sum as f64;
        ensure!((share - expected).abs() < 0.51, "not {expected}: {row:?}");
    }
    Ok(())
}

fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}
