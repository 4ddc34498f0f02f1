//! Cgroups of version 2, as mounted in a guest, or of version 1 that limit memory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const MOUNT: &str = "/sys/fs/cgroup";

/// A cgroup that is removed on drop; its processes must have ended or left by then.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Creates the cgroup at this path below the mount.
    pub fn new(path: &str) -> Result<Self> {
        let path = Path::new(MOUNT).join(path);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Removes it; its processes must have ended or left.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir(&self.0).with_context(|| format!("cannot remove {}", self.0.display()))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a process, with all its threads, into the cgroup.
    pub fn add(&self, pid: u32) -> Result<()> {
        move_process(pid, &self.0)
    }

    /// Moves a process to the root cgroup.
    pub fn move_to_root(pid: u32) -> Result<()> {
        move_process(pid, Path::new(MOUNT))
    }

    /// Enables memory accounting for cgroups that are created from now on.
    pub fn enable_memory_accounting() -> Result<()> {
        fs::write(Path::new(MOUNT).join("cgroup.subtree_control"), "+memory")
            .context("cannot enable memory accounting")
    }

    /// Lets cgroups limit memory, where they are of version 1, too: then this thread, and what it starts, has
    /// these in place of others.
    pub fn show_those_with_memory() -> Result<()> {
        let controllers = fs::read_to_string(Path::new(MOUNT).join("cgroup.controllers"));
        if controllers.is_ok_and(|all| all.split_whitespace().any(|one| one == "memory")) {
            return Self::enable_memory_accounting();
        }
        // SAFETY: a separate mount namespace changes nothing that memory safety depends on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
        mount_change("/", private)?;
        mount(
            "cgroup",
            MOUNT,
            "cgroup",
            MountFlags::empty(),
            Some(c"memory"),
        )
        .context("cannot mount the cgroups that limit memory")
    }

    /// The memory usage in bytes.
    pub fn memory(&self) -> Result<u64> {
        Ok(fs::read_to_string(self.0.join("memory.current"))?
            .trim()
            .parse()?)
    }

    /// Limits the memory to this many bytes, or not at all.
    pub fn limit_memory(&self, bytes: Option<u64>) -> Result<()> {
        let version_1 = self.0.join("memory.limit_in_bytes");
        if let (true, Some(bytes)) = (version_1.exists(), bytes) {
            return Ok(fs::write(version_1, bytes.to_string())?);
        }
        let limit = bytes.map_or("max".to_owned(), |bytes| bytes.to_string());
        Ok(fs::write(self.0.join("memory.max"), limit)?)
    }

    /// The id of the root cgroup.
    pub fn root_id() -> Result<u64> {
        Ok(fs::metadata(MOUNT)?.ino())
    }

    /// Its id.
    pub fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.0)?.ino())
    }
}

fn move_process(pid: u32, cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), pid.to_string())
        .with_context(|| format!("cannot move a process to {}", cgroup.display()))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // After a failed case, processes may still be in it.
        let _ = fs::remove_dir(&self.0);
    }
}
