//! Checks the privileges that tracing needs, and drops them once the probes are attached.

use anyhow::Context as _;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::{Refusal, facts};

/// Checks the requirements of all hooks before any hook is tried.
///
/// # Errors
/// The requirement that is not met.
pub fn require() -> Result<(), Refusal> {
    let (version, release) = facts::kernel_version();
    if version.is_some_and(|version| version < (5, 8)) {
        return Err(Refusal::OldKernel(release));
    }
    match capabilities(None) {
        Ok(sets) if !suffices(sets.effective) => Err(Refusal::NotPermitted),
        // If the capabilities cannot be read, the kernel refuses later what is not permitted.
        _ => Ok(()),
    }
}

fn suffices(effective: CapabilitySet) -> bool {
    effective.contains(CapabilitySet::SYS_ADMIN)
        || effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
}

/// Drops all capabilities, and the right to gain new ones by `execve`. Before Linux 6.1 it keeps
/// `CAP_BPF`, since reading the totals at the end needs it there if unprivileged eBPF is off
/// (`kernel/bpf/syscall.c`, `__sys_bpf`).
/// Must be called before any thread is started: each has its own capabilities.
///
/// # Errors
/// An error of the system.
pub fn drop_privileges() -> anyhow::Result<()> {
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    let held = capabilities(None).context("cannot read the capabilities")?;
    let (version, _) = facts::kernel_version();
    let retained = retained(
        held.permitted,
        version.is_none_or(|version| version < (6, 1)),
    );
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all() & !retained {
            // Fails for capabilities that this kernel does not have.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    let sets = CapabilitySets {
        effective: retained,
        permitted: retained,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context("cannot drop capabilities")
}

/// The capabilities to retain. `CAP_SYS_ADMIN` replaces `CAP_BPF` if the process has only that.
fn retained(permitted: CapabilitySet, to_read_maps: bool) -> CapabilitySet {
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
    fn bpf_with_perfmon_or_sys_admin_suffices() {
        assert!(suffices(CapabilitySet::BPF | CapabilitySet::PERFMON));
        assert!(suffices(CapabilitySet::SYS_ADMIN));
        assert!(!suffices(CapabilitySet::BPF));
        assert!(!suffices(CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN));
    }

    #[test]
    fn only_the_capability_for_reading_maps_is_retained() {
        let all = CapabilitySet::all();
        assert_eq!(retained(all, true), CapabilitySet::BPF);
        assert_eq!(retained(all, false), CapabilitySet::empty());
        let admin = CapabilitySet::SYS_ADMIN;
        assert_eq!(retained(admin | CapabilitySet::NET_RAW, true), admin);
    }
}
