//! Puts clients into the map in which the programs of a running conn-cli count them.

use std::fs;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use lab::bpf::bpf;

/// A client's key: `conn_common::Key`, an address in its IPv6 form and the local port.
pub(super) type Key = [u64; 3];

/// Its counts: `conn_common::Stages`.
pub(super) type Counts = [u64; 5];

// Commands of `include/uapi/linux/bpf.h`.
const BPF_MAP_GET_FD_BY_ID: libc::c_int = 14;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;

/// The map of clients of a process.
pub(super) struct Map(OwnedFd);

impl Map {
    /// Finds it: of those with such keys and values, the one with most room.
    pub(super) fn of_process(pid: u32) -> Result<Self> {
        let mut found = None;
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            // It may have just closed this one.
            let Ok(info) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            let field = |name: &str| -> Option<u32> {
                let value = info.lines().find_map(|line| line.strip_prefix(name))?;
                value.trim().parse().ok()
            };
            let sizes = [field("key_size:"), field("value_size:")];
            if sizes == [size_of::<Key>(), size_of::<Counts>()].map(|size| Some(size as u32)) {
                found = found.max(field("max_entries:").zip(field("map_id:")));
            }
        }
        let (_, id) = found.context("it has no map of clients")?;
        // SAFETY: the command takes an id, and no pointer.
        let map = unsafe { bpf(BPF_MAP_GET_FD_BY_ID, &mut [id]) };
        let map = map.context("cannot open its map of clients")?;
        // SAFETY: the kernel returned this new descriptor, which nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(map) }))
    }

    /// Adds clients.
    pub(super) fn add(&self, keys: &[Key], counts: &[Counts]) -> Result<()> {
        ensure!(keys.len() == counts.len(), "a count for each key");
        let mut attributes = Attributes {
            in_batch: 0,
            out_batch: 0,
            keys: keys.as_ptr().expose_provenance() as u64,
            values: counts.as_ptr().expose_provenance() as u64,
            count: keys.len() as u32,
            map_fd: self.0.as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the pointers are to as many keys and counts, of the sizes that the map has.
        let added = unsafe { bpf(BPF_MAP_UPDATE_BATCH, &mut attributes) };
        added.context("cannot add clients to the map")?;
        Ok(())
    }
}

/// The attributes of a batch in `union bpf_attr`.
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}
