//! Cgroups of version 2, as they are mounted in a guest.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const MOUNT: &str = "/sys/fs/cgroup";

/// A cgroup that goes when the value does; by then all in it must have ended, or left.
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one by its path below the mount.
    pub(super) fn new(path: &str) -> Result<Self> {
        let path = Path::new(MOUNT).join(path);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Moves a process there, with all its threads.
    pub(super) fn take(&self, pid: u32) -> Result<()> {
        put(pid, &self.0)
    }

    /// Moves a process to the one that all others are below.
    pub(super) fn leave(pid: u32) -> Result<()> {
        put(pid, Path::new(MOUNT))
    }

    /// Has the memory be accounted for of those that are made from now on.
    pub(super) fn account_for_memory() -> Result<()> {
        fs::write(Path::new(MOUNT).join("cgroup.subtree_control"), "+memory")
            .context("memory cannot be accounted for")
    }

    /// How many bytes it has.
    pub(super) fn memory(&self) -> Result<u64> {
        Ok(fs::read_to_string(self.0.join("memory.current"))?
            .trim()
            .parse()?)
    }

    /// Lets it have so many bytes, or as many as it wants.
    pub(super) fn limit_memory(&self, bytes: Option<u64>) -> Result<()> {
        let limit = bytes.map_or("max".to_owned(), |bytes| bytes.to_string());
        Ok(fs::write(self.0.join("memory.max"), limit)?)
    }

    /// The id of the one that all others are below.
    pub(super) fn root() -> Result<u64> {
        Ok(fs::metadata(MOUNT)?.ino())
    }

    pub(super) fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.0)?.ino())
    }
}

fn put(pid: u32, cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), pid.to_string())
        .with_context(|| format!("cannot move a process to {}", cgroup.display()))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // After a failure there may be something in it.
        let _ = fs::remove_dir(&self.0);
    }
}
