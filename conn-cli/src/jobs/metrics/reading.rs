//! The figures of a run so far. Nothing here makes a system call of eBPF: reading a map by one makes the kernel
//! skip kprobe programs, those of other tools, too.

use jiff::Timestamp;

use crate::{
    model::{
        discrepancies::Discrepancies, group::Grouping, listener_gauges::ListenerGauges,
        metrics::Reading, names::NetworkNames, options::TraceOptions, stage::Stage,
    },
    trace::kernel::Tracer,
};

/// What stays the same in a run.
#[derive(Clone, Copy, Debug)]
pub(in crate::jobs) struct Figures {
    names: &'static NetworkNames,
    by: Grouping,
    clients: u32,
    started: Timestamp,
}

/// What the run has found out about itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::jobs) struct Verdicts {
    pub(in crate::jobs) is_exact: bool,
    pub(in crate::jobs) self_test: Option<(bool, Timestamp)>,
}

impl Figures {
    pub(in crate::jobs) fn new(options: &TraceOptions, started: Timestamp) -> Self {
        Self {
            names: options.show.names.unwrap_or(NetworkNames::none()),
            by: options.show.listing.by,
            clients: options
                .metrics
                .as_ref()
                .map_or(0, |metrics| metrics.clients),
            started,
        }
    }

    /// The figures so far.
    pub(in crate::jobs) fn read(
        &self,
        tracer: &Tracer,
        listeners: ListenerGauges,
        discrepancies: Discrepancies,
        verdicts: Verdicts,
    ) -> Reading {
        let stages = tracer.stages();
        let hooks: Vec<_> = stages
            .all()
            .map(|stage| (stage, tracer.hook_of(stage)))
            .collect();
        // A client that only asked has its entry in another table.
        let has_one_entry = !stages.are_several() || !stages.contains(Stage::Syn);
        let knows_waits = tracer.hook().info().stage == Stage::Accepted;
        let has_address = !self.by.needs_task();
        Reading {
            started: self.started,
            is_exact: verdicts.is_exact,
            self_test: verdicts.self_test,
            knows_refused: hooks.iter().any(|(_, hook)| hook.info().sees_requests),
            hooks,
            series: tracer.series(),
            names: self.names,
            waits: knows_waits.then(|| tracer.waits_so_far()),
            new_clients: (has_one_entry && has_address).then(|| tracer.sums().entries),
            clients: (self.clients > 0).then(|| (tracer.first_clients(), tracer.other_clients())),
            listeners,
            discrepancies,
            incomplete: tracer.incomplete(),
        }
    }
}
