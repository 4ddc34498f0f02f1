//! What a filter selects by a number or a path that can be used again: it is held, so that the number
//! stays its own, and watched.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::PathBuf,
};

use anyhow::{Context as _, anyhow, bail};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::cgroup::SelectedCgroup;
use crate::{
    model::{
        filter::{Namespace, TaskFilter},
        options::TraceOptions,
    },
    trace::kernel::Tracer,
};

/// The process, the network namespace and the cgroup that are asked for.
#[derive(Debug, Default)]
pub(super) struct Target {
    process: Option<Process>,
    netns: Option<OpenNamespace>,
    cgroup: Option<SelectedCgroup>,
}

#[derive(Debug)]
struct Process {
    pid: u32,
    /// Becomes readable when the process has ended.
    fd: OwnedFd,
}

/// It lives as long as the file is open.
#[derive(Debug)]
struct OpenNamespace {
    file: File,
    inode: u32,
}

impl Target {
    /// Finds what the options ask for. Needs a tokio runtime.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn hold(options: &TraceOptions) -> anyhow::Result<Self> {
        Ok(Self {
            process: options.task.pid.map(Process::open).transpose()?,
            netns: options.netns.one().map(OpenNamespace::open).transpose()?,
            cgroup: options
                .task
                .cgroup
                .as_deref()
                .map(SelectedCgroup::find)
                .transpose()?,
        })
    }

    /// The inode number of the network namespace.
    pub(super) fn netns(&self) -> Option<u32> {
        self.netns.as_ref().map(|netns| netns.inode)
    }

    /// A path by which this process can open the network namespace again.
    pub(super) fn netns_path(&self) -> Option<PathBuf> {
        let fd = self.netns.as_ref()?.file.as_raw_fd();
        Some(format!("/proc/self/fd/{fd}").into())
    }

    /// The filter on the accepting task, with a cgroup as the path of its directory.
    pub(super) fn task(&self, task: &TaskFilter) -> TaskFilter {
        let cgroup = self.cgroup.as_ref().map(SelectedCgroup::directory);
        TaskFilter {
            cgroup: cgroup.map(ToOwned::to_owned),
            ..task.clone()
        }
    }

    /// Returns once there may be another cgroup of this path, or none. Cancel safe.
    ///
    /// # Errors
    /// An error of the system.
    pub(super) async fn cgroup_changed(&self) -> anyhow::Result<()> {
        match &self.cgroup {
            Some(cgroup) => cgroup.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Has the programs count in the cgroup that has the path now. Returns whether connections were
    /// accepted there that do not count.
    pub(super) fn update_cgroup(&mut self, tracer: &mut Tracer) -> bool {
        let cgroup = self.cgroup.as_mut();
        cgroup.is_some_and(|cgroup| cgroup.update(tracer))
    }

    /// Returns once it has ended, with what ended. Cancel safe. Needs a tokio runtime.
    ///
    /// # Errors
    /// An error of the system.
    pub(super) async fn ended(&self) -> anyhow::Result<String> {
        let Some(process) = &self.process else {
            return std::future::pending().await;
        };
        let fd = process.fd.as_raw_fd();
        // SAFETY: this function borrows the process, which keeps the same descriptor open for longer
        // than the function runs.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        let _ended = fd.readable().await?;
        Ok(format!("process {}", process.pid))
    }
}

impl Process {
    fn open(pid: u32) -> anyhow::Result<Self> {
        let missing = || anyhow!("there is no process {pid}");
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.with_context(missing)?;
        let fd = pidfd_open(raw, PidfdFlags::empty()).map_err(|error| match error {
            Errno::SRCH => missing(),
            // It is not the first thread of its process (`kernel/pid.c`, `pidfd_prepare`).
            Errno::INVAL | Errno::NOENT => anyhow!("{pid} is a thread, not a process"),
            error => anyhow!("cannot watch process {pid}: {error}"),
        })?;
        Ok(Self { pid, fd })
    }
}

impl OpenNamespace {
    fn open(netns: &Namespace) -> anyhow::Result<Self> {
        let file = File::open(netns.path());
        let file = file.with_context(|| format!("cannot find the network namespace {netns}"))?;
        // SAFETY: this ioctl has no argument, and fails on a file that is not a namespace.
        let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        if kind != libc::CLONE_NEWNET {
            bail!("{netns} is not a network namespace");
        }
        // Inode numbers of namespaces have 32 bits (`include/linux/ns_common.h`).
        let inode = file.metadata()?.ino() as u32;
        Ok(Self { file, inode })
    }
}

/// From `include/uapi/linux/nsfs.h`: returns the type of a namespace.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
