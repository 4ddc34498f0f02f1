//! Runs programs and takes their time.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What one run of a program took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    /// In user space and in the kernel, of all its threads and children.
    pub(super) cpu: Duration,
    /// Its resident memory at its peak, in bytes.
    pub(super) peak: u64,
    /// Whether it says that all went well.
    pub(super) is_well: bool,
}

/// Where a program writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum To<'a> {
    /// Into a file, since a pipe would have to be read meanwhile.
    File(&'a Path),
    Nowhere,
}

/// Runs a program to its end. `err`: where to keep what it says, which is shown if it fails.
pub(super) fn run(command: &mut Command, to: To<'_>, err: &Path) -> Result<Cost> {
    let stdout = match to {
        To::File(path) => File::create(path)?.into(),
        To::Nowhere => Stdio::null(),
    };
    command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(File::create(err)?);
    let start = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let (status, usage) = wait(child.id())?;
    let wall = start.elapsed();
    if status != 0 {
        let said = fs::read_to_string(err)?;
        eprint!("{command:?} ended with status {status:#x}:\n{said}");
    }
    Ok(Cost {
        wall,
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        peak: usage.ru_maxrss as u64 * 1024,
        is_well: status == 0,
    })
}

/// Waits for a child, and returns what it has used; std tells only its status.
fn wait(pid: u32) -> Result<(i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: a rusage is numbers, of which all may be zero.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to what wait4 writes there. The child is ours, and nobody else
    // waits for it.
    let waited = unsafe { libc::wait4(pid as libc::pid_t, &mut status, 0, &mut usage) };
    match waited {
        -1 => Err(std::io::Error::last_os_error()).context("wait4"),
        _ => Ok((status, usage)),
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}

/// This process's own peak: what it starts begins with that, until it runs another program, and
/// the kernel does not tell these apart.
pub(super) fn own_peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let line = line.context("no VmHWM in /proc/self/status")?;
    Ok(line.trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

/// As long as it lives, what this thread starts runs on one processor.
pub(super) struct Pinned(CpuSet);

impl Pinned {
    /// To the last processor, since the first has most of the interrupts.
    pub(super) fn new() -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| all.is_set(cpu));
        let mut one = CpuSet::new();
        one.set(last.context("no processor")?);
        sched_setaffinity(None, &one)?;
        Ok(Self(all))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(None, &self.0) {
            eprintln!("cannot use all processors again: {error}");
        }
    }
}
