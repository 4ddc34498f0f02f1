//! Arrays of the programs that are mapped into conn-cli's memory. Reading them by a system call would
//! make the kernel skip programs during the call (`bpf_disable_instrumentation`, `include/linux/bpf.h`).

use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};
use aya::{Ebpf, maps::Map};
use bytemuck::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// How often a value is read that changes while it is read.
const MAX_READS: u32 = 100;

/// The values of an array, which programs may change at any time.
#[derive(Debug)]
pub(super) struct Mapping<T> {
    first: *const T,
    values: usize,
}

impl<T: Pod> Mapping<T> {
    /// Maps the array of this name, which has so many values of this type, of a multiple of 8 bytes.
    ///
    /// # Errors
    /// An error of the system.
    pub(super) fn new(ebpf: &Ebpf, name: &str, values: usize) -> anyhow::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8), "the kernel pads others") };
        let Some(Map::Array(map)) = ebpf.map(name) else {
            bail!("the eBPF object has no array {name}");
        };
        // SAFETY: this creates a new mapping, which nothing else uses. The kernel refuses one that is
        // longer than the array, in whole pages (`kernel/bpf/arraymap.c`, `array_map_mmap`).
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                values * size_of::<T>(),
                ProtFlags::READ,
                MapFlags::SHARED,
                map.fd().as_fd(),
                0,
            )
        };
        let memory = memory.with_context(|| format!("cannot map {name}"))?;
        Ok(Self {
            first: memory.cast(),
            values,
        })
    }

    /// A part of each value as it is now. If a program changes it meanwhile, some of its words may be older
    /// than others.
    pub(super) fn each<P: Pod>(&self, part: fn(*const T) -> *const P) -> impl Iterator<Item = P> {
        // SAFETY: the mapping exists until self is dropped and has so many values, of which `part` points to
        // one, or to a field. Any bytes are valid for a Pod. The reads are volatile since the programs may
        // change the values.
        (0..self.values).map(move |index| unsafe { part(self.first.add(index)).read_volatile() })
    }
}

impl<T: Pod + PartialEq> Mapping<T> {
    /// Each value at a moment in which it did not change; `None` if it changes all the time.
    pub(super) fn each_at_rest(&self) -> impl Iterator<Item = Option<T>> {
        // SAFETY: as in `each`.
        let read = |index| unsafe { self.first.add(index).read_volatile() };
        (0..self.values).map(move |index| {
            let at_rest = |_| Some(read(index)).filter(|value| read(index) == *value);
            (0..MAX_READS).find_map(at_rest)
        })
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        let bytes = self.values * size_of::<T>();
        // SAFETY: `new` created this mapping, and no reference into it exists.
        let _ = unsafe { munmap(self.first.cast_mut().cast(), bytes) };
    }
}
