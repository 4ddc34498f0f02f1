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
use lab::tracer::Ended;

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

    /// Connects to each server and returns what each has counted.
    fn connect(self) -> Result<Vec<Counts>> {
        let isolated = self.pid(2);
        let mut served = Vec::new();
        for (index, server) in self.all.into_iter().enumerate() {
            let load = Load {
                netns_pid: (server.pid() == isolated).then_some(isolated),
                ..Load::v4(
                    self.context.port + u16::from(index == 1),
                    CONNECTIONS[index],
                )
            };
            let made = load.run()?;
            let counts = server.finish()?;
            ensure!(
                counts == made,
                "the test is at fault: made {made:?}, served {counts:?}"
            );
            served.push(counts);
        }
        Ok(served)
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
    let served = servers.connect()?;
    let mut filters = filters.iter();
    several.finish(|_, ended| {
        let (_, wanted) = filters.next().context("no filter")?;
        check_sum(ended, wanted.iter().map(|server| &served[*server]))
    })?;
    Ok(format!("servers={CONNECTIONS:?}"))
}

fn check_sum<'a>(ended: &Ended, servers: impl Iterator<Item = &'a Counts>) -> Result<()> {
    let mut sum: BTreeMap<IpAddr, u64> = Counts::new();
    for (address, connections) in servers.flatten() {
        *sum.entry(*address).or_default() += connections;
    }
    check(ended, &sum)
}

/// conn-cli must refuse invalid filters before it counts anything.
pub(crate) fn wrong_filters(context: &Context) -> Result<String> {
    for (options, code, word) in [
        ("--cgroup /conn-cli-none", 1, "there is no cgroup"),
        ("--cgroup /tmp", 1, "not a directory of a cgroup"),
        ("--cgroup /sys/fs/cgroup/cgroup.procs", 1, "is a file"),
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
