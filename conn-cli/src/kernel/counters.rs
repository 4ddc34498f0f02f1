//! The programs' counters, which can be read while they run.

use std::os::fd::AsFd as _;

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use conn_common::Counters;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The map of counters, in conn-cli's own memory: to read it by system call would make the
/// kernel skip programs meanwhile (`bpf_disable_instrumentation`, `include/linux/bpf.h`).
#[derive(Debug)]
pub(super) struct Live(*const Counters);

/// Of the smallest page that a kernel has; the map has at least one.
const LENGTH: usize = 4096;

impl Live {
    /// Maps the counters.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(ebpf: &Ebpf) -> anyhow::Result<Self> {
        let map = map(ebpf)?.fd().as_fd();
        // SAFETY: a new mapping, which nothing else knows of.
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

    /// What they are at this moment.
    pub(super) fn get(&self) -> Counters {
        // SAFETY: the mapping is there until this is dropped, begins with the one value of the
        // map, and any bytes are Counters. The programs may be adding to them.
        unsafe { self.0.read_volatile() }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // SAFETY: it is the mapping that `new` has made, and nobody has a reference into it.
        let _ = unsafe { munmap(self.0.cast_mut().cast(), LENGTH) };
    }
}

fn map(ebpf: &Ebpf) -> anyhow::Result<&MapData> {
    match ebpf.map("COUNTERS") {
        Some(Map::Array(map)) => Ok(map),
        _ => anyhow::bail!("the eBPF object has no map COUNTERS"),
    }
}
