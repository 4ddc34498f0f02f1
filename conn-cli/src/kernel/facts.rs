//! What this machine supports, looked up after a hook could not be attached: the error number
//! alone does not show the cause.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
};

use rustix::process::{Resource, getrlimit};

use super::{
    attach::{ACCEPT, GRAFT},
    refusal::Facts,
    types,
};

/// Looks up all facts.
pub(super) fn gather() -> Facts {
    Facts {
        confidential: fs::read_to_string("/sys/kernel/security/lockdown")
            .is_ok_and(|text| text.contains("[confidentiality]")),
        sysfs: Path::new("/sys/kernel").exists(),
        kprobes: Path::new("/sys/bus/event_source/devices/kprobe").exists(),
        missing_symbol: missing_symbol(&[ACCEPT, GRAFT]),
        btf: Path::new(types::VMLINUX).exists(),
        memory_lock: memory_lock(),
        perf_paranoid: fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|&level| level > 2),
    }
}

/// The kernel's major and minor version, and its release as `uname -r` prints it.
pub(super) fn kernel_version() -> (Option<(u32, u32)>, String) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    (version(&release), release)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The first of these functions that the kernel does not have. None also if the kernel does not
/// list its symbols.
fn missing_symbol(wanted: &[&'static str]) -> Option<&'static str> {
    let symbols = BufReader::new(fs::File::open("/proc/kallsyms").ok()?);
    let mut missing = wanted.to_vec();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_strings_are_parsed() {
        assert_eq!(version("5.10.0-46-cloud-amd64"), Some((5, 10)));
        assert_eq!(version("6.12.117+deb13"), Some((6, 12)));
        assert_eq!(version("7.2-rc1"), Some((7, 2)));
        assert_eq!(version("linux"), None);
    }
}
