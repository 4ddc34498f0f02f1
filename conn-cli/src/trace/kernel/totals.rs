//! What the programs counted, read after they are detached.
//!
//! Not earlier: while a process reads a map, the kernel may skip programs on that CPU
//! (`bpf_disable_instrumentation`, `include/linux/bpf.h`).

use std::{
    collections::{self, BTreeMap},
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use conn_common::{HeavySet, KERNEL_THREAD, Key, Stages};

use super::{
    KernelTypes, counters,
    entries::{self, Pace},
    event::host,
    heavy::{self, HeavyClient},
    names, series,
    settings::Apart,
};
use crate::{
    count::{ranking::Counts, waits::Waits},
    model::{
        connection::thread_name,
        demand::Reported,
        discrepancies::Discrepancies,
        group::{GroupBy, GroupKey, Grouping},
        hook::Hook,
        metrics::Series,
        names::NetworkNames,
        stage::{Stage, WatchedStages},
    },
};

/// The counts that the programs made in the kernel.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Connections at each watched stage, with [`Detail::Clients`] by client. Exact except for
    /// `out_of_memory`.
    pub counts: Counts,
    /// Retransmitted SYNs, which are in no tally.
    pub repeated: u64,
    /// Whether the hook that sees SYNs knows which were answered with a reset: [`Counts::refused`].
    pub knows_refused: bool,
    /// How long accepted connections had waited.
    pub waits: Waits,
    /// Connections at each stage that did not fit into the ring buffer.
    pub lost: BTreeMap<Stage, u64>,
    /// Connections that only the second hook of the pair saw.
    pub second_hook_only: u64,
    /// Connections counted under the other clients, because the kernel had no memory for their
    /// client's entry.
    pub out_of_memory: u64,
    /// Connections at the last stage in network namespaces of users, which are in no tally. None if
    /// they are not told from others.
    pub of_users: Option<u64>,
    /// Connections that kernel threads accepted, which are in no tally. None if no filter needs to judge
    /// them.
    pub by_kernel_threads: Option<u64>,
    /// Counting by process, the name of each one's thread that accepted first, safe to show.
    pub process_names: collections::HashMap<u32, Box<str>>,
    /// What may make these counts wrong.
    pub discrepancies: Discrepancies,
    /// How often the kernel did not run the tracepoint, if that counts an earlier stage and the
    /// kernel counts it. Few of these runs are handshakes.
    pub missed_established: Option<u64>,
}

/// What to find out about the connections that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// How many they are, which takes no memory.
    Sums,
    /// Also the clients.
    Clients,
}

impl Totals {
    /// How many connections were reported one by one.
    #[must_use]
    pub fn reported(&self, which: Reported, watched: &WatchedStages) -> u64 {
        let count = |stage| {
            let counted = self.counts.connections(stage);
            counted.saturating_sub(self.lost.get(&stage).copied().unwrap_or(0))
        };
        which.stages(watched).map(count).sum()
    }

    /// Gives those rows that had many connections without an entry in the maps.
    fn add_heavy(&mut self, tables: &[Vec<Option<HeavySet>>], stage: Stage, by: Grouping) {
        let total = self.counts.connections(stage);
        for client in heavy::clients(tables, total) {
            let port = Some(client.key.local_port as u16);
            let group = by.what().group(group_key(&client.key, by.what()), port);
            let HeavyClient {
                at_least, error, ..
            } = client;
            let counts = &mut self.counts;
            counts.take_from_other(stage, (group, port), at_least, error);
        }
    }

    fn add_series(
        &mut self,
        series: &[Series],
        names: &'static NetworkNames,
        watched: &WatchedStages,
    ) {
        for Series { port, name, stages } in series {
            self.repeated += stages.repeated;
            let group = || GroupKey::Name(&names.names()[*name]);
            for stage in watched.all() {
                match count_at(stages, stage) {
                    0 => (),
                    connections => self.counts.add(stage, group(), *port, connections),
                }
            }
            if stages.refused > 0 {
                self.counts.add_refused(group(), *port, stages.refused);
            }
        }
    }

    fn add_map(
        &mut self,
        ebpf: &Ebpf,
        map: &str,
        (stages, by): (&WatchedStages, Grouping),
        (detail, pace): (Detail, Pace),
    ) -> anyhow::Result<()> {
        let map = ebpf.map(map).context("no such map")?;
        entries::read(map, pace, |key, counts| {
            self.repeated += counts.repeated;
            let port = Some(key.local_port as u16);
            let group = || by.what().group(group_key(&key, by.what()), port);
            for stage in stages.all() {
                match (count_at(&counts, stage), detail) {
                    (0, _) => (),
                    (connections, Detail::Sums) => self.counts.add_total(stage, connections),
                    (connections, Detail::Clients) => {
                        self.counts.add(stage, group(), port, connections);
                    }
                }
            }
            match (counts.refused, detail) {
                (0, _) => (),
                (syns, Detail::Sums) => self.counts.add_refused_total(syns),
                (syns, Detail::Clients) => self.counts.add_refused(group(), port, syns),
            }
        })
    }
}

/// Reads the maps.
///
/// # Errors
/// An error of the kernel.
pub(super) fn read(
    ebpf: &Ebpf,
    (hook, earlier): (Hook, &[Hook]),
    types: &KernelTypes,
    stages: &WatchedStages,
    (by, apart): (Grouping, Apart),
    (live, series): (&counters::Live, Option<&series::Live>),
    (detail, pace): (Detail, Pace),
) -> anyhow::Result<Totals> {
    let heavy = live.heavy();
    let counters = live.get();
    let hooks = || earlier.iter().chain([&hook]);
    let knows_refused = hooks().any(|hook| hook.info().sees_requests);
    let mut totals = Totals {
        counts: Counts::new(stages.all()).by(by),
        repeated: counters.other.repeated + counters.out_of_memory.repeated,
        knows_refused,
        waits: Waits::new(live.waits(), Duration::from_nanos(counters.longest_wait_ns)),
        lost: stages
            .all()
            .map(|stage| (stage, count_at(&counters.lost, stage)))
            .collect(),
        second_hook_only: counters.second_hook_only,
        out_of_memory: stages
            .all()
            .map(|stage| count_at(&counters.out_of_memory, stage))
            .sum(),
        of_users: apart
            .users
            .then(|| count_at(&counters.of_users, stages.counted())),
        by_kernel_threads: apart.kernel_threads.then_some(counters.by_kernel_threads),
        process_names: if by.what() == GroupBy::Process {
            read_names(ebpf).context("cannot read the names of processes")?
        } else {
            Default::default()
        },
        discrepancies: Discrepancies {
            at_least: false,
            unreadable: counters.unreadable,
            unreadable_packets: counters.unreadable_packets,
            missed_runs: missed_runs(ebpf, hook, types),
            unaccounted: 0,
        },
        missed_established: earlier
            .iter()
            .find(|hook| hook.stage() == Stage::Established)
            .and_then(|hook| missed_runs(ebpf, *hook, types)),
    };
    for stage in stages.all() {
        let others = count_at(&counters.other, stage) + count_at(&counters.out_of_memory, stage);
        totals.counts.add_other(stage, others);
    }
    let others = counters.other.refused + counters.out_of_memory.refused;
    totals.counts.add_other_refused(others);
    if let (Some(series), GroupBy::Name(names)) = (series, by.what()) {
        totals.add_series(&series.series(), names, stages);
        return Ok(totals);
    }
    for map in [names::CLIENTS, names::SYN_CLIENTS] {
        totals
            .add_map(ebpf, map, (stages, by), (detail, pace))
            .with_context(|| format!("cannot read the totals, {map}"))?;
    }
    if detail == Detail::Clients {
        totals.add_heavy(&heavy, stages.counted(), by);
    }
    Ok(totals)
}

pub(super) fn count_at(stages: &Stages, stage: Stage) -> u64 {
    match stage {
        Stage::Syn => stages.syn,
        Stage::Established => stages.established,
        Stage::Accepted => stages.accepted,
    }
}

/// The group that a map key stands for.
pub(super) fn group_key(key: &Key, by: GroupBy) -> GroupKey {
    let is_kernel_thread = key.group[1] == KERNEL_THREAD;
    match by {
        GroupBy::Address | GroupBy::Network(..) | GroupBy::Name(_) | GroupBy::Port => {
            GroupKey::Client(host(key.group))
        }
        GroupBy::Process => {
            let pid = key.group[0] as u32;
            GroupKey::Process {
                pid: (pid != 0).then_some(pid),
                name: None,
                is_kernel_thread,
            }
        }
        GroupBy::Cgroup | GroupBy::User if is_kernel_thread => GroupKey::KernelThreads,
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

fn read_names(ebpf: &Ebpf) -> anyhow::Result<collections::HashMap<u32, Box<str>>> {
    let map = ebpf.map(names::NAMES).context("no such map")?;
    let map = HashMap::<&MapData, u32, [u8; 16]>::try_from(map)?;
    let name = |entry: Result<(u32, [u8; 16]), _>| {
        entry.map(|(pid, comm)| (pid, thread_name(&comm).into()))
    };
    Ok(map.iter().map(name).collect::<Result<_, _>>()?)
}

/// Whether the kernel counts how often it does not run the program that counts connections. It does
/// so for each kind of program that it skips, but for those of kprobes only since Linux 6.7.
#[must_use]
pub fn counts_misses(hook: Hook, types: &KernelTypes) -> bool {
    !hook.needs_kprobes() || types.counts_kprobe_misses
}

/// Whether nothing makes the kernel skip its program.
fn is_never_skipped(hook: Hook) -> bool {
    matches!(hook, Hook::Filter | Hook::SockOps)
}

/// How often the kernel did not run the program whose missed runs are missed connections. None if
/// the kernel does not count it.
pub(super) fn missed_runs(ebpf: &Ebpf, hook: Hook, types: &KernelTypes) -> Option<u64> {
    if is_never_skipped(hook) {
        return Some(0);
    }
    let programs = hook.info().counting.iter();
    programs
        .map(|program| misses(ebpf, hook, program, types))
        .sum()
}

fn misses(ebpf: &Ebpf, hook: Hook, program: &str, types: &KernelTypes) -> Option<u64> {
    let fd = ebpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let misses = info
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"));
    match misses {
        // Where it counts none of this kind, it shows 0.
        Some(misses) => {
            let misses = misses.trim().parse().ok()?;
            (misses > 0 || counts_misses(hook, types)).then_some(misses)
        }
        // Before Linux 5.12 it shows none, and skips no raw tracepoint program.
        None => (hook == Hook::Tracepoint).then_some(0),
    }
}
