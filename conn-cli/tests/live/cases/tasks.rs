//! Task filters: servers that differ in process, user, thread name, cgroup and network namespace,
//! and a conn-cli for each, which must count exactly that server's connections.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use lab::as_user::USER;
use lab::cgroup::Cgroup;
use lab::client::Load;
use lab::counts::Counts;
use lab::family::Family;
use lab::hook::Hook;
use lab::server::{Serve, Server};
use lab::several::Several;
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use super::filters::check;
use super::privileges::refused;
use crate::context::Context;

/// A cgroup, and one below it.
const OUTER_CGROUP: &str = "conn-cli-outer";
const INNER_CGROUP: &str = "conn-cli-outer/inner";

/// How many connections each server gets: no two subsets have the same sum.
const CONNECTIONS: [u32; 3] = [20, 41, 83];

/// The servers that a conn-cli must see.
type Wanted = &'static [usize];

/// One runs as root, one as an ordinary user in a cgroup below another, and one in that other
/// cgroup, with its own network namespace.
struct Servers {
    all: Vec<Server>,
    context: Context,
    _cgroups: [Cgroup; 2],
}

impl Servers {
    fn start(context: &Context) -> Result<Self> {
        let outer = Cgroup::new(OUTER_CGROUP)?;
        let inner = Cgroup::new(INNER_CGROUP)?;
        let plain = Serve::threads(2, Family::V4.listen());
        let root = Serve {
            name: Some("first one"),
            ..plain
        };
        let nobody = Serve {
            name: Some("second"),
            nobody: true,
            ..plain
        };
        let isolated = Serve {
            name: Some("third"),
            netns: true,
            ..plain
        };
        let all = vec![
            Server::start(root, context.port)?,
            Server::start(nobody, context.port + 1)?,
            // In another namespace the port is free.
            Server::start(isolated, context.port)?,
        ];
        inner.add(all[1].pid())?;
        outer.add(all[2].pid())?;
        Ok(Self {
            all,
            context: context.clone(),
            // The inner one is removed first.
            _cgroups: [inner, outer],
        })
    }

    fn pid(&self, server: usize) -> u32 {
        self.all[server].pid()
    }

    /// Connects to each server and returns how often.
    fn connect(&self) -> Result<Vec<Counts>> {
        let isolated = self.pid(2);
        let mut made = Vec::new();
        for (index, server) in self.all.iter().enumerate() {
            let load = Load {
                netns_pid: (server.pid() == isolated).then_some(isolated),
                ..Load::v4(
                    self.context.port + u16::from(index == 1),
                    CONNECTIONS[index],
                )
            };
            made.push(load.run()?);
        }
        Ok(made)
    }

    /// Ends them, and checks that they have counted these connections.
    fn finish(self, made: &[Counts]) -> Result<()> {
        for (server, made) in self.all.into_iter().zip(made) {
            let served = server.finish()?;
            ensure!(
                served == *made,
                "the test is at fault: made {made:?}, served {served:?}"
            );
        }
        Ok(())
    }
}

pub(crate) fn filters(context: &Context) -> Result<String> {
    let servers = Servers::start(context)?;
    let (first, second, third) = (servers.pid(0), servers.pid(1), servers.pid(2));
    let mut filters: Vec<(String, Wanted)> = vec![
        (format!("--pid {first}"), &[0]),
        (format!("--uid {USER}"), &[1]),
        ("--comm third".to_owned(), &[2]),
        (format!("--cgroup /sys/fs/cgroup/{OUTER_CGROUP}"), &[1, 2]),
        (format!("--netns {third}"), &[2]),
    ];
    // The same filters, written differently.
    if context.hook == Hook::Kretprobe {
        let others: [(String, Wanted); 3] = [
            ("--uid nobody --comm second".to_owned(), &[1]),
            (format!("--cgroup {INNER_CGROUP}"), &[1]),
            (format!("--netns /proc/{second}/ns/net"), &[0, 1]),
        ];
        filters.extend(others);
    }
    count(context, servers, &filters)
}

/// Of these filters, the raw tracepoint supports only the network namespace.
pub(crate) fn netns(context: &Context) -> Result<String> {
    let servers = Servers::start(context)?;
    let filters: Vec<(String, Wanted)> = vec![
        (format!("--netns {}", servers.pid(2)), &[2]),
        (format!("--netns /proc/{}/ns/net", servers.pid(0)), &[0, 1]),
    ];
    count(context, servers, &filters)
}

fn count(context: &Context, servers: Servers, filters: &[(String, Wanted)]) -> Result<String> {
    let command = || {
        let mut command = context.conn_cli(context.port);
        command.args(["--json", "--port", &(context.port + 1).to_string()]);
        command
    };
    let several = Several::start(command, filters.iter().map(|(options, _)| options))?;
    let made = servers.connect()?;
    let mut filters = filters.iter();
    several.finish(|_, ended| {
        let (_, wanted) = filters.next().context("no filter")?;
        check_sum(ended, wanted.iter().map(|server| &made[*server]))
    })?;
    servers.finish(&made)?;
    Ok(format!("servers={CONNECTIONS:?}"))
}

fn check_sum<'a>(ended: &Ended, servers: impl Iterator<Item = &'a Counts>) -> Result<()> {
    let mut sum: BTreeMap<IpAddr, u64> = Counts::new();
    for (address, connections) in servers.flatten() {
        *sum.entry(*address).or_default() += connections;
    }
    check(ended, &sum)
}

/// The run ends with the process, whose id another one may get.
pub(crate) fn ended_process(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let pid = server.pid();
    let mut command = context.conn_cli(context.port);
    let mut tracer = Tracer::start(command.args(["--json", "--pid", &pid.to_string()]))?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS[0]).run()?;
    let served = server.finish()?;
    let ended = tracer.wait(stdout.rest()?)?;
    let said = format!("process {pid} has ended, so the run ends");
    ensure!(
        ended.status.code() == Some(1) && ended.stderr.contains(&said),
        "ended with {}: {}",
        ended.status,
        ended.stderr.join(" | ")
    );
    let summary = ended.stdout.last().context("no summary")?;
    let summary: serde_json::Value = serde_json::from_str(summary)?;
    let expected: u64 = served.values().sum();
    ensure!(
        summary["connections"] == expected,
        "not the server's {expected}: {summary}"
    );
    Ok(said)
}

/// A network namespace that conn-cli watches keeps its number when its last process ends.
pub(crate) fn ended_netns(context: &Context) -> Result<String> {
    let isolated = || {
        let serve = Serve {
            netns: true,
            ..Serve::threads(2, Family::V4.listen())
        };
        Server::start(serve, context.port)
    };
    let connect = |server: Server, connections| {
        let load = Load {
            netns_pid: Some(server.pid()),
            ..Load::v4(context.port, connections)
        };
        load.run()?;
        server.finish()
    };
    let watched = isolated()?;
    let mut command = context.conn_cli(context.port);
    let netns = watched.pid().to_string();
    let mut tracer = Tracer::start(command.args(["--json", "--netns", &netns]))?;
    let stdout = tracer.stdout()?;
    let served = connect(watched, CONNECTIONS[0])?;
    // The kernel gives a new namespace the lowest number that is free.
    for connections in CONNECTIONS {
        connect(isolated()?, connections)?;
    }
    check(&tracer.finish(Signal::INT, &stdout)?, &served)?;
    Ok(format!("server={}", CONNECTIONS[0]))
}

/// conn-cli must refuse invalid filters before it counts anything.
pub(crate) fn wrong_filters(context: &Context) -> Result<String> {
    for (options, code, word) in [
        ("--cgroup /conn-cli-none", 1, "there is no cgroup"),
        ("--cgroup /tmp", 1, "not a directory of a cgroup"),
        ("--cgroup /sys/fs/cgroup/cgroup.procs", 1, "is a file"),
        ("--pid 4194305", 1, "there is no process 4194305"),
        ("--netns 4194305", 1, "/proc/4194305/ns/net"),
        ("--netns /proc/self/ns/uts", 1, "is not a network namespace"),
        ("--netns /etc/passwd", 1, "is not a network namespace"),
        ("--pid 1 --funnel", 2, "who accepts"),
        ("--cgroup / --event established", 2, "who accepts"),
        ("--by user --funnel", 2, "who accepts"),
        ("--uid no-such-user", 2, "there is no user"),
    ] {
        let mut command = context.conn_cli(context.port);
        refused(command.args(options.split(' ')), code, &[word])
            .with_context(|| format!("with {options}"))?;
    }
    Ok("all refused".to_owned())
}
