//! `--cgroup`, and a cgroup that is removed and made again, as systemd does when a service restarts.

use anyhow::{Result, ensure};
use lab::cgroup::Cgroup;
use lab::client::Load;
use lab::counts::Counts;
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::process::Signal;

use crate::context::Context;

const SLICE: &str = "conn-cli-slice";
/// A name that has to be escaped.
const SERVICE: &str = "conn-cli-slice/a\\x2db.service";
const SHOWN: &str = r"/sys/fs/cgroup/conn-cli-slice/a\\x2db.service";

/// How many connections the servers get before and after.
const BEFORE: u32 = 5;
const AFTER: u32 = 7;

/// How many connections are accepted before conn-cli can know of the new cgroup.
const EARLY: u32 = 3;

/// What is removed, and made again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remade {
    Service,
    SliceToo,
}

/// What both servers accept counts, and a server elsewhere does not.
pub(crate) fn counts(context: &Context) -> Result<String> {
    let mut figures = Vec::new();
    for remade in [Remade::Service, Remade::SliceToo] {
        figures.push(count(context, remade)?);
    }
    Ok(figures.join("; "))
}

fn count(context: &Context, remade: Remade) -> Result<String> {
    let slice = Cgroup::new(SLICE)?;
    let service = Cgroup::new(SERVICE)?;
    let mut tracer = start(context, &service)?;
    let stdout = tracer.stdout()?;
    let mut served = serve(context, Some(&service), BEFORE)?;
    service.remove()?;
    let mut slice = Some(slice);
    if remade == Remade::SliceToo {
        slice.take().map(Cgroup::remove).transpose()?;
    }
    tracer.wait_for(&format!("the cgroup {SHOWN} was removed"))?;
    serve(context, None, EARLY)?;
    let slice = slice.map_or_else(|| Cgroup::new(SLICE), Ok)?;
    let service = Cgroup::new(SERVICE)?;
    let said = tracer.wait_for(&format!("the new cgroup {SHOWN}"))?;
    ensure!(said.ends_with(" counts"), "{said}");
    add(&mut served, serve(context, Some(&service), AFTER)?);
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let figures = Report::new(&ended)?.check(&served)?;
    ensure!(
        ended.status.success() && figures.server == u64::from(BEFORE + AFTER),
        "ended with {}: {figures}",
        ended.status
    );
    service.remove()?;
    slice.remove()?;
    Ok(figures.to_string())
}

/// What is accepted in the new cgroup while conn-cli cannot run is missing, which it says.
pub(crate) fn missed(context: &Context) -> Result<String> {
    let _slice = Cgroup::new(SLICE)?;
    let service = Cgroup::new(SERVICE)?;
    let mut tracer = start(context, &service)?;
    let stdout = tracer.stdout()?;
    let mut served = serve(context, Some(&service), BEFORE)?;
    tracer.process.signal(Signal::STOP)?;
    service.remove()?;
    let service = Cgroup::new(SERVICE)?;
    serve(context, Some(&service), EARLY)?;
    tracer.process.signal(Signal::CONT)?;
    tracer.wait_for("counts, but not what was accepted there until now")?;
    add(&mut served, serve(context, Some(&service), AFTER)?);
    service.remove()?;
    tracer.wait_for("was removed")?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let report = Report::new(&ended)?;
    let counted: u64 = report.counts()?.values().sum();
    let expected: u64 = served.values().sum();
    ensure!(
        counted == expected && ended.status.code() == Some(1),
        "{counted} instead of {expected}, ended with {}",
        ended.status
    );
    ensure!(
        ended
            .stderr
            .iter()
            .any(|line| line.contains("in the new cgroup before it counted")),
        "no reason: {}",
        ended.stderr.join(" | ")
    );
    Ok(format!(
        "server={expected} of {}",
        expected + u64::from(EARLY)
    ))
}

fn start(context: &Context, service: &Cgroup) -> Result<Tracer> {
    let mut command = context.conn_cli(context.port);
    Tracer::start(command.args(["--json", "--cgroup"]).arg(service.path()))
}

/// Has a server in this cgroup accept connections. Returns its count, once it has ended.
fn serve(context: &Context, cgroup: Option<&Cgroup>, connections: u32) -> Result<Counts> {
    let server = Server::plain(context.port)?;
    if let Some(cgroup) = cgroup {
        cgroup.add(server.pid())?;
    }
    Load::v4(context.port, connections).run()?;
    server.finish()
}

fn add(sum: &mut Counts, counts: Counts) {
    for (address, connections) in counts {
        *sum.entry(address).or_default() += connections;
    }
}
