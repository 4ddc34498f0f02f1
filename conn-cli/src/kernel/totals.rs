//! What the programs have counted, read once they are detached.
//!
//! Not before: while a process reads a map, the kernel may skip programs on that CPU
//! (`bpf_disable_instrumentation`, `include/linux/bpf.h`).

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use conn_common::{ClientKey, Counters};

use super::{Backend, event::host, facts};
use crate::tally::Tally;

/// The kernel's own count.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Connections by client; exact.
    pub tally: Tally,
    /// Events that found no room in the ring buffer.
    pub ring_full: u64,
    /// Connections that only the second hook of the pair saw.
    pub second_hook_only: u64,
    /// What the programs themselves know to be in doubt.
    pub doubts: Doubts,
}

/// What could make the total wrong. All zero when all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Sockets that could not be read.
    pub unreadable: u64,
    /// Times that the kernel did not run the program; None if it does not tell.
    pub missed_runs: Option<u64>,
    /// Connections of the total that neither arrived nor were counted as lost.
    pub unaccounted: u64,
}

impl Doubts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
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
pub(super) fn read(ebpf: &Ebpf, backend: Backend) -> anyhow::Result<Totals> {
    let counters = counters(ebpf).context("cannot read the counters")?;
    let mut tally = tally(ebpf).context("cannot read the totals")?;
    tally.add_other(counters.other_clients);
    Ok(Totals {
        tally,
        ring_full: counters.ring_full,
        second_hook_only: counters.second_hook_only,
        doubts: Doubts {
            unreadable: counters.unreadable,
            missed_runs: missed_runs(ebpf, backend),
            unaccounted: 0,
        },
    })
}

fn counters(ebpf: &Ebpf) -> anyhow::Result<Counters> {
    let map = ebpf.map("COUNTERS").context("no such map")?;
    let map = Array::<&MapData, [u8; size_of::<Counters>()]>::try_from(map)?;
    Ok(bytemuck::cast(map.get(&0, 0)?))
}

fn tally(ebpf: &Ebpf) -> anyhow::Result<Tally> {
    let map = ebpf.map("CLIENTS").context("no such map")?;
    let map = HashMap::<&MapData, [u8; size_of::<ClientKey>()], u64>::try_from(map)?;
    let mut tally = Tally::default();
    for entry in map.iter() {
        let (key, connections) = entry?;
        let key: ClientKey = bytemuck::cast(key);
        let port = key.local_port as u16;
        tally.add(&host(key.remote_address), Some(port), connections);
    }
    Ok(tally)
}

/// How often the kernel did not run the program whose missed runs are missed connections. It
/// says so in `/proc`, since Linux 5.12, but of other programs than fentry's it only counts
/// them since 6.7 (`kernel/trace/bpf_trace.c`, `trace_call_bpf`).
fn missed_runs(ebpf: &Ebpf, backend: Backend) -> Option<u64> {
    let (program, since) = match backend {
        Backend::Kretprobe => ("conn_graft", (6, 7)),
        Backend::Fentry => ("conn_fentry", (5, 12)),
        Backend::Tracepoint => ("conn_state", (6, 7)),
    };
    if facts::kernel_version().0? < since {
        return None;
    }
    let fd = ebpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let misses = info
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?;
    misses.trim().parse().ok()
}
