//! The root of cgroup v2, and the link that attaches a program to it.
//!
//! aya decides by the version that uname(2) tells how to attach. Its older way, `BPF_PROG_ATTACH`,
//! would leave the program on the root when conn-cli is killed.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use rustix::{
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::Refusal;
use crate::system::cgroups;

/// The inode number of the root of each hierarchy (`kernel/cgroup/cgroup.c`, `cgroup_setup_root`):
/// the root that a cgroup namespace shows has another one.
const ROOT_INODE: u64 = 1;

/// `BPF_LINK_CREATE` of `include/uapi/linux/bpf.h`, in Linux since 5.7 for cgroups.
const BPF_LINK_CREATE: libc::c_long = 28;
/// `BPF_PROG_QUERY` of the same file.
const BPF_PROG_QUERY: libc::c_long = 16;
/// `BPF_CGROUP_SOCK_OPS` of the same file.
const BPF_CGROUP_SOCK_OPS: u32 = 3;
/// `BPF_F_ALLOW_MULTI` of the same file.
const BPF_F_ALLOW_MULTI: u32 = 2;

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
    let stat = rustix::fs::fstat(directory);
    stat.is_ok_and(|stat| stat.st_ino == ROOT_INODE)
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

/// Attaches a `sock_ops` program beside those that are there. It is detached when the link is
/// closed, also if the process is killed.
///
/// # Errors
/// Why the kernel does not attach it.
pub(super) fn attach(program: impl AsFd, root: &OwnedFd) -> anyhow::Result<OwnedFd> {
    // `link_create` of union bpf_attr: prog_fd, target_fd, attach_type, flags.
    let attributes: [u32; 4] = [
        raw(program.as_fd()),
        raw(root.as_fd()),
        BPF_CGROUP_SOCK_OPS,
        0,
    ];
    match bpf(BPF_LINK_CREATE, &mut { attributes }) {
        // SAFETY: the kernel returned this new descriptor, which nothing else owns.
        Ok(link) => Ok(unsafe { OwnedFd::from_raw_fd(link) }),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && holds_an_exclusive(root) => {
            Err(Refusal::RootCgroupTaken.into())
        }
        Err(error) => Err(anyhow::Error::new(error).context("cannot attach to the root cgroup")),
    }
}

/// Whether a program is attached to it that allows no other one (`kernel/bpf/cgroup.c`,
/// `__cgroup_bpf_attach`).
fn holds_an_exclusive(root: &OwnedFd) -> bool {
    // `query` of union bpf_attr: target_fd, attach_type, query_flags, attach_flags, prog_ids (two
    // words), prog_cnt, and in newer kernels further fields.
    let mut attributes = [0; 7];
    attributes[0] = raw(root.as_fd());
    attributes[1] = BPF_CGROUP_SOCK_OPS;
    let queried = bpf(BPF_PROG_QUERY, &mut attributes);
    let (flags, programs) = (attributes[3], attributes[6]);
    queried.is_ok() && programs > 0 && flags & BPF_F_ALLOW_MULTI == 0
}

fn raw(fd: std::os::fd::BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// The system call bpf(2).
fn bpf<const N: usize>(command: libc::c_long, attributes: &mut [u32; N]) -> io::Result<i32> {
    // SAFETY: the attributes are valid for reads and writes for as long as the call takes, and their
    // size is passed; those that are not passed are 0 for the kernel. Their only pointer is null.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of::<[u32; N]>(),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result as i32),
    }
}
