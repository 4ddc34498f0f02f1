//! Runs programs and measures what they cost.

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
    /// Its peak resident memory, in bytes.
    pub(super) peak: u64,
    /// Whether its exit status is 0.
    pub(super) succeeded: bool,
}

/// Where a program's standard output goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output<'a> {
    /// Into a file, because a pipe would need a reader during the run.
    File(&'a Path),
    Nowhere,
}

/// Runs a program to its end. Its standard error goes to the file `err`, and is shown if it fails.
pub(super) fn run(command: &mut Command, output: Output<'_>, err: &Path) -> Result<Cost> {
    let stdout = match output {
        Output::File(path) => File::create(path)?.into(),
        Output::Nowhere => Stdio::null(),
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
        let stderr = fs::read_to_string(err)?;
        eprint!("{command:?} ended with status {status:#x}:\n{stderr}");
    }
    Ok(Cost {
        wall,
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        peak: usage.ru_maxrss as u64 * 1024,
        succeeded: status == 0,
    })
}

/// Waits for a child, and returns its status and resource usage; std returns only the status.
pub(super) fn wait(pid: u32) -> Result<(i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: a `rusage` contains only integers, which can all be zero.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for what wait4 writes there. The child is ours, and nothing
    // else waits for it.
    let waited = unsafe { libc::wait4(pid as libc::pid_t, &mut status, 0, &mut usage) };
    match waited {
        -1 => Err(std::io::Error::last_os_error()).context("wait4"),
        _ => Ok((status, usage)),
    }
}

pub(super) fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}

/// The peak memory of this process. A child begins with the same memory until it calls exec, and
/// the kernel reports one peak for both.
pub(super) fn own_peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let line = line.context("no VmHWM in /proc/self/status")?;
    Ok(line.trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

/// While it lives, processes that this thread starts run on one processor.
pub(super) struct Pinned(CpuSet);

impl Pinned {
    /// Pins to the last processor, because the first handles most interrupts.
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
