//! The programs' counters, which can be read while they run.

use std::os::fd::AsFd as _;

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use conn_common::Counters;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::names;

/// The map of counters, mapped into conn-cli's memory. Reading it by a system call would make the
/// kernel skip programs during the call (`bpf_disable_instrumentation`, `include/linux/bpf.h`).
#[derive(Debug)]
pub(super) struct Live(*const Counters);

/// The smallest page size of any kernel. The map has at least one page.
const LENGTH: usize = 4096;

impl Live {
    /// Maps the counters.
    ///
    /// # Errors
    /// An error of the system.
    pub(super) fn new(ebpf: &Ebpf) -> anyhow::Result<Self> {
        let map = map(ebpf)?.fd().as_fd();
        // SAFETY: this creates a new mapping, which nothing else uses.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                LENGTH,
                ProtFlags::READ,
                MapFlags::SHARED,
                map,
                0,
            )
        };
        let memory = memory.context("cannot map the counters")?;
        Ok(Self(memory.cast()))
    }

    /// Their current values.
    pub(super) fn get(&self) -> Counters {
        // SAFETY: the mapping exists until self is dropped and begins with the map's only value.
        // Any bytes are valid Counters. The read is volatile since the programs may change them.
        unsafe { self.0.read_volatile() }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // SAFETY: `new` created this mapping, and no reference into it exists.
        let _ = unsafe { munmap(self.0.cast_mut().cast(), LENGTH) };
    }
}

fn map(ebpf: &Ebpf) -> anyhow::Result<&MapData> {
    match ebpf.map(names::COUNTERS) {
        Some(Map::Array(map)) => Ok(map),
        _ => anyhow::bail!("the eBPF object has no map COUNTERS"),
    }
}
