//! How conn-cli handles kernels that preempt their own code.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::hook::Hook;
use lab::kernel;
use lab::report::Report;
use lab::server::Server;
use lab::setting::Setting;
use lab::tracer::{Ended, Tracer};
use rustix::process::Signal;

use super::beside_reader::check;
use super::exact::Count;
use crate::context::Context;
use crate::hidden;
use crate::preemptible::{always_misses, is_preemptible};

/// The hook that `auto` must choose, and whether the announcement must say why not kretprobe.
fn expected() -> Result<(&'static str, bool)> {
    Ok(if is_preemptible()? {
        ("lsm", true)
    } else {
        ("kretprobe", false)
    })
}

/// Without debugfs, the version, the command line and the configuration show the preemption mode.
pub(crate) fn chosen(context: &Context) -> Result<String> {
    let mut announcements = Vec::new();
    for hidden in [None, Some(hidden::DEBUGFS)] {
        let context = Context {
            hidden,
            verbose: true,
            ..context.clone()
        };
        announcements.push(check_choice(&context).with_context(|| format!("without {hidden:?}"))?);
    }
    let distinct: BTreeSet<_> = announcements.into_iter().collect();
    Ok(Vec::from_iter(distinct).join(" | "))
}

fn check_choice(context: &Context) -> Result<String> {
    let (_, ended) = Count::PLAIN.trace(context)?;
    let (hook, must_say_why) = expected()?;
    let announced = hooks(&ended).join(" | ");
    let summary = &Report::new(&ended)?.summary;
    ensure!(
        summary["probe"] == hook && summary["exact"] == true,
        "not {hook}: {announced}; {summary}"
    );
    ensure!(
        announced.contains("not used: kretprobe: this kernel is preemptible (") == must_say_why,
        "{announced}"
    );
    Ok(announced)
}

/// The lines with the hooks, and those that are not used, of a run with `-v`.
pub(crate) fn hooks(ended: &Ended) -> Vec<&str> {
    let lines = ended.stderr.iter().map(String::as_str);
    lines
        .filter(|line| line.starts_with("hooks: ") || line.starts_with("not used: "))
        .collect()
}

/// The file that shows and switches the preemption mode.
const PREEMPT: &str = "/sys/kernel/debug/sched/preempt";

/// The preemption mode is switched while the kretprobe counts.
pub(crate) fn switched(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut tracer = Tracer::start(context.conn_cli(context.port).args(["--json", "--quiet"]))?;
    let stdout = tracer.stdout()?;
    let _full = Setting::set(PREEMPT, "full")?;
    Load::v4(context.port, 20).run()?;
    let ended = tracer.finish(Signal::INT, &stdout)?;
    let served = server.finish()?;
    let stderr = ended.stderr.join(" | ");
    ensure!(
        stderr.contains("switched from voluntary to full during the run"),
        "no warning of the switch: {stderr}"
    );
    let report = Report::new(&ended)?;
    report.check_totals(&served)?;
    ensure!(report.summary["exact"] == false, "{}", report.summary);
    // If the kernel does not count missed runs, connections may be missing without a trace.
    let is_counted = !report.summary["missed_runs"].is_null();
    ensure!(
        ended.status.success() == is_counted && (report.summary["at_least"] == false) == is_counted,
        "ended with {}: {stderr}",
        ended.status
    );
    ensure!(
        is_counted || stderr.contains("the count is at least 20;"),
        "{stderr}"
    );
    Ok(format!("stderr: {stderr}"))
}

/// How often the conn-cli that ends, and then reads its maps, is started.
const ROUNDS: u32 = 5;
/// The same where the kernel must be seen to skip a hook: one round may not be enough.
const MAX_ROUNDS: u32 = 50;
/// The number of entries that it has to read.
const CLIENTS: u32 = 500;

/// Two conn-cli, one of which ends repeatedly while connections are accepted.
pub(crate) fn two_at_once(context: &Context) -> Result<String> {
    let other = context.port + 1;
    let servers = [Server::plain(context.port)?, Server::plain(other)?];
    let options = ["--json", "--quiet"];
    let mut long = Tracer::start(context.conn_cli(other).args(options))?;
    let stdout = long.stdout()?;
    // The one that ends chooses its hook, as for users, and must be exact beside the other, too.
    let auto = Context {
        hook: Hook::Auto,
        ..context.clone()
    };
    let other_clients = Load::v4(other, u32::MAX).start()?;
    let address = |number: u32| IpAddr::from(Ipv4Addr::from(0x7f01_0000 + number));
    let load = Load {
        from: (1..=CLIENTS).map(address).collect(),
        ..Load::v4(context.port, CLIENTS)
    };
    let must_miss = always_misses(context)? && kernel::version()? >= (6, 7);
    let mut rounds = 0;
    while rounds < ROUNDS || (must_miss && missed_runs(long.pid())? == 0) {
        ensure!(
            rounds < MAX_ROUNDS,
            "the test is at fault: the kernel skipped nothing in {rounds} rounds"
        );
        rounds += 1;
        let mut short = Tracer::start(auto.conn_cli(context.port).args(options))?;
        let stdout = short.stdout()?;
        let made = load.run()?;
        let ended = short.finish(Signal::INT, &stdout)?;
        let report = Report::new(&ended)?;
        report
            .check_totals(&made)
            .with_context(|| format!("round {rounds}: {}", ended.stderr.join(" | ")))?;
    }
    other_clients.stop();
    other_clients.finish()?;
    let ended: Ended = long.finish(Signal::INT, &stdout)?;
    let [server, other] = servers;
    server.finish()?;
    let comparison = check(context, &ended, &other.finish()?)?;
    Ok(format!("{rounds} short runs exact; {comparison}"))
}

/// How often the kernel has skipped the programs of a process.
fn missed_runs(pid: u32) -> Result<u64> {
    let mut missed = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let info = fs::read_to_string(entry?.path())?;
        let figures = info
            .lines()
            .filter_map(|line| line.strip_prefix("recursion_misses:"));
        for figure in figures {
            missed += figure.trim().parse::<u64>()?;
        }
    }
    Ok(missed)
}
