//! Configures the cgroup to which the accepting process must belong.

use std::{collections::HashSet, fs::File, os::fd::AsRawFd, path::Path};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{CgroupArray, HashMap, MapData},
};

use super::names;
use crate::system::text::escaped;

/// Stores the cgroup of this directory in the map of cgroups.
///
/// # Errors
/// An error of the system, such as a directory that is not a cgroup v2.
pub(super) fn set(ebpf: &mut Ebpf, directory: &Path) -> anyhow::Result<()> {
    let name = escaped(directory.as_os_str().as_encoded_bytes());
    let cgroup = File::open(directory).with_context(|| format!("cannot open {name}"))?;
    store(ebpf, cgroup).with_context(|| format!("{name} is not the directory of a cgroup v2"))
}

/// Stores the cgroup of this directory in place of the one before. Returns the ids of the cgroups in
/// which connections were accepted that had been wanted if they had been in the map: from now on, none
/// of this cgroup, nor of those below. None if they cannot be read.
///
/// # Errors
/// An error of the system, such as that the cgroup was removed.
pub(super) fn replace(
    ebpf: &mut Ebpf,
    directory: impl AsRawFd,
) -> anyhow::Result<Option<HashSet<u64>>> {
    store(ebpf, directory)?;
    let map = ebpf.map(names::OTHER_CGROUPS);
    let map = HashMap::<&MapData, u64, u32>::try_from(map.context("no map of other cgroups")?)?;
    Ok(map.keys().collect::<Result<_, _>>().ok())
}

/// Needs no more of the directory than that it is open, and no capability but the one to read maps.
fn store(ebpf: &mut Ebpf, directory: impl AsRawFd) -> anyhow::Result<()> {
    let map = ebpf.map_mut(names::CGROUPS).context("no map of cgroups")?;
    CgroupArray::try_from(map)?.set(0, directory, 0)?;
    Ok(())
}
