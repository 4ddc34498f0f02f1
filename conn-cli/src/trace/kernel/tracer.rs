//! The hooks of one run, from attaching them to reading their totals.

use std::{
    collections::HashSet,
    net::IpAddr,
    os::fd::AsRawFd,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use aya::maps::{Map, RingBuf};
use aya_log::EbpfLogger;
use conn_common::Stages;

use super::{
    KernelTypes, Refusal, SelfTest, Settings,
    attach::{self, Attached},
    cgroup, counters,
    entries::Pace,
    event::{WallClock, boot_clock_ahead_ns, decode},
    facts, names,
    over::OverWatch,
    ring::Ring,
    series,
    settings::Apart,
    syn_memory::SynMemory,
    totals::{self, Detail, Totals},
};
use crate::model::{
    connection::Connection,
    demand::Reported,
    discrepancies::Discrepancies,
    exactness::Exactness,
    group::Grouping,
    hook::Hook,
    metrics::{Incomplete, Series, Waits},
    over::{Over, OverEnd, OverGaps},
    self_test::SelfTestResult,
    stage::{Stage, WatchedStages},
};

/// Attached hooks.
pub struct Tracer {
    hook: Hook,
    stages: WatchedStages,
    by: Grouping,
    apart: Apart,
    types: KernelTypes,
    self_test: Rc<Result<SelfTest, String>>,
    /// The stages whose hooks the self-test can reach.
    testable: Vec<Stage>,
    /// How far the `CLOCK_BOOTTIME` of conn-cli's time namespace is ahead of the kernel's, which
    /// stamps events.
    boot_clock_ahead_ns: i64,
    attached: Attached,
    ring: Ring,
    counters: counters::Live,
    series: series::Live,
    /// Whether the totals are in it.
    counts_in_series: bool,
    over: Option<OverWatch>,
    /// If SYNs are watched.
    syn_memory: Option<SynMemory>,
    reported: Reported,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    attached_at: Instant,
    detached_at: Option<Instant>,
}

/// The result of reading the ring buffer once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// How many records were read.
    pub records: usize,
    /// Whether more records may be ready.
    pub more: bool,
}

/// What a record says.
#[derive(Debug)]
pub enum Reading<'a> {
    /// A connection.
    Connection(&'a Connection),
    /// Somebody made too many.
    Over(Over),
}

/// What is counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Connections at the last stage.
    pub connections: u64,
    /// Entries of the maps of totals, or what is counted in their place.
    pub entries: u64,
    /// Whether there was no room or no memory for an entry.
    pub lacks_entries: bool,
}

const ELSEWHERE: &str = "SYNs are looked for where conn-cli's own are not";

/// The hooks are detached. Totals cannot be had before: while a process reads a map through a system
/// call, the kernel may skip programs on that CPU.
#[derive(Debug)]
pub struct Detached(());

impl Tracer {
    /// Loads and attaches the hooks of the requested stages, the last one through `hook`. Needs
    /// a tokio runtime.
    ///
    /// # Errors
    /// Why the hooks cannot be used here.
    pub fn attach(hook: Hook, settings: &Settings) -> Result<Self, Refusal> {
        Self::try_attach(hook, settings).map_err(|error| {
            let facts = facts::gather(hook, &error);
            log::debug!("{hook}: {error:?}; {facts:?}");
            Refusal::explain(hook, &error, &facts)
        })
    }

    fn try_attach(hook: Hook, settings: &Settings) -> anyhow::Result<Self> {
        let mut attached = attach::attach(hook, settings)?;
        let logger = settings
            .verbose
            .then(|| EbpfLogger::init(&mut attached.ebpf))
            .transpose()
            .context("cannot read the programs' diagnostics")?;
        let ring = attached
            .ebpf
            .take_map(names::EVENTS)
            .context("the eBPF object has no map EVENTS")?;
        let stages = settings.stages.counting(hook.stage());
        let hooks = attached.earlier.iter().copied().chain([hook]);
        let testable = hooks.filter(|hook| settings.is_testable(*hook));
        let testable: Vec<Stage> = testable.map(Hook::stage).collect();
        let counters = counters::Live::new(&attached.ebpf)?;
        let over = { settings.over }
            .map(|clock| OverWatch::new(&attached.ebpf, clock, settings.by))
            .transpose()?;
        let syn_memory = match attached.ebpf.map(names::SYNS) {
            Some(Map::LruHashMap(map)) if stages.contains(Stage::Syn) => {
                let entries = map.info().context("cannot ask for a map's size")?;
                let entries = entries.max_entries();
                Some(SynMemory::new(entries, counters::slots(), Instant::now()))
            }
            _ => None,
        };
        Ok(Self {
            hook,
            testable,
            stages,
            by: settings.by,
            apart: settings.apart(),
            types: settings.types.clone(),
            self_test: Rc::clone(&settings.self_test),
            boot_clock_ahead_ns: boot_clock_ahead_ns(counters.get().self_test_ns),
            counters,
            series: series::Live::new(&attached.ebpf, &settings.series)?,
            counts_in_series: settings.counts_in_series(),
            over,
            syn_memory,
            attached,
            ring: Ring::new(RingBuf::try_from(ring)?, settings.sizes.buffer),
            reported: settings.demand.reported,
            logger,
            attached_at: Instant::now(),
            detached_at: None,
        })
    }

    /// What the self-test found when the hooks were attached.
    #[must_use]
    pub fn first_self_test(&self) -> SelfTestResult {
        if self.testable.is_empty() {
            SelfTestResult::NotTested(ELSEWHERE.to_owned())
        } else {
            self.attached.self_test.clone()
        }
    }

    /// Why the hook of an earlier stage is not tested, if so.
    #[must_use]
    pub fn untested_stage(&self) -> Option<&'static str> {
        let tested = self.testable.len();
        (0 < tested && tested < self.stages.all().count()).then_some(ELSEWHERE)
    }

    /// Tests again whether the hooks run.
    #[must_use]
    pub fn self_test(&self) -> SelfTestResult {
        match self.self_test.as_ref() {
            Ok(self_test) => self_test.run(&self.counters, &self.testable),
            Err(why) => SelfTestResult::NotTested(why.clone()),
        }
    }

    /// The hook that sees a watched stage.
    #[must_use]
    pub fn hook_of(&self, stage: Stage) -> Hook {
        let mut earlier = self.earlier_hooks().iter().copied();
        earlier
            .find(|hook| hook.stage() == stage)
            .unwrap_or(self.hook)
    }

    /// The hook that sees SYNs, if they are watched.
    #[must_use]
    pub fn syn_hook(&self) -> Option<Hook> {
        let is_watched = self.stages.contains(Stage::Syn);
        is_watched.then(|| self.hook_of(Stage::Syn))
    }

    /// The hook that sees the last stage.
    #[must_use]
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// The hooks that see the earlier stages, in the order of the stages.
    #[must_use]
    pub fn earlier_hooks(&self) -> &[Hook] {
        &self.attached.earlier
    }

    /// Why SYNs are not seen by the hook that sees them in TCP, if that is not used for an earlier stage.
    #[must_use]
    pub fn passed_over(&self) -> &[(Hook, String)] {
        &self.attached.passed_over
    }

    /// Whether the kernel counts how often it skips the program that counts connections.
    #[must_use]
    pub fn counts_misses(&self) -> bool {
        totals::counts_misses(self.hook, &self.types)
    }

    /// The watched stages.
    #[must_use]
    pub fn stages(&self) -> &WatchedStages {
        &self.stages
    }

    /// How many connections at the last stage did not fit into the ring buffer so far. Unlike the
    /// totals, this can be read while the hooks are attached.
    #[must_use]
    pub fn lost(&self) -> u64 {
        totals::count_at(&self.counters.lost(), self.stages.counted())
    }

    /// Looks now and then how many SYNs came, for [`Self::forgot_syns`].
    pub fn note_syns(&mut self) {
        let now = Instant::now();
        if let Some(memory) = self.syn_memory.as_mut().filter(|memory| memory.is_due(now)) {
            memory.add(now, self.counters.remembered());
        }
    }

    /// Whether there were so many SYNs that one that was sent again may have counted again.
    pub fn forgot_syns(&mut self) -> bool {
        self.syn_memory.as_mut().is_some_and(|memory| {
            memory.add(Instant::now(), self.counters.remembered());
            memory.forgot()
        })
    }

    /// What is counted so far, with [`Settings::sums`]. Like [`Self::lost`], this can be read at any time.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let counters = self.counters.get();
        let no_entry = [counters.other, counters.out_of_memory];
        let entries = if self.counts_in_series {
            let is_used = |series: &Series| series.stages != Stages::default();
            self.series().into_iter().filter(is_used).count() as u64
        } else {
            counters.entries
        };
        Sums {
            connections: totals::count_at(&counters.sums, self.stages.counted()),
            entries,
            lacks_entries: no_entry.iter().any(|count| *count != Stages::default()),
        }
    }

    /// The connections so far of each port and name, with [`Settings::series`]. Like [`Self::lost`], this and
    /// what follows can be read at any time.
    #[must_use]
    pub fn series(&self) -> Vec<Series> {
        self.series.series()
    }

    /// How long accepted connections waited so far.
    #[must_use]
    pub fn waits_so_far(&self) -> Waits {
        // A wait is in its step before it is in the sum.
        let sum_ns = self.counters.waits_ns();
        Waits {
            steps: self.counters.waits(),
            sum_ns,
        }
    }

    /// The first clients with [`Settings::series`], and their connections so far.
    #[must_use]
    pub fn first_clients(&self) -> Vec<(IpAddr, Stages)> {
        self.series.first_clients()
    }

    /// The connections so far of all other clients.
    #[must_use]
    pub fn other_clients(&self) -> Stages {
        self.series.other_clients()
    }

    /// What may make the count wrong so far.
    #[must_use]
    pub fn discrepancies(&self) -> Discrepancies {
        let counters = self.counters.get();
        Discrepancies {
            unreadable: counters.unreadable,
            unreadable_packets: counters.unreadable_packets,
            missed_runs: totals::missed_runs(&self.attached.ebpf, self.hook, &self.types),
            ..Discrepancies::default()
        }
    }

    /// What is counted so far, but not in full.
    #[must_use]
    pub fn incomplete(&self) -> Incomplete {
        let counters = self.counters.get();
        Incomplete {
            not_shown: counters.lost,
            beyond_max_clients: counters.other,
            out_of_memory: counters.out_of_memory,
        }
    }

    /// The interval of `--over` that has ended last. What was over in it has arrived, if the ring buffer was
    /// empty since.
    #[must_use]
    pub fn over_end(&self) -> Option<OverEnd> {
        self.over.as_ref()?.ended(self.boot_clock_ahead_ns)
    }

    /// The time until there is another one.
    #[must_use]
    pub fn over_left(&self) -> Option<Duration> {
        Some(self.over.as_ref()?.left(self.boot_clock_ahead_ns))
    }

    /// What of `--over` could not be counted or told so far. Like [`Self::lost`], this can be read at any time.
    #[must_use]
    pub fn over_gaps(&self) -> OverGaps {
        let watch = self.over.as_ref();
        watch.map_or(OverGaps::default(), OverWatch::gaps)
    }

    /// Which connections are reported one by one, not only counted.
    #[must_use]
    pub fn reported(&self) -> Reported {
        self.reported
    }

    /// Returns when there may be something to read. Cancel safe.
    ///
    /// # Errors
    /// An error of the system.
    pub async fn readable(&mut self) -> anyhow::Result<()> {
        self.ring.readable().await
    }

    /// How long to wait, when everything was read, until the buffer is looked at again: it is expected to be no
    /// more than half full by then.
    pub fn pause(&mut self) -> Duration {
        self.ring.pause()
    }

    /// Passes up to `limit` records to `show`, one by one.
    pub fn read(&mut self, limit: usize, mut show: impl FnMut(Reading<'_>)) -> Batch {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        let clock = WallClock::now(self.boot_clock_ahead_ns);
        for records in 0..limit {
            let read = |record: &[u8]| {
                if let Some(connection) = decode(record, clock) {
                    show(Reading::Connection(&connection));
                } else if let Some(over) =
                    { self.over.as_ref() }.and_then(|watch| watch.decode(record, clock))
                {
                    show(Reading::Over(over));
                }
            };
            if !self.ring.next(read) {
                return Batch {
                    records,
                    more: false,
                };
            }
        }
        Batch {
            records: limit,
            more: true,
        }
    }

    /// Counts in the cgroup of this directory, in place of the one before. Returns the ids of all cgroups
    /// in which connections were accepted that do not count.
    ///
    /// # Errors
    /// An error of the kernel, such as that the cgroup was removed.
    pub fn count_in_cgroup(
        &mut self,
        directory: &impl AsRawFd,
    ) -> anyhow::Result<Option<HashSet<u64>>> {
        cgroup::replace(&mut self.attached.ebpf, directory.as_raw_fd())
    }

    /// Detaches the hooks, which then count nothing more.
    pub fn detach(&mut self) -> Detached {
        self.attached.links.clear();
        self.detached_at = Some(Instant::now());
        Detached(())
    }

    /// How long the hooks have been, or were, attached.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.detached_at
            .unwrap_or_else(Instant::now)
            .duration_since(self.attached_at)
    }

    /// Reads the totals.
    ///
    /// # Errors
    /// An error of the kernel.
    pub fn totals(&self, Detached(()): &Detached, detail: Detail) -> anyhow::Result<Totals> {
        self.read_totals(detail, Pace::InBatches)
    }

    /// Reads the totals so far, while the hooks are attached. What is mapped is read without a call of the kernel.
    /// Else only the programs of kprobes are skipped where a process reads a map (`kernel/trace/bpf_trace.c`,
    /// `trace_call_bpf`; the others are only skipped where they run already), and only if they run in the
    /// midst of that: on a kernel that preempts itself, so not where they are exact.
    ///
    /// # Errors
    /// The counts would no longer be exact, or an error of the kernel.
    pub fn totals_so_far(&self, exactness: &Exactness) -> anyhow::Result<Totals> {
        let reads_maps = !self.counts_in_series;
        if reads_maps && self.hook.needs_kprobes() && !exactness.is_exact() {
            bail!(
                "reading the totals now could make {} miss connections",
                self.hook
            );
        }
        self.read_totals(Detail::Clients, Pace::OneByOne)
    }

    fn read_totals(&self, detail: Detail, pace: Pace) -> anyhow::Result<Totals> {
        let Self {
            hook,
            stages,
            by,
            apart,
            types,
            counters,
            series,
            ..
        } = self;
        totals::read(
            &self.attached.ebpf,
            (*hook, self.earlier_hooks()),
            types,
            stages,
            (*by, *apart),
            (counters, self.counts_in_series.then_some(series)),
            (detail, pace),
        )
    }
}
