//! What the programs have counted, read once they are detached.
//!
//! Not before: while a process reads a map, the kernel may skip programs on that CPU
//! (`bpf_disable_instrumentation`, `include/linux/bpf.h`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray},
};
use conn_common::{Counters, Key, Stages, WAIT_STEPS};

use super::{Backend, Reported, event::host, facts};
use crate::{
    connection::Stage,
    group::{GroupBy, GroupKey},
    tally::Tally,
    waits::Waits,
};

/// The kernel's own count.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Connections by client, at each stage that was watched; exact, but for `out_of_memory`.
    pub stages: BTreeMap<Stage, Tally>,
    /// SYNs that were sent again, which are in no tally.
    pub repeated: u64,
    /// How long those that were accepted had waited.
    pub waits: Waits,
    /// Connections, at each stage, that found no room in the ring buffer.
    pub lost: BTreeMap<Stage, u64>,
    /// Connections that only the second hook of the pair saw.
    pub second_hook_only: u64,
    /// Connections that are not with their client but with the others, since the kernel had no
    /// memory for it at that moment.
    pub out_of_memory: u64,
    /// What the programs themselves know to be in doubt.
    pub discrepancies: Discrepancies,
    /// Times that the kernel did not run the tracepoint, if that counts an earlier stage and the
    /// kernel tells. Few of them are handshakes.
    pub missed_established: Option<u64>,
}

impl Totals {
    /// How many connections were reported one by one.
    #[must_use]
    pub fn reported(&self, which: Reported) -> u64 {
        let stages = self.stages.iter().zip(self.lost.values());
        let mut counts = stages.map(|((_, tally), lost)| tally.connections().saturating_sub(*lost));
        match which {
            Reported::None => 0,
            Reported::Last => counts.next_back().unwrap_or(0),
            Reported::All => counts.sum(),
        }
    }
}

/// What could make the total wrong. All zero when all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discrepancies {
    /// Whether the count is only the least that it can be, see [`super::is_at_least`].
    pub at_least: bool,
    /// Sockets that could not be read.
    pub unreadable: u64,
    /// Times that the kernel did not run the program that makes the count; None if it does not
    /// tell.
    pub missed_runs: Option<u64>,
    /// Connections of the total that neither arrived nor were counted as lost.
    pub unaccounted: u64,
}

impl Discrepancies {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.at_least |= other.at_least;
        self.unreadable = self.unreadable.saturating_add(other.unreadable);
        self.unaccounted = self.unaccounted.saturating_add(other.unaccounted);
        self.missed_runs = match (self.missed_runs, other.missed_runs) {
            (Some(one), Some(another)) => Some(one.saturating_add(another)),
            (one, another) => one.or(another),
        };
    }
}

/// Reads the maps.
///
/// # Errors
/// The kernel's.
pub(super) fn read(
    ebpf: &Ebpf,
    backend: Backend,
    stages: &BTreeSet<Stage>,
    by: GroupBy,
    counters: Counters,
) -> anyhow::Result<Totals> {
    let mut totals = Totals {
        stages: stages
            .iter()
            .map(|stage| (*stage, Tally::default()))
            .collect(),
        repeated: counters.other.repeated + counters.out_of_memory.repeated,
        waits: waits(ebpf).context("cannot read the waits")?,
        lost: stages
            .iter()
            .map(|stage| (*stage, at(&counters.lost, *stage)))
            .collect(),
        second_hook_only: counters.second_hook_only,
        out_of_memory: stages
            .iter()
            .map(|stage| at(&counters.out_of_memory, *stage))
            .sum(),
        discrepancies: Discrepancies {
            at_least: false,
            unreadable: counters.unreadable,
            missed_runs: missed_runs(ebpf, backend),
            unaccounted: 0,
        },
        missed_established: (backend.stage() > Stage::Established
            && stages.contains(&Stage::Established))
        .then(|| missed_runs(ebpf, Backend::Tracepoint))
        .flatten(),
    };
    for (stage, tally) in &mut totals.stages {
        tally.add_other(at(&counters.other, *stage) + at(&counters.out_of_memory, *stage));
    }
    for map in ["CLIENTS", "SYN_CLIENTS"] {
        add(&mut totals, ebpf, map, by)
            .with_context(|| format!("cannot read the totals, {map}"))?;
    }
    Ok(totals)
}

fn add(totals: &mut Totals, ebpf: &Ebpf, map: &str, by: GroupBy) -> anyhow::Result<()> {
    let map = ebpf.map(map).context("no such map")?;
    let map =
        HashMap::<&MapData, [u8; size_of::<Key>()], [u8; size_of::<Stages>()]>::try_from(map)?;
    for entry in map.iter() {
        let (key, counted) = entry?;
        let (key, counted): (Key, Stages) = (bytemuck::cast(key), bytemuck::cast(counted));
        let port = key.local_port as u16;
        totals.repeated += counted.repeated;
        for (stage, tally) in &mut totals.stages {
            let connections = at(&counted, *stage);
            if connections > 0 {
                tally.add_key(
                    by.group(group_key(&key, by), Some(port)),
                    Some(port),
                    connections,
                );
            }
        }
    }
    Ok(())
}

pub(super) fn at(stages: &Stages, stage: Stage) -> u64 {
    match stage {
        Stage::Syn => stages.syn,
        Stage::Established => stages.established,
        Stage::Accepted => stages.accepted,
    }
}

/// Of whom the programs counted under a key.
fn group_key(key: &Key, by: GroupBy) -> GroupKey {
    match by {
        GroupBy::Address | GroupBy::Network(..) | GroupBy::Port => {
            GroupKey::Client(host(key.group))
        }
        GroupBy::Process => GroupKey::process(key.pid, &bytemuck::cast(key.group)),
        GroupBy::Cgroup => GroupKey::Cgroup {
            id: key.group[0],
            name: None,
        },
        GroupBy::User => GroupKey::User {
            uid: key.group[0] as u32,
            name: None,
        },
    }
}

fn waits(ebpf: &Ebpf) -> anyhow::Result<Waits> {
    let map = ebpf.map("WAITS").context("no such map")?;
    let map = Array::<&MapData, u64>::try_from(map)?;
    let steps = (0..WAIT_STEPS as u32).map(|step| map.get(&step, 0));
    let steps = steps.collect::<Result<_, _>>()?;
    let longest = ebpf.map("LONGEST_WAIT").context("no such map")?;
    let longest = PerCpuArray::<&MapData, u64>::try_from(longest)?.get(&0, 0)?;
    let longest = longest.iter().copied().max().unwrap_or(0);
    Ok(Waits::new(steps, Duration::from_nanos(longest)))
}

/// Whether the kernel counts how often it does not run the program that counts connections.
///
/// It tells so in `/proc` since Linux 5.12, but of programs without a trampoline it only counts them
/// since 6.7 (`kernel/trace/bpf_trace.c`, `trace_call_bpf`).
#[must_use]
pub fn counts_misses(backend: Backend) -> bool {
    let since = match backend {
        Backend::Kretprobe | Backend::Tracepoint => (6, 7),
        Backend::Lsm | Backend::Fentry => (5, 12),
        // Nothing stops a socket filter.
        Backend::Filter => return true,
    };
    facts::kernel_version()
        .0
        .is_some_and(|version| version >= since)
}

/// How often the kernel did not run the program whose missed runs are missed connections. None if
/// it does not tell.
fn missed_runs(ebpf: &Ebpf, backend: Backend) -> Option<u64> {
    let program = match backend {
        Backend::Kretprobe => "conn_graft",
        Backend::Lsm => "conn_lsm",
        Backend::Fentry => "conn_fentry",
        Backend::Tracepoint => "conn_state",
        Backend::Filter => return Some(0),
    };
    let fd = ebpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let misses = info
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?;
    let misses = misses.trim().parse().ok()?;
    // Where it does not count them, it says 0.
    (misses > 0 || counts_misses(backend)).then_some(misses)
}
