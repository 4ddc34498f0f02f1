//! Configures the cgroup to which the accepting process must belong.

use std::{fs::File, path::Path};

use anyhow::Context as _;
use aya::{Ebpf, maps::CgroupArray};

use super::names;
use crate::system::text::escaped;

/// Stores the cgroup of this directory in the map of cgroups.
///
/// # Errors
/// An error of the system, such as a directory that is not a cgroup v2.
pub(super) fn set(ebpf: &mut Ebpf, directory: &Path) -> anyhow::Result<()> {
    let name = escaped(directory.as_os_str().as_encoded_bytes());
    let cgroup = File::open(directory).with_context(|| format!("cannot open {name}"))?;
    let map = ebpf.map_mut(names::CGROUPS).context("no map of cgroups")?;
    CgroupArray::try_from(map)?
        .set(0, cgroup, 0)
        .with_context(|| format!("{name} is not the directory of a cgroup v2"))
}
