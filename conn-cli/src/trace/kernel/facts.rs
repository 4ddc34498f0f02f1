//! What this machine supports, looked up after a hook could not be attached: the error number
//! alone does not show the cause.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
};

use rustix::process::{Resource, getrlimit};

use super::{refusal::Facts, types::VMLINUX};
use crate::{model::hook::Hook, system::kernel_version::kernel_version};

/// Looks up all facts, for a hook.
pub(super) fn gather(hook: Hook) -> Facts {
    Facts {
        confidential: fs::read_to_string("/sys/kernel/security/lockdown")
            .is_ok_and(|text| text.contains("[confidentiality]")),
        sysfs: Path::new("/sys/kernel").exists(),
        kprobes: Path::new("/sys/bus/event_source/devices/kprobe").exists(),
        missing_symbol: missing_symbol(hook.functions().collect()),
        btf: Path::new(VMLINUX).exists(),
        memory_lock: memory_lock(),
        perf_paranoid: fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|&level| level > 2),
    }
}

/// The first of these functions that the kernel does not have. None also if the kernel does not
/// list its symbols.
fn missing_symbol(mut missing: Vec<&'static str>) -> Option<&'static str> {
    let symbols = BufReader::new(fs::File::open("/proc/kallsyms").ok()?);
    let mut has_symbols = false;
    for line in symbols.lines().map_while(Result::ok) {
        has_symbols = true;
        if let Some(name) = line.split_whitespace().nth(2) {
            missing.retain(|wanted| *wanted != name);
        }
    }
    missing.first().filter(|_| has_symbols).copied()
}

fn memory_lock() -> Option<u64> {
    // Linux 5.11 and later charge maps to the memory cgroup instead.
    let charged = kernel_version().0.is_some_and(|version| version < (5, 11));
    charged
        .then(|| getrlimit(Resource::Memlock).current)
        .flatten()
}
