//! Counting cases: a server, clients, and a conn-cli whose count must equal the server's.

use anyhow::{Context as _, Result, ensure};
use lab::accept::Accept;
use lab::client::Load;
use lab::counts::Counts;
use lab::diagnostics::CountLine;
use lab::family::Family;
use lab::report::{Figures, Report};
use lab::server::{Serve, Server};
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use crate::context::Context;
use crate::identity::Identity;

const CONNECTIONS: u32 = 500;
const CLIENT_THREADS: u32 = 4;

/// The offset of the port that conn-cli must not count.
const OTHER_PORT_OFFSET: u16 = 1;

/// Which of the two starts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Server,
    Tracer,
}

/// The parameters of a counting case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) accept: Accept,
    pub(crate) first: First,
    pub(crate) family: Family,
    pub(crate) protocol: Protocol,
    pub(crate) netns: bool,
    pub(crate) other_port: bool,
}

/// The protocols of the server and its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Mptcp,
    /// An MPTCP server whose clients use TCP.
    TcpToMptcp,
}

impl Count {
    /// One thread that waits before conn-cli attaches; the other cases vary this.
    pub(crate) const PLAIN: Self = Self {
        accept: Accept::Threads(1),
        first: First::Server,
        family: Family::V4,
        protocol: Protocol::Tcp,
        netns: false,
        other_port: false,
    };

    fn serve(&self) -> Serve {
        Serve {
            accept: self.accept,
            mptcp: self.protocol != Protocol::Tcp,
            netns: self.netns,
            ..Serve::threads(1, self.family.listen())
        }
    }

    pub(crate) fn run(&self, context: &Context) -> Result<String> {
        Ok(self.trace(context)?.0.to_string())
    }

    /// Counts, checks all output of conn-cli, and returns it.
    pub(crate) fn trace(&self, context: &Context) -> Result<(Figures, Ended)> {
        let start_tracer = || Tracer::start(context.conn_cli(context.port).arg("--json"));
        let start_server = || Server::start(self.serve(), context.port);
        let (server, mut tracer) = match self.first {
            First::Server => {
                let server = start_server()?;
                (server, start_tracer()?)
            }
            First::Tracer => {
                let tracer = start_tracer()?;
                (start_server()?, tracer)
            }
        };
        let stdout = tracer.stdout()?;
        let identity = Identity::read(server.pid())?;
        let served = self.connect(context, server)?;
        let ended = tracer.finish(Signal::INT, &stdout)?;
        let report = Report::new(&ended)?;
        let figures = report.check(&served)?;
        report.check_live(&[("local_port", context.port.into())])?;
        identity.check(&report, context)?;
        let expected = CountLine {
            connections: figures.server,
            not_shown: figures.not_shown,
        };
        let diagnostics = CountLine::without_warnings(&ended)?;
        ensure!(
            diagnostics == expected,
            "{diagnostics:?} instead of {expected:?}"
        );
        Ok((figures, ended))
    }

    /// Makes the connections; the server's count must equal the clients'.
    fn connect(&self, context: &Context, server: Server) -> Result<Counts> {
        let load = Load {
            from: self.family.clients(),
            from_port: 0,
            to: None,
            port: context.port,
            connections: CONNECTIONS,
            threads: CLIENT_THREADS,
            mptcp: self.protocol == Protocol::Mptcp,
            netns_pid: self.netns.then_some(server.pid()),
        };
        let mptcp_before = mptcp_connections()?;
        let made = if self.other_port {
            self.connect_beside_another(context, &load)?
        } else {
            load.run()?
        };
        if self.protocol == Protocol::Mptcp {
            let mptcp = mptcp_connections()? - mptcp_before;
            ensure!(
                mptcp >= u64::from(CONNECTIONS),
                "only {mptcp} connections used MPTCP"
            );
        }
        let served = server.finish()?;
        ensure!(
            served == made,
            "the test is at fault: the clients made {made:?}, the server counted {served:?}"
        );
        Ok(served)
    }

    /// Makes as many connections to another port at the same time.
    fn connect_beside_another(&self, context: &Context, load: &Load) -> Result<Counts> {
        let port = context.port + OTHER_PORT_OFFSET;
        let other_server = Server::start(self.serve(), port)?;
        let other_clients = Load {
            port,
            ..load.clone()
        }
        .start()?;
        let made = load.run()?;
        let made_to_other = other_clients.finish()?;
        ensure!(
            other_server.finish()? == made_to_other,
            "the test is at fault"
        );
        Ok(made)
    }
}

/// The number of MPTCP connections that this machine has accepted.
fn mptcp_connections() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/netstat")?;
    let mut tables = text.lines().filter(|line| line.starts_with("MPTcpExt:"));
    let (Some(names), Some(values)) = (tables.next(), tables.next()) else {
        return Ok(0);
    };
    names
        .split(' ')
        .zip(values.split(' '))
        .find(|(name, _)| *name == "MPCapableACKRX")
        .context("/proc/net/netstat has no MPCapableACKRX")?
        .1
        .parse()
        .context("cannot parse /proc/net/netstat")
}
