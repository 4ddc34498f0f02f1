//! Kernels that preempt their own code, and what conn-cli makes of that.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::client::Load;
use super::exact::Count;
use super::map_reader::check;
use super::plan::{Context, Hook};
use super::report::Report;
use super::server::Server;
use super::setting::Setting;
use super::tracer::{Ended, Tracer};
use super::{hidden, kernel};

/// Whether the kernel of this guest was started so that it preempts its own code: Linux 7 cannot
/// do without, and Debian's before it do as they are told.
pub(super) fn is_preemptible() -> Result<bool> {
    let is_told = fs::read_to_string("/proc/cmdline")?.contains("preempt=full");
    Ok(is_told || kernel::version()? >= (7, 0))
}

/// Whether a program that reads many entries of a map surely makes the hook miss connections: one
/// processor is preempted by each of them.
pub(super) fn misses_surely(context: &Context) -> Result<bool> {
    let is_alone = thread::available_parallelism()?.get() == 1;
    Ok(is_alone && context.hook == Hook::Kretprobe && is_preemptible()?)
}

/// The hook that `auto` must have, and whether the announcement must say why it is not the pair.
fn expected() -> Result<(&'static str, bool)> {
    Ok(match is_preemptible()? {
        true => ("lsm", true),
        false => ("kretprobe", false),
    })
}

/// Without debugfs the version, the command line and the configuration tell the preemption.
pub(super) fn chosen(context: &Context) -> Result<String> {
    let mut chosen = Vec::new();
    for hidden in [None, Some(hidden::DEBUGFS)] {
        let context = Context {
            hidden,
            ..context.clone()
        };
        chosen.push(choose(&context).with_context(|| format!("without {hidden:?}"))?);
    }
    let one: BTreeSet<_> = chosen.into_iter().collect();
    Ok(Vec::from_iter(one).join(" | "))
}

fn choose(context: &Context) -> Result<String> {
    let (_, ended) = Count::PLAIN.trace(context)?;
    let (hook, says_why) = expected()?;
    let announced = &ended.stderr[0];
    let summary = &Report::of(&ended)?.summary;
    ensure!(
        summary["probe"] == hook && summary["exact"] == true,
        "not {hook}: {announced}; {summary}"
    );
    ensure!(
        announced.contains("not kretprobe: this kernel is preemptible (") == says_why,
        "{announced}"
    );
    Ok(announced.clone())
}

/// Where the preemption is read, and switched.
const PREEMPT: &str = "/sys/kernel/debug/sched/preempt";

/// The preemption is switched while the pair counts.
pub(super) fn switched(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).args(["--json", "--quiet"]))?;
    let stdout = tracer.stdout()?;
    let _full = Setting::set(PREEMPT, "full")?;
    Load::v4(context.port, 20).run()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let served = server.finish()?;
    let said = ended.stderr.join(" | ");
    ensure!(
        said.contains("switched from voluntary to full during the run"),
        "not a word of it: {said}"
    );
    let report = Report::of(&ended)?;
    report.check_totals(&served)?;
    ensure!(report.summary["exact"] == false, "{}", report.summary);
    // What the kernel does not count may be missing, and nobody knows.
    let is_counted = !report.summary["missed_runs"].is_null();
    ensure!(
        ended.status.success() == is_counted && (report.summary["at_least"] == false) == is_counted,
        "ended with {}: {said}",
        ended.status
    );
    ensure!(
        is_counted || said.contains("the count is at least 20;"),
        "{said}"
    );
    Ok(format!("said: {said}"))
}

/// How often the one that ends and reads its maps is started.
const ROUNDS: u32 = 5;
/// As many entries it has to read.
const CLIENTS: u32 = 1000;

/// Two conn-cli, of which one ends again and again while connections are accepted.
pub(super) fn two_at_once(context: &Context) -> Result<String> {
    let other = context.port + 1;
    let servers = [Server::plain(context.port)?, Server::plain(other)?];
    let options = ["--json", "--quiet"];
    let mut long = Tracer::start(context.conn_cli(other).args(options))?;
    let stdout = long.stdout()?;
    // The one that ends is as users run it, and must be exact beside the other, too.
    let auto = Context {
        hook: Hook::Auto,
        ..context.clone()
    };
    let beside = Load::v4(other, u32::MAX).start()?;
    let address = |number: u32| IpAddr::from(Ipv4Addr::from(0x7f01_0000 + number));
    let load = Load {
        from: (1..=CLIENTS).map(address).collect(),
        ..Load::v4(context.port, CLIENTS)
    };
    for round in 0..ROUNDS {
        let mut short = Tracer::start(auto.conn_cli(context.port).args(options))?;
        let stdout = short.stdout()?;
        let made = load.run()?;
        let ended = short.finish(Signal::INT, &stdout)?;
        let report = Report::of(&ended)?;
        report
            .check_totals(&made)
            .with_context(|| format!("round {round}: {}", ended.stderr.join(" | ")))?;
    }
    beside.stop();
    beside.finish()?;
    let ended: Ended = long.finish(Signal::INT, &stdout)?;
    let [server, other] = servers;
    server.finish()?;
    let told = check(context, &ended, &other.finish()?)?;
    ensure!(
        told.connections < told.server || !misses_surely(context)?,
        "the test is at fault: nothing was missed, {told}"
    );
    Ok(format!("{ROUNDS} short runs exact; {told}"))
}
