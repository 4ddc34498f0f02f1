//! No memory for the clients that come: the total is exact all the same, and it is said of how many
//! connections the client is not told.

use std::net::{IpAddr, Ipv4Addr};
use std::process;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::cgroup::Cgroup;
use super::client::Load;
use super::exact::Family;
use super::kernel;
use super::plan::Context;
use super::report::Report;
use super::server::{Serve, Server};
use super::tracer::Tracer;

/// More than find room in what a cgroup is charged for in advance: 64 pages for each processor
/// (`mm/memcontrol.c`, `MEMCG_CHARGE_BATCH`), of 32 entries each.
const CLIENTS: u16 = 6000;

/// Each client connects once. Before Linux 6.1 there is room for all from the beginning.
pub(super) fn out_of_memory(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::V4.listen()), context.port)?;
    Cgroup::account_for_memory()?;
    let cgroup = Cgroup::new("conn-cli-memory")?;
    // It is the cgroup in which a map was made that is charged for it, wherever its process goes.
    cgroup.take(process::id())?;
    let tracer = Tracer::start(context.conn_cli(context.port).args(["--json", "--quiet"]));
    Cgroup::leave(process::id())?;
    let mut tracer = tracer?;
    let stdout = tracer.stdout()?;
    tracer.wait_for("Listening: ")?;

    // Or it would be killed for its own memory.
    Cgroup::leave(tracer.process.child.id())?;
    cgroup.limit_memory(Some(cgroup.memory()?))?;
    let load = Load {
        from: (0..CLIENTS).map(client).collect(),
        threads: 4,
        ..Load::v4(context.port, CLIENTS.into())
    };
    load.run()?;
    cgroup.limit_memory(None)?;

    let served = server.finish()?;
    let report = Report::of(&tracer.finish(Signal::INT, &stdout)?)?;
    let figures = report.figures(&served)?;
    report.check_doubts(0)?;
    let (others, out_of_memory) = (
        report.number("other_clients")?,
        report.number("out_of_memory")?,
    );
    ensure!(
        figures.connections == figures.server && others == out_of_memory,
        "{figures}, {others} others, {out_of_memory} for want of memory"
    );
    let is_expected = kernel::version()? >= (6, 1);
    ensure!(
        (out_of_memory > 0) == is_expected,
        "{out_of_memory} connections for want of memory"
    );
    for (address, connections) in &report.counts()? {
        ensure!(
            served.get(address) == Some(connections),
            "{address}: {connections}"
        );
    }
    Ok(format!("{figures} out_of_memory={out_of_memory}"))
}

fn client(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low).into()
}
