//! What tracing needs of the process, and giving it up once the probes are attached.

use anyhow::Context as _;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::{Refusal, facts};

/// Checks what every hook needs, before anything is tried.
///
/// # Errors
/// What is missing.
pub fn require() -> Result<(), Refusal> {
    let (version, release) = facts::kernel_version();
    if version.is_some_and(|version| version < (5, 8)) {
        return Err(Refusal::OldKernel(release));
    }
    match capabilities(None) {
        Ok(sets) if !suffices(sets.effective) => Err(Refusal::NotPermitted),
        // If it cannot be told, the kernel will tell.
        _ => Ok(()),
    }
}

fn suffices(effective: CapabilitySet) -> bool {
    effective.contains(CapabilitySet::SYS_ADMIN)
        || effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
}

/// Gives up every capability, and the gaining of new ones by `execve`. Before Linux 6.1 it
/// keeps `CAP_BPF`, since there reading the totals at the end needs it
/// (`kernel/bpf/syscall.c`, `__sys_bpf`, where unprivileged eBPF is off).
/// To be called before there are threads: each has capabilities of its own.
///
/// # Errors
/// The system's.
pub fn drop_privileges() -> anyhow::Result<()> {
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    let held = capabilities(None).context("cannot read the capabilities")?;
    let (version, _) = facts::kernel_version();
    let kept = kept(
        held.permitted,
        version.is_none_or(|version| version < (6, 1)),
    );
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all() & !kept {
            // Fails for those that this kernel does not know.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context("cannot drop capabilities")
}

/// `CAP_SYS_ADMIN` stands in for `CAP_BPF` where a process has only that.
fn kept(permitted: CapabilitySet, to_read_maps: bool) -> CapabilitySet {
    if !to_read_maps {
        CapabilitySet::empty()
    } else if permitted.contains(CapabilitySet::BPF) {
        CapabilitySet::BPF
    } else {
        permitted & CapabilitySet::SYS_ADMIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_both_or_admin() {
        assert!(suffices(CapabilitySet::BPF | CapabilitySet::PERFMON));
        assert!(suffices(CapabilitySet::SYS_ADMIN));
        assert!(!suffices(CapabilitySet::BPF));
        assert!(!suffices(CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN));
    }

    #[test]
    fn only_what_reads_the_totals_is_kept() {
        let all = CapabilitySet::all();
        assert_eq!(kept(all, true), CapabilitySet::BPF);
        assert_eq!(kept(all, false), CapabilitySet::empty());
        let admin = CapabilitySet::SYS_ADMIN;
        assert_eq!(kept(admin | CapabilitySet::NET_RAW, true), admin);
    }
}
