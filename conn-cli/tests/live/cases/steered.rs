//! Packets that arrive by interrupt, as those of a network card do, and not in the task that sent
//! them: the kernel handles them in the middle of whatever runs, even an eBPF program.

use anyhow::{Result, ensure};
use lab::client::Load;
use lab::family::Family;
use lab::report::Report;
use lab::server::{Serve, Server};
use lab::setting::Setting;
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

/// The processors that handle what the loopback interface receives; without any, the sender's.
const RPS_CPUS: &str = "/sys/class/net/lo/queues/rx-0/rps_cpus";

const CONNECTIONS: u32 = 3000;
const THREADS: u32 = 8;

pub(crate) fn steered(context: &Context) -> Result<String> {
    let _steered = Setting::set(RPS_CPUS, "3")?;
    let serve = Serve::threads(THREADS, Family::V4.listen());
    let server = Server::start(serve, context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).args(["--json", "--quiet"]))?;
    let stdout = tracer.stdout()?;
    let load = Load {
        threads: THREADS,
        ..Load::v4(context.port, CONNECTIONS)
    };
    let made = load.run()?;
    let served = server.finish()?;
    ensure!(
        served == made,
        "the test is at fault: made {made:?}, served {served:?}"
    );
    let ended = tracer.finish(Signal::INT, &stdout)?;
    Ok(Report::new(&ended)?.check_totals(&served)?.to_string())
}
