//! What is attached for one run, from its attachment to its totals.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aya::maps::RingBuf;
use aya_log::EbpfLogger;

use super::{
    Backend, Refusal, Reported, Settings,
    attach::{self, Attached},
    counters,
    event::{WallClock, decode},
    facts,
    ring::Ring,
    totals::{self, Totals},
};
use crate::{
    connection::{Connection, Stage},
    group::GroupBy,
};

/// Attached hooks.
pub struct Tracer {
    backend: Backend,
    stages: BTreeSet<Stage>,
    by: GroupBy,
    attached: Attached,
    ring: Ring,
    counters: counters::Live,
    reported: Reported,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    since: Instant,
    until: Option<Instant>,
}

/// What one look at the ring buffer gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// How many records there were.
    pub records: usize,
    /// Whether there may be more at once.
    pub more: bool,
}

impl Tracer {
    /// Loads and attaches the hooks that see the stages that are asked for, the last one through
    /// `backend`. Needs a tokio runtime.
    ///
    /// # Errors
    /// Why they cannot be used here.
    pub fn attach(backend: Backend, settings: &Settings) -> Result<Self, Refusal> {
        Self::try_attach(backend, settings).map_err(|error| {
            let facts = facts::gather();
            log::debug!("{backend}: {error:?}; {facts:?}");
            Refusal::explain(backend, &error, &facts)
        })
    }

    fn try_attach(backend: Backend, settings: &Settings) -> anyhow::Result<Self> {
        let mut attached = attach::attach(backend, settings)?;
        let logger = settings
            .verbose
            .then(|| EbpfLogger::init(&mut attached.ebpf))
            .transpose()
            .context("cannot read the programs' diagnostics")?;
        let ring = attached
            .ebpf
            .take_map("EVENTS")
            .context("the eBPF object has no map EVENTS")?;
        Ok(Self {
            backend,
            stages: backend.stages(&settings.stages),
            by: settings.by,
            counters: counters::Live::new(&attached.ebpf)?,
            attached,
            ring: Ring::new(RingBuf::try_from(ring)?),
            reported: settings.reported,
            logger,
            since: Instant::now(),
            until: None,
        })
    }

    /// What sees the last stage.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The stages that are seen.
    #[must_use]
    pub fn stages(&self) -> &BTreeSet<Stage> {
        &self.stages
    }

    /// How many connections at the last stage so far have found no room in the ring buffer. May
    /// be asked at any time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        totals::at(&self.counters.get().lost, self.backend.stage())
    }

    /// Which connections are reported one by one, not only counted.
    #[must_use]
    pub fn reported(&self) -> Reported {
        self.reported
    }

    /// Returns when there may be something to read. May be dropped at any time.
    ///
    /// # Errors
    /// The system's.
    pub async fn readable(&mut self) -> anyhow::Result<()> {
        self.ring.readable().await
    }

    /// Hands up to `limit` records to `show`, one by one.
    pub fn read(&mut self, limit: usize, mut show: impl FnMut(&Connection)) -> Batch {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        let clock = WallClock::now();
        for records in 0..limit {
            let read = |record: &[u8]| {
                if let Some(connection) = decode(record, clock) {
                    show(&connection);
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

    /// Detaches: nothing is counted after this.
    pub fn detach(&mut self) {
        self.attached.links.clear();
        self.until = Some(Instant::now());
    }

    /// How long the hook has been, or was, attached.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.until
            .unwrap_or_else(Instant::now)
            .duration_since(self.since)
    }

    /// What was counted. To be read after [`Self::detach`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn totals(&self) -> anyhow::Result<Totals> {
        let counters = self.counters.get();
        let Self {
            backend,
            stages,
            by,
            ..
        } = self;
        totals::read(&self.attached.ebpf, *backend, stages, *by, counters)
    }
}
