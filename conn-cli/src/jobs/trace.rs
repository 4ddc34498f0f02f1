//! Live tracing: from attaching to the summary.

use std::{future::ready, io, os::fd::AsFd, time::Duration};

use anyhow::anyhow;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{
    listeners::{Listeners, Want},
    metrics::{Endpoint, Figures, Verdicts},
    self_tests::SelfTests,
    service::Service,
    settings::settings,
    silence::Silence,
    start,
    status::Status,
    target::Target,
    view::{End, View},
};
use crate::{
    count::{known::Known, tally::Room},
    model::{
        demand::Reported,
        discrepancies::Discrepancies,
        exactness::{Exactness, is_at_least, judge, judge_run},
        hook::counting_candidates,
        metrics::Reading,
        options::TraceOptions,
        queues::Queues,
        scope::Scope,
        self_test::SelfTestOutcome,
        stage::Stage,
    },
    output::{Counted, Extent, total},
    report::{Live, Origin, Report, Verdict},
    system::{
        endpoint, files, memory, privileges,
        stderr::say,
        stop::{Stop, TotalsRequests},
    },
    trace::kernel::{
        self, Choice, Detached, Detail, PreemptionMode, Refused, Settings, Totals, Tracer,
    },
};

/// Records handled before signals are checked again.
const BATCH: usize = 1024;

/// How long to wait for records that a program began to write before the end, and how often to look.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// The bytes that an entry of the maps of totals takes at most in the summary.
const ENTRY_BYTES: u64 = 128;

/// The state of a live run.
struct Tracing {
    tracer: Tracer,
    preemption: PreemptionMode,
    view: View,
    /// The stage that was to be counted.
    requested: Stage,
    /// When the probes were attached, and when detached.
    started: Timestamp,
    ended: Option<Timestamp>,
    listeners: Listeners,
    /// Whether connections are filtered out. Then nothing may arrive while others are accepted, and
    /// connections that wait at that time mean nothing.
    filters: bool,
    silence: Silence,
    self_tests: SelfTests,
    figures: Figures,
    /// What limits the count, for the end.
    limits: Vec<String>,
    /// Whether connections were accepted in a new cgroup before it counted.
    missed_in_cgroup: bool,
}

/// Traces as `options` say until the run is stopped, and prints the summary. Returns whether the count
/// can be trusted.
///
/// # Errors
/// Why tracing cannot begin, or why it failed later.
pub async fn trace(options: &TraceOptions) -> anyhow::Result<Verdict> {
    kernel::require()?;
    memory::save();
    files::raise_limit();
    let show = &options.show;
    let mut target = Target::hold(options)?;
    // Before anything is attached, and while there are privileges.
    let bound = options.metrics.as_ref();
    let bound = { bound.map(|metrics| endpoint::bind(&metrics.endpoint)) }.transpose()?;
    let mut status = Status::new(options);
    let settings = Settings {
        sums: status.is_shown(),
        ..settings(options, &target)?
    };
    let known = Known::for_options(show)?;
    let candidates = counting_candidates(options.hook, &options.stages, options.needs());
    let candidates = candidates.map_err(|why| anyhow!(why))?;
    // Before attaching: a signal must not end the process while probes are attached but unwatched.
    let mut stop = Stop::watch()?;
    let mut requests = TotalsRequests::watch()?;
    let preemption = PreemptionMode::read();
    let reading_needs_capabilities = kernel::reading_maps_needs_capabilities();
    let judge = |hook| {
        let counts_misses = kernel::counts_misses(hook, &settings.types);
        judge(hook, preemption.at_start(), counts_misses)
    };
    let Choice {
        attached: tracer,
        exactness,
        mut passed_over,
    } = kernel::choose(&candidates, judge, |hook| Tracer::attach(hook, &settings))
        .map_err(|refused| anyhow!(kernel::complaint(&refused) + remedy(options, &refused)))?;
    let started = Timestamp::now();
    // After attaching, since it may take long, and while there are privileges. Before anybody is told
    // that conn-cli is ready, so that what is dropped then is known.
    let listeners = Listeners::search(
        &show.ports,
        settings.namespaces.one(),
        options.verbose,
        options.follow_namespaces,
    );
    if let Some(duration) = show.duration {
        stop.after(duration);
    }
    passed_over.extend_from_slice(tracer.passed_over());
    log::debug!("{} counts {}", tracer.hook(), tracer.hook().info().counts);
    let self_tests = SelfTests::begin(&tracer.first_self_test(), options.self_test_interval);
    let limits = start::announce(
        options,
        &settings,
        &tracer,
        &exactness,
        &passed_over,
        self_tests.outcome(),
    );
    privileges::drop_privileges(reading_needs_capabilities)?;
    memory::release();
    let mut endpoint = Endpoint::serve(bound)?;

    let mut tracing = Tracing {
        view: View::new(
            show,
            Scope::live(options),
            Some((tracer.stages(), started)),
            known,
        )
        .within(Some(Room::Clients(settings.sizes.max_clients as usize))),
        requested: options.stages.counted(),
        started,
        ended: None,
        tracer,
        preemption,
        listeners,
        filters: settings.leaves_out(),
        silence: Silence::begin(Instant::now()),
        self_tests,
        figures: Figures::new(options, started),
        limits,
        missed_in_cgroup: false,
    };
    let mut service = Service::begin(tracing.tracer.hook(), &exactness);
    let end = loop {
        tokio::select! {
            biased;
            () = stop.wait() => break End::Done,
            () = service.due() => service.tell_alive(),
            ended = target.ended() => {
                say(format_args!("{} has ended, so the run ends", ended?));
                break End::Target;
            }
            changed = target.cgroup_changed() => {
                changed?;
                tracing.missed_in_cgroup |= target.update_cgroup(&mut tracing.tracer);
            }
            () = requests.next() => tracing.listeners.want(Want::Totals),
            () = status.due() => tracing.show(&mut status),
            // Whoever asked may be gone.
            answer = endpoint.requested() => drop(answer.send(tracing.reading())),
            end = tracing.follow() => break end?,
        }
    };
    service.end();
    endpoint.end();
    // One that came together with the end.
    tokio::select! {
        biased;
        () = requests.next() => tracing.listeners.want(Want::Totals),
        () = ready(()) => (),
    }
    tracing.show_last_totals().await;
    tracing.missed_in_cgroup |= target.update_cgroup(&mut tracing.tracer);
    tracing.self_tests.run(&tracing.tracer);
    let detached = tracing.tracer.detach();
    tracing.finish(&detached, &mut stop, end).await
}

/// What to do if the tracepoint was not tried because it does not know who accepts.
fn remedy(options: &TraceOptions, refused: &Refused) -> &'static str {
    let would_be_tried = refused.iter().all(|(_, why)| !why.is_final());
    if options.needs().task && would_be_tried {
        "\nconn-cli: no usable hook knows the accepting process: leave out --pid, --comm, --uid, \
             --cgroup, and --by process, cgroup or user"
    } else {
        ""
    }
}

impl Tracing {
    /// Uses what the last look at the listeners has found.
    fn use_look(&mut self) {
        let Some((wants, queues)) = self.listeners.seen() else {
            return;
        };
        if wants.contains(&Want::Row) {
            let dropped = self.listeners.dropped(queues.as_ref());
            self.view.set_dropped(dropped);
        }
        if let (true, Some(queues)) = (wants.contains(&Want::Waiting), &queues) {
            self.silence.report(queues, Instant::now());
        }
        if wants.contains(&Want::Totals) {
            self.show_totals(queues);
        }
    }

    /// Shows the totals that were asked for just before the end.
    async fn show_last_totals(&mut self) {
        self.use_look();
        while self.listeners.is_wanted(Want::Totals) {
            self.listeners.found().await;
            self.use_look();
        }
    }

    /// Shows the totals so far, or why not.
    fn show_totals(&mut self, queues: Option<Queues>) {
        let exactness = self.exactness();
        let totals = self.tracer.totals_so_far(&exactness);
        match totals {
            Ok(totals) => {
                let lost = totals.lost.values().sum();
                let report = self.report(totals, queues, io::stderr());
                self.view.show_totals(&report, lost);
            }
            Err(error) => say(format_args!("no totals so far: {error:#}")),
        }
    }

    /// What metrics tell.
    fn reading(&mut self) -> Reading {
        // Standard output may have stalled what does this else.
        self.listeners.advance();
        let exactness = self.exactness();
        let mut discrepancies = self.tracer.discrepancies();
        discrepancies.at_least = self.is_at_least(&exactness, &discrepancies);
        let verdicts = Verdicts {
            is_exact: exactness.is_exact(),
            self_test: self.self_tests.last(),
        };
        let listeners = self.listeners.gauges();
        self.figures
            .read(&self.tracer, listeners, discrepancies, verdicts)
    }

    /// Draws the status line.
    fn show(&self, status: &mut Status) {
        let exactness = self.exactness();
        let is_preemptible = self.preemption.now().is_preemptible();
        status.draw(&self.tracer, (!is_preemptible).then_some(&exactness));
    }

    /// Shows connections as they arrive, until the limit is reached or standard output is closed.
    /// Cancel safe.
    async fn follow(&mut self) -> anyhow::Result<End> {
        loop {
            if self.self_tests.left().is_zero() {
                self.self_tests.run(&self.tracer);
            }
            self.listeners.advance();
            self.tracer.note_syns();
            if self.view.begin_drop_count() {
                self.listeners.want(Want::Row);
            }
            self.use_look();
            // Before what was reported until then is read.
            let over_end = { self.view.has_overs() }
                .then(|| self.tracer.over_end())
                .flatten();
            let view = &mut self.view;
            let batch = self.tracer.read(BATCH, |reading| view.take(reading));
            self.view.roll(self.tracer.lost());
            if let (Some(end), false) = (over_end, batch.more) {
                self.view.end_over(end);
            }
            self.view.set_over_gaps(self.tracer.over_gaps());
            if let Err(error) = self.view.stdout.send().await {
                return Ok(End::output(error));
            }
            if self.view.is_full() {
                return Ok(End::Done);
            }
            if batch.records > 0 {
                self.silence.end(Instant::now());
            }
            if batch.more {
                tokio::task::yield_now().await;
            } else if batch.records > 0 {
                sleep(self.tracer.pause()).await;
            } else {
                let until_check = { self.silence.left(Instant::now()) }
                    .min(self.self_tests.left())
                    .min(self.listeners.left());
                let over_left = { self.view.has_overs() }
                    .then(|| self.tracer.over_left())
                    .flatten();
                let until_check = over_left.map_or(until_check, |left| until_check.min(left));
                tokio::select! {
                    ready = self.tracer.readable() => ready?,
                    () = self.listeners.found() => (),
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

    /// Looks for connections that wait to be accepted, if it is time.
    fn check_waiting(&mut self) {
        let may_arrive = !self.filters && self.tracer.reported() != Reported::None;
        if self.silence.is_check_due(Instant::now()) && may_arrive {
            self.listeners.want(Want::Waiting);
        }
    }

    /// Prints the total and the report, and returns whether the count can be trusted.
    async fn finish(
        mut self,
        detached: &Detached,
        stop: &mut Stop,
        end: End,
    ) -> anyhow::Result<Verdict> {
        self.ended = Some(Timestamp::now());
        let detail = self.first_detail();
        let totals = self.settle(detached, detail).await?;
        // First, and without the memory for the clients, if it may lack.
        let connections = match self.view.first_ones() {
            Some(first) => first.connections(),
            None => totals.counts.connections(self.tracer.stages().counted()),
        };
        let counted = Counted {
            number: connections,
            at_least: self.is_at_least(&self.exactness(), &totals.discrepancies),
            stage: self.tracer.stages().counted(),
        };
        let total = total(counted, Extent::Time(self.tracer.elapsed()));
        say(total + self.view.beside_total());
        let queues = self.listeners.end().await;
        self.view
            .set_dropped(self.listeners.dropped(queues.as_ref()));
        self.view.roll(self.tracer.lost());
        self.view.set_over_gaps(self.tracer.over_gaps());
        let totals = match detail {
            Detail::Clients => totals,
            Detail::Sums => Totals {
                discrepancies: totals.discrepancies,
                ..self.tracer.totals(detached, Detail::Clients)?
            },
        };
        let report = self.report(totals, queues, io::stdout());
        self.view.conclude(&report, stop, end).await
    }

    /// What to read before the total is said. To read the maps takes long, so once is better than twice.
    fn first_detail(&self) -> Detail {
        let bytes = self.tracer.sums().entries.saturating_mul(ENTRY_BYTES);
        if memory::size().is_some_and(|size| bytes <= size / 16) {
            Detail::Clients
        } else {
            Detail::Sums
        }
    }

    /// How exact the run is, as far as is known now.
    fn exactness(&self) -> Exactness {
        let preemption = (self.preemption.at_start(), self.preemption.now());
        judge_run(self.tracer.hook(), preemption, self.tracer.counts_misses())
    }

    /// Whether the count is a lower bound.
    fn is_at_least(&self, exactness: &Exactness, discrepancies: &Discrepancies) -> bool {
        let is_silent = matches!(self.self_tests.outcome(), SelfTestOutcome::Silent { .. });
        is_at_least(exactness, discrepancies.missed_runs) || is_silent || self.missed_in_cgroup
    }

    /// The report on these totals, or on the connections up to the limit of `--count`, for this file.
    fn report(&mut self, mut totals: Totals, queues: Option<Queues>, file: impl AsFd) -> Report {
        let hook = self.tracer.hook();
        let exactness = self.exactness();
        totals.discrepancies.at_least = self.is_at_least(&exactness, &totals.discrepancies);
        let counted = self.tracer.stages().counted();
        let all = totals.counts.connections(counted);
        let (mut counts, second_hook_only, waits, knows_refused) = match self.view.first_ones() {
            // The histogram covers all connections, as do the counts of refused SYNs.
            Some(first) => (first.counts(), first.second_hook_only(), None, false),
            None => (
                totals.counts,
                totals.second_hook_only,
                totals.waits.quantiles(),
                totals.knows_refused,
            ),
        };
        if second_hook_only > 0 {
            log::debug!("connections seen only by security_sock_graft: {second_hook_only}");
        }
        let beyond_limit = all.saturating_sub(counts.connections(counted));
        let only_new = self.view.keep_reported(&mut counts);
        let live = Live {
            requested: self.requested,
            counted,
            hook,
            exactness,
            self_test: self.self_tests.outcome().clone(),
            limits: self.limits.clone(),
            missed_in_cgroup: self.missed_in_cgroup,
            period: (self.started, self.ended.unwrap_or_else(Timestamp::now)),
            elapsed: self.tracer.elapsed(),
            second_hook_only,
            process_names: totals.process_names,
            out_of_memory: totals.out_of_memory,
            of_users: totals.of_users,
            by_kernel_threads: totals.by_kernel_threads,
            beyond_limit,
            stages: counts.totals(),
            others: counts.others(),
            missed_established: totals.missed_established,
            repeated: totals.repeated,
            forgot_syns: self.tracer.forgot_syns(),
            refused: knows_refused.then_some(counts.refused().0),
            other_refused: counts.refused().1,
            syn_hook: self.tracer.syn_hook(),
            // The histogram covers known clients too.
            waits: waits.filter(|_| !only_new),
            queues,
        };
        self.view
            .report(counts, totals.discrepancies, Origin::Kernel(live), file)
    }

    /// Reads the ring buffer and the sums until every counted connection has arrived or is known to be lost. A
    /// program that was running when its probe was detached may still be writing.
    async fn settle(&mut self, detached: &Detached, detail: Detail) -> anyhow::Result<Totals> {
        let start = Instant::now();
        loop {
            loop {
                let view = &mut self.view;
                if !self.tracer.read(BATCH, |reading| view.take(reading)).more {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let totals = self.tracer.totals(detached, detail)?;
            let reported = totals.reported(self.tracer.reported(), self.tracer.stages());
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
            sleep(DRAIN_INTERVAL).await;
        }
    }
}
