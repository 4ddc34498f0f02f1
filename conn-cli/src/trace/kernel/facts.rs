//! What this machine supports, looked up after a hook could not be attached: the error number
//! alone does not show the cause.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use rustix::process::{Resource, getrlimit};

use super::{
    bpf::{create_array, create_ring_buffer},
    lockdown,
    refusal::{Facts, errno},
    requirements::require,
    types::VMLINUX,
};
use crate::{model::hook::Hook, system::machine};

/// Looks up all facts, for a hook that failed with this error.
pub(super) fn gather(hook: Hook, error: &anyhow::Error) -> Facts {
    Facts {
        confidential: lockdown::is_confidential(),
        sysfs: Path::new("/sys/kernel").exists(),
        kprobes: Path::new("/sys/bus/event_source/devices/kprobe").exists(),
        missing_symbol: missing_symbol(hook.functions().collect()),
        btf: Path::new(VMLINUX).exists(),
        // It creates a map as large as the limit.
        memory_lock: match errno(error) {
            Some(libc::EPERM) => memory_lock(),
            _ => None,
        },
        capable: require().is_ok(),
        initial_user_namespace: machine::is_in_initial_user_namespace(),
        ring_buffer: !matches!(
            create_ring_buffer(),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL)
        ),
        perf_paranoid: fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|&level| level > 2),
    }
}

/// The first of these functions that the kernel does not have. None also if the kernel does not
/// list its symbols.
fn missing_symbol(mut missing: Vec<&'static str>) -> Option<&'static str> {
    let mut symbols = BufReader::new(fs::File::open("/proc/kallsyms").ok()?);
    let mut has_symbols = false;
    // There are some 200,000: `ffffffff81000000 T _text`.
    let mut line = Vec::new();
    while symbols.read_until(b'\n', &mut line).ok()? > 0 {
        has_symbols = true;
        let name = line.split(|byte| b" \t\n".contains(byte)).nth(2);
        missing.retain(|wanted| Some(wanted.as_bytes()) != name);
        line.clear();
    }
    missing.first().filter(|_| has_symbols).copied()
}

/// The limit, if maps are charged to it: then a map of this size is refused, and a small one is not.
/// Since Linux 5.11 maps are charged to the memory cgroup instead.
fn memory_lock() -> Option<u64> {
    let limit = getrlimit(Resource::Memlock).current?;
    if limit > MAX_CHECKED_LOCK {
        return None;
    }
    let is_refused = |map: io::Result<_>| {
        map.is_err_and(|error: io::Error| error.raw_os_error() == Some(libc::EPERM))
    };
    let is_charged = is_refused(create_array(limit + 4096)) && !is_refused(create_array(8));
    is_charged.then_some(limit)
}

/// A larger limit than this is not checked, since the map that would exceed it takes memory. All maps
/// of the default sizes take less.
const MAX_CHECKED_LOCK: u64 = 128 << 20;
