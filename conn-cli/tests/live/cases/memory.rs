//! No memory for new clients: the total stays exact, and conn-cli reports for how many connections
//! it did not record the client.

use std::net::{IpAddr, Ipv4Addr};
use std::process;

use anyhow::{Result, ensure};
use lab::cgroup::Cgroup;
use lab::client::Load;
use lab::family::Family;
use lab::kernel;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

/// More than fit into what a cgroup is charged for in advance: 64 pages for each processor
/// (`mm/memcontrol.c`, `MEMCG_CHARGE_BATCH`), of 32 entries each.
const CLIENTS: u16 = 6000;

/// Each client connects once. Before Linux 6.1, all entries are preallocated.
pub(crate) fn out_of_memory(context: &Context) -> Result<String> {
    let server = Server::start(Serve::threads(4, Family::V4.listen()), context.port)?;
    Cgroup::enable_memory_accounting()?;
    let cgroup = Cgroup::new("conn-cli-memory")?;
    // The kernel charges a map to the cgroup that it was created in, even if its process moves.
    cgroup.add(process::id())?;
    let tracer = Tracer::start(context.conn_cli(context.port).args(["--json", "--quiet"]));
    Cgroup::move_to_root(process::id())?;
    let mut tracer = tracer?;
    let stdout = tracer.stdout()?;
    tracer.wait_for("listening: ")?;

    // Otherwise conn-cli would be killed for its own memory.
    Cgroup::move_to_root(tracer.process.child.id())?;
    cgroup.limit_memory(Some(cgroup.memory()?))?;
    let load = Load {
        from: (0..CLIENTS).map(client_address).collect(),
        threads: 4,
        ..Load::v4(context.port, CLIENTS.into())
    };
    load.run()?;
    cgroup.limit_memory(None)?;

    let served = server.finish()?;
    let report = Report::new(&tracer.finish(Signal::INT, &stdout)?)?;
    let figures = report.figures(&served)?;
    report.check_discrepancies(0)?;
    let (others, out_of_memory) = (
        report.number("other_clients")?,
        report.number("out_of_memory")?,
    );
    ensure!(
        figures.connections == figures.server && others == out_of_memory,
        "{figures}, {others} others, {out_of_memory} out of memory"
    );
    let is_expected = kernel::version()? >= (6, 1);
    ensure!(
        (out_of_memory > 0) == is_expected,
        "{out_of_memory} connections out of memory"
    );
    for (address, connections) in &report.counts()? {
        ensure!(
            served.get(address) == Some(connections),
            "{address}: {connections}"
        );
    }
    Ok(format!("{figures} out_of_memory={out_of_memory}"))
}

fn client_address(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low).into()
}
