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

use crate::{
    cgroups,
    cli::TraceArgs,
    connection::Stage,
    filter::TaskFilter,
    kernel::{
        self, Choice, Discrepancies, PreemptionMode, Refused, Reported, Settings, SynScope, Totals,
        Tracer,
    },
    known::Known,
    listen::Survey,
    memory, names,
    output::{listening, say},
    ports::PortSet,
    stop::Stop,
    summary::{Live, Origin, Verdict},
    tally::Tally,
    view::{End, View},
};

/// Records handled before signals are looked at again.
const BATCH: usize = 1024;

/// The least time between two looks at the ring buffer: to wake up costs more than a record.
const PAUSE: Duration = Duration::from_millis(20);

/// How long records that were begun before the end are waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// After how long without a connection it is looked whether some wait to be accepted.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(2);

/// How long it is at most until that is looked again. The kernel goes through all its listening
/// sockets each time.
const MAX_LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What is being done.
struct Tracing {
    tracer: Tracer,
    preemption: PreemptionMode,
    view: View,
    survey: Option<Survey>,
    /// Whether connections are left out: then nothing arrives while others are accepted, and that
    /// some wait at that moment means nothing.
    filters: bool,
    /// When something arrived last, and whether it has been said that clients wait since.
    last: Instant,
    said_they_wait: bool,
    /// When it is to be looked who waits, unless something arrives.
    look_at: Instant,
}

/// Traces as `args` say, until it is stopped, and prints the summary. Returns whether the count is to
/// be trusted.
///
/// # Errors
/// Why tracing cannot begin, or what the system refused on the way.
pub async fn trace(args: &TraceArgs) -> anyhow::Result<Verdict> {
    kernel::require()?;
    memory::save();
    let ports = args.show.port_set();
    let settings = settings(args, &ports)?;
    let known = Known::from_args(&args.show)?;
    let candidates = args.candidates().map_err(|why| anyhow!(why))?;
    // Before attaching: nothing shall end the process while probes are attached but unwatched.
    let mut stop = Stop::watch()?;
    // Before attaching: what is dropped from now on may be of connections that are counted. GroupKey has
    // the listeners open is looked for later, since that takes longest.
    let mut survey = survey(&ports, settings.netns);
    let preemption = PreemptionMode::read();
    let judge = |backend| {
        let counts_misses = kernel::counts_misses(backend);
        kernel::judge(backend, preemption.at_start(), counts_misses)
    };
    let Choice {
        attached: tracer,
        exactness,
        passed_over,
    } = kernel::choose(&candidates, judge, |backend| {
        Tracer::attach(backend, &settings)
    })
    .map_err(|refused| anyhow!(kernel::complaint(&refused) + remedy(args, &refused)))?;
    let begun = Timestamp::now();
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
    // With privileges still. Meanwhile the ring buffer keeps what comes, as much as finds room.
    if let Some(survey) = &mut survey {
        survey.find_owners();
    }
    kernel::drop_privileges()?;
    memory::release();
    for line in survey.iter().flat_map(|survey| listening(&ports, survey)) {
        say(line);
    }

    let now = Instant::now();
    let mut tracing = Tracing {
        view: View::new(&args.show, Some((tracer.stages(), begun)), known),
        tracer,
        preemption,
        survey,
        filters: settings.leaves_out(),
        last: now,
        said_they_wait: false,
        look_at: now + FIRST_LOOK_AFTER,
    };
    let end = tokio::select! {
        biased;
        () = stop.wait() => End::Done,
        end = tracing.follow() => end?,
    };
    tracing.tracer.detach();
    tracing.finish(&mut stop, end).await
}

/// What to do where the tracepoint was not tried, since it does not know who accepts.
fn remedy(args: &TraceArgs, refused: &Refused) -> &'static str {
    let would_be_tried = refused.iter().all(|(_, why)| !why.is_final());
    match args.needs_task() && would_be_tried {
        true => {
            "\nconn-cli: who accepts cannot be told here: leave out --pid, --comm, --uid, --cgroup, and \
             --by process, cgroup or user"
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

/// GroupKey is to accept, a cgroup with the path of its directory.
fn task(args: &TraceArgs) -> anyhow::Result<TaskFilter> {
    let mut task = args.task();
    if let Some(path) = &mut task.cgroup {
        *path = cgroups::directory(path)?;
    }
    Ok(task)
}

/// The inode number of the network namespace that was asked for.
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
    // SAFETY: this ioctl has no argument; on what is not a namespace it fails.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    if kind != libc::CLONE_NEWNET {
        bail!("{netns} is no network namespace");
    }
    u32::try_from(file.metadata()?.ino())
        .map(Some)
        .with_context(|| format!("{netns} is no network namespace"))
}

/// Of `include/uapi/linux/nsfs.h`: what kind of namespace a file is.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// GroupKey listens; without, connections are counted all the same.
fn survey(ports: &PortSet, netns: Option<u32>) -> Option<Survey> {
    Survey::begin(ports, netns)
        .inspect_err(|error| say(format_args!("who listens cannot be told: {error:#}")))
        .ok()
}

impl Tracing {
    /// Shows connections as they come, until the limit is reached or nobody reads.
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
                self.last = Instant::now();
                self.said_they_wait = false;
                self.look_at = self.last + FIRST_LOOK_AFTER;
            }
            if batch.more {
                tokio::task::yield_now().await;
            } else if batch.records > 0 {
                sleep(PAUSE).await;
            } else {
                let until_look = self.look_at.saturating_duration_since(Instant::now());
                tokio::select! {
                    ready = self.tracer.readable() => ready?,
                    () = sleep(self.view.patience(until_look)) => {
                        if self.view.stdout.is_closed() {
                            return Ok(End::Output(None));
                        }
                        self.look_who_waits();
                    }
                }
            }
        }
    }

    /// Says, if nothing comes, whether that is because nobody connects or because nobody
    /// accepts.
    fn look_who_waits(&mut self) {
        let now = Instant::now();
        if now < self.look_at {
            return;
        }
        self.look_at = now + until_next_look(now - self.last);
        let reports = self.tracer.reported() != Reported::None;
        if self.said_they_wait || self.filters || !reports {
            return;
        }
        let Some(Ok(listeners)) = self.survey.as_mut().map(Survey::now) else {
            return;
        };
        for listener in listeners.iter().filter(|listener| listener.waiting > 0) {
            say(format_args!(
                "nothing for {} s, and connections wait to be accepted: {}",
                self.last.elapsed().as_secs(),
                listener.describe()
            ));
            self.said_they_wait = true;
        }
    }

    /// Reads what is left, then the totals, and prints the summary and the account.
    async fn finish(&mut self, stop: &mut Stop, end: End) -> anyhow::Result<Verdict> {
        let backend = self.tracer.backend();
        let mut totals = self.settle().await?;
        let preemption = (self.preemption.at_start(), self.preemption.now());
        let exactness = kernel::judge_run(backend, preemption, kernel::counts_misses(backend));
        totals.discrepancies.at_least =
            kernel::is_at_least(&exactness, totals.discrepancies.missed_runs);
        self.view.roll(self.tracer.lost());
        let counted = totals.stages.pop_last();
        let tally = counted.map_or_else(Tally::default, |(_, tally)| tally);
        let all = tally.connections();
        let waits = totals.waits.quantiles();
        let (tally, earlier, second_hook_only, waits) = match self.view.first_ones() {
            // The histogram is of all.
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
        let of_each = |count: fn(&Tally) -> u64| -> BTreeMap<_, _> {
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
            stages: of_each(Tally::connections),
            others: of_each(Tally::other),
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

    /// Reads the ring until all that was counted has arrived or is known to be lost. A program
    /// that ran while its probe was detached may still be writing.
    async fn settle(&mut self) -> anyhow::Result<Totals> {
        let begun = Instant::now();
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
            if unaccounted == 0 || begun.elapsed() > DRAIN_TIMEOUT {
                let discrepancies = Discrepancies {
                    unaccounted,
                    ..totals.discrepancies
                };
                return Ok(Totals {
                    discrepancies,
                    ..totals
                });
            }
            sleep(PAUSE).await;
        }
    }
}

/// How long it is to the next look who waits, after one in this silence: half as long again as that
/// has been, but no longer than [`MAX_LOOK_INTERVAL`].
fn until_next_look(silence: Duration) -> Duration {
    (silence * 3 / 2).min(MAX_LOOK_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_less_and_less_often() {
        let looks = std::iter::successors(Some(FIRST_LOOK_AFTER), |silence| {
            Some(*silence + until_next_look(*silence))
        });
        let seconds: Vec<_> = looks.map(|silence| silence.as_secs_f64()).take(5).collect();
        assert_eq!(seconds, [2.0, 5.0, 12.5, 22.5, 32.5]);
    }
}
