//! The root of cgroup v2, and the link that attaches a program to it. aya would attach in another
//! way if uname(2) told an old version: by `BPF_PROG_ATTACH`, which leaves the program there when
//! conn-cli is killed.

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use rustix::{
    fs::{fstat, fstatfs},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{Refusal, bpf};
use crate::system::cgroups::{self, CGROUP2_SUPER_MAGIC};

/// The inode number of the root of each hierarchy (`kernel/cgroup/cgroup.c`, `cgroup_setup_root`):
/// the root that a cgroup namespace shows has another one.
const ROOT_INODE: u64 = 1;

/// `BPF_CGROUP_SOCK_OPS` of `include/uapi/linux/bpf.h`.
const BPF_CGROUP_SOCK_OPS: u32 = 3;

/// The root of cgroup v2: where it is mounted, else by mounting it where nobody sees it.
///
/// # Errors
/// Why it cannot be had.
pub(super) fn open() -> Result<OwnedFd, Refusal> {
    let mounted = cgroups::mount_point().and_then(|path| File::open(path).ok());
    if let Some(root) = mounted.map(OwnedFd::from).filter(is_root) {
        return Ok(root);
    }
    // Within a cgroup namespace, a new mount shows the namespace's root, too. That of process 1 is
    // the initial one, unless this is a PID namespace.
    new_mount()
        .filter(is_root)
        .or_else(|| in_namespace_of_init(new_mount).filter(is_root))
        .ok_or(Refusal::NoRootCgroup)
}

fn is_root(directory: &OwnedFd) -> bool {
    // The root of another file system may have this number, too.
    let is_cgroup2 = fstatfs(directory).is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC);
    is_cgroup2 && fstat(directory).is_ok_and(|stat| stat.st_ino == ROOT_INODE)
}

/// A mount of cgroup v2 that is in no mount namespace. It needs `CAP_SYS_ADMIN`.
fn new_mount() -> Option<OwnedFd> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
    fsconfig_create(&context).ok()?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .ok()
}

/// Runs `run` in the cgroup namespace of process 1, if that can be entered.
fn in_namespace_of_init<T>(run: impl FnOnce() -> Option<T>) -> Option<T> {
    let own = File::open("/proc/self/ns/cgroup").ok()?;
    let init = File::open("/proc/1/ns/cgroup").ok()?;
    if own.metadata().ok()?.ino() == init.metadata().ok()?.ino() {
        return None;
    }
    let kind = Some(LinkNameSpaceType::ControlGroup);
    move_into_link_name_space(init.as_fd(), kind).ok()?;
    let result = run();
    move_into_link_name_space(own.as_fd(), kind).ok()?;
    result
}

/// Attaches a `sock_ops` program to it, until the link is closed.
///
/// # Errors
/// Why the kernel does not attach it.
pub(super) fn attach(program: impl AsFd, root: &OwnedFd) -> anyhow::Result<OwnedFd> {
    match bpf::create_link(program, root, BPF_CGROUP_SOCK_OPS) {
        Ok(link) => Ok(link),
        Err(error)
            if error.raw_os_error() == Some(libc::EPERM)
                && bpf::holds_an_exclusive(root, BPF_CGROUP_SOCK_OPS) =>
        {
            Err(Refusal::RootCgroupTaken.into())
        }
        Err(error) => Err(anyhow::Error::new(error).context("cannot attach to the root cgroup")),
    }
}
