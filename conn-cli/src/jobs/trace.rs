//! Live tracing: from attaching to the summary.

use std::{
    collections::BTreeMap,
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use conn_common::{SocketOffsets, UNKNOWN_OFFSET};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::view::{End, View};
use crate::{
    cli::TraceArgs,
    count::{known::Known, tally::Tally},
    model::{
        connection::Stage,
        discrepancies::Discrepancies,
        exactness::{is_at_least, judge, judge_run},
        filter::TaskFilter,
        options::Reported,
        ports::PortSet,
    },
    output::listening,
    report::{Live, Origin, Verdict, names},
    system::{cgroups, memory, privileges, stderr::say, stop::Stop},
    trace::{
        kernel::{self, Choice, PreemptionMode, Refused, Settings, SynScope, Totals, Tracer},
        listeners::Survey,
    },
};

/// Records handled before signals are checked again.
const BATCH: usize = 1024;

/// The shortest time between two reads of the ring buffer: a wakeup costs more than a record.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(20);

/// How long to wait for records that a program began to write before the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long no connection arrives before the first check for connections that wait to be accepted.
const FIRST_CHECK_AFTER: Duration = Duration::from_secs(2);

/// The longest time between two such checks. The kernel goes through all its listening sockets
/// each time.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The state of a live run.
struct Tracing {
    tracer: Tracer,
    preemption: PreemptionMode,
    view: View,
    survey: Option<Survey>,
    /// Whether connections are filtered out. Then nothing may arrive while others are accepted, and
    /// connections that wait at that time mean nothing.
    filters: bool,
    /// When something arrived last, and whether waiting connections were reported since.
    last_arrival: Instant,
    reported_waiting: bool,
    /// When to check for waiting connections, unless something arrives.
    check_at: Instant,
}

/// Traces as `args` say until the run is stopped, and prints the summary. Returns whether the count
/// can be trusted.
///
/// # Errors
/// Why tracing cannot begin, or why it failed later.
pub async fn trace(args: &TraceArgs) -> anyhow::Result<Verdict> {
    kernel::require()?;
    memory::save();
    let ports = args.show.port_set();
    let settings = settings(args, &ports)?;
    let known = Known::from_args(&args.show)?;
    let candidates = args.candidates().map_err(|why| anyhow!(why))?;
    // Before attaching: a signal must not end the process while probes are attached but unwatched.
    let mut stop = Stop::watch()?;
    // Before attaching: what is dropped from now on may belong to counted connections. The owners
    // of the listeners are found later, since that takes longest.
    let mut survey = survey(&ports, settings.netns);
    let preemption = PreemptionMode::read();
    let judge = |backend| {
        let counts_misses = kernel::counts_misses(backend);
        judge(backend, preemption.at_start(), counts_misses)
    };
    let Choice {
        attached: tracer,
        exactness,
        passed_over,
    } = kernel::choose(&candidates, judge, |backend| {
        Tracer::attach(backend, &settings)
    })
    .map_err(|refused| anyhow!(kernel::complaint(&refused) + remedy(args, &refused)))?;
    let started = Timestamp::now();
    if let Some(duration) = args.show.duration {
        stop.after(duration);
    }
    say(kernel::announcement(
        &ports,
        tracer.backend(),
        &settings.stages,
        &settings.types.offsets,
        &exactness,
        &passed_over,
    ));
    // Needs privileges. Meanwhile the ring buffer holds new records, as many as fit.
    if let Some(survey) = &mut survey {
        survey.find_owners();
    }
    privileges::drop_privileges()?;
    memory::release();
    for line in survey.iter().flat_map(|survey| listening(&ports, survey)) {
        say(line);
    }

    let now = Instant::now();
    let mut tracing = Tracing {
        view: View::new(&args.show, Some((tracer.stages(), started)), known),
        tracer,
        preemption,
        survey,
        filters: settings.leaves_out(),
        last_arrival: now,
        reported_waiting: false,
        check_at: now + FIRST_CHECK_AFTER,
    };
    let end = tokio::select! {
        biased;
        () = stop.wait() => End::Done,
        end = tracing.follow() => end?,
    };
    tracing.tracer.detach();
    tracing.finish(&mut stop, end).await
}

/// What to do if the tracepoint was not tried because it does not know who accepts.
fn remedy(args: &TraceArgs, refused: &Refused) -> &'static str {
    let would_be_tried = refused.iter().all(|(_, why)| !why.is_final());
    match args.needs_task() && would_be_tried {
        true => {
            "\nconn-cli: no usable hook knows the accepting process: leave out --pid, --comm, --uid, \
             --cgroup, and --by process, cgroup or user"
        }
        false => "",
    }
}

fn settings(args: &TraceArgs, ports: &PortSet) -> anyhow::Result<Settings> {
    let types = kernel::read_types();
    Ok(Settings {
        ports: ports.bits(),
        types,
        stages: args.stages(),
        syn_scope: SynScope {
            interface: args.interface.clone(),
            netns: args.netns.as_ref().map(|netns| netns.path().to_owned()),
        },
        ends: args.show.filter(),
        task: task(args)?,
        netns: netns(args, &types.offsets)?,
        by: args.show.by,
        reported: View::wants(&args.show),
        details: View::wants_details(&args.show),
        max_clients: args.max_clients,
        buffer_size: args.buffer_size,
        verbose: args.verbose,
    })
}

/// The filter on the accepting task, with a cgroup as the path of its directory.
fn task(args: &TraceArgs) -> anyhow::Result<TaskFilter> {
    let mut task = args.task();
    if let Some(path) = &mut task.cgroup {
        *path = cgroups::directory(path)?;
    }
    Ok(task)
}

/// The inode number of the requested network namespace.
fn netns(args: &TraceArgs, offsets: &SocketOffsets) -> anyhow::Result<Option<u32>> {
    let Some(netns) = &args.netns else {
        return Ok(None);
    };
    let only_syns = args.stages() == [Stage::Syn].into();
    if offsets.netns_inum == UNKNOWN_OFFSET && !only_syns {
        bail!("--netns needs the kernel's BTF (/sys/kernel/btf/vmlinux), which is not there");
    }
    let file = File::open(netns.path());
    let file = file.with_context(|| format!("cannot find the network namespace {netns}"))?;
    // SAFETY: this ioctl has no argument, and fails on a file that is not a namespace.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    if kind != libc::CLONE_NEWNET {
        bail!("{netns} is not a network namespace");
    }
    u32::try_from(file.metadata()?.ino())
        .map(Some)
        .with_context(|| format!("{netns} is not a network namespace"))
}

/// From `include/uapi/linux/nsfs.h`: returns the type of a namespace.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// Finds the listeners. Connections are counted even if this fails.
fn survey(ports: &PortSet, netns: Option<u32>) -> Option<Survey> {
    Survey::begin(ports, netns)
        .inspect_err(|error| say(format_args!("cannot list listening sockets: {error:#}")))
        .ok()
}

impl Tracing {
    /// Shows connections as they arrive, until the limit is reached or standard output is closed.
    async fn follow(&mut self) -> anyhow::Result<End> {
        loop {
            let view = &mut self.view;
            let batch = self.tracer.read(BATCH, |connection| view.show(connection));
            self.view.roll(self.tracer.lost());
            if let Err(error) = self.view.stdout.send().await {
                return Ok(End::output(error));
            }
            if self.view.is_full() {
                return Ok(End::Done);
            }
            if batch.records > 0 {
                self.last_arrival = Instant::now();
                self.reported_waiting = false;
                self.check_at = self.last_arrival + FIRST_CHECK_AFTER;
            }
            if batch.more {
                tokio::task::yield_now().await;
            } else if batch.records > 0 {
                sleep(MIN_READ_INTERVAL).await;
            } else {
                let until_check = self.check_at.saturating_duration_since(Instant::now());
                tokio::select! {
                    ready = self.tracer.readable() => ready?,
                    () = sleep(self.view.patience(until_check)) => {
                        if self.view.stdout.is_closed() {
                            return Ok(End::Output(None));
                        }
                        self.check_waiting();
                    }
                }
            }
        }
    }

    /// Reports connections that wait to be accepted, if nothing arrives: then clients connect, but
    /// the server does not accept.
    fn check_waiting(&mut self) {
        let now = Instant::now();
        if now < self.check_at {
            return;
        }
        self.check_at = now + until_next_check(now - self.last_arrival);
        let reports = self.tracer.reported() != Reported::None;
        if self.reported_waiting || self.filters || !reports {
            return;
        }
        let Some(Ok(listeners)) = self.survey.as_mut().map(Survey::now) else {
            return;
        };
        for listener in listeners.iter().filter(|listener| listener.waiting > 0) {
            say(format_args!(
                "no new connection for {} s, but some wait to be accepted: {}",
                self.last_arrival.elapsed().as_secs(),
                listener.describe()
            ));
            self.reported_waiting = true;
        }
    }

    /// Reads the remaining records, then the totals, and prints the summary and the diagnostics.
    async fn finish(&mut self, stop: &mut Stop, end: End) -> anyhow::Result<Verdict> {
        let backend = self.tracer.backend();
        let mut totals = self.settle().await?;
        let preemption = (self.preemption.at_start(), self.preemption.now());
        let exactness = judge_run(backend, preemption, kernel::counts_misses(backend));
        totals.discrepancies.at_least = is_at_least(&exactness, totals.discrepancies.missed_runs);
        self.view.roll(self.tracer.lost());
        let counted = totals.stages.pop_last();
        let tally = counted.map_or_else(Tally::default, |(_, tally)| tally);
        let all = tally.connections();
        let waits = totals.waits.quantiles();
        let (tally, earlier, second_hook_only, waits) = match self.view.first_ones() {
            // The histogram covers all connections.
            Some(first) => (first.tally, first.earlier, first.second_hook_only, None),
            None => (tally, totals.stages, totals.second_hook_only, waits),
        };
        let last = (backend.stage(), &tally);
        let stages = || {
            earlier
                .iter()
                .map(|(stage, tally)| (*stage, tally))
                .chain([last])
        };
        let per_stage = |count: fn(&Tally) -> u64| -> BTreeMap<_, _> {
            stages()
                .map(|(stage, tally)| (stage, count(tally)))
                .collect()
        };
        let live = Live {
            backend,
            exactness,
            elapsed: self.tracer.elapsed(),
            second_hook_only,
            out_of_memory: totals.out_of_memory,
            beyond_limit: all.saturating_sub(tally.connections()),
            stages: per_stage(Tally::connections),
            others: per_stage(Tally::other),
            missed_established: totals.missed_established,
            repeated: totals.repeated,
            waits,
            queues: self.survey.as_mut().and_then(|survey| survey.queues().ok()),
        };
        let mut summary =
            self.view
                .summary(tally, earlier, totals.discrepancies, Origin::Kernel(live));
        names::add(&mut summary);
        self.view.conclude(summary, stop, end).await
    }

    /// Reads the ring buffer until every counted connection has arrived or is known to be lost. A
    /// program that was running when its probe was detached may still be writing.
    async fn settle(&mut self) -> anyhow::Result<Totals> {
        let start = Instant::now();
        loop {
            loop {
                let view = &mut self.view;
                let show = |connection: &_| view.show(connection);
                if !self.tracer.read(BATCH, show).more {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let totals = self.tracer.totals()?;
            let reported = totals.reported(self.tracer.reported());
            let unaccounted = reported.saturating_sub(self.view.arrived);
            if unaccounted == 0 || start.elapsed() > DRAIN_TIMEOUT {
                let discrepancies = Discrepancies {
                    unaccounted,
                    ..totals.discrepancies
                };
                return Ok(Totals {
                    discrepancies,
                    ..totals
                });
            }
            sleep(MIN_READ_INTERVAL).await;
        }
    }
}

/// The time until the next check for waiting connections, after one in this silence: 1.5 times the
/// silence, at most [`MAX_CHECK_INTERVAL`].
fn until_next_check(silence: Duration) -> Duration {
    (silence * 3 / 2).min(MAX_CHECK_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_become_less_frequent_while_nothing_arrives() {
        let checks = std::iter::successors(Some(FIRST_CHECK_AFTER), |silence| {
            Some(*silence + until_next_check(*silence))
        });
        let seconds: Vec<_> = checks.map(|check| check.as_secs_f64()).take(5).collect();
        assert_eq!(seconds, [2.0, 5.0, 12.5, 22.5, 32.5]);
    }
}
