//! What every hook needs, checked before any is tried.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::{Refusal, bpf};

/// Checks the requirements of all hooks before any hook is tried.
///
/// # Errors
/// The requirement that is not met.
pub fn require() -> Result<(), Refusal> {
    match capabilities(None) {
        Ok(sets) if !suffices(sets.effective) => Err(Refusal::NotPermitted),
        // If the capabilities cannot be read, the kernel refuses later what is not permitted.
        _ => Ok(()),
    }
}

/// Whether this process can only read maps with the capabilities that it has now. Before Linux 6.1
/// that is so if unprivileged eBPF is off (`kernel/bpf/syscall.c`, `__sys_bpf`). Call this before a
/// hook is attached, since while a map is read the kernel may skip programs.
#[must_use]
pub fn reading_maps_needs_capabilities() -> bool {
    let (Ok(array), Ok(held)) = (bpf::create_array(8), capabilities(None)) else {
        return true;
    };
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        ..held
    };
    if set_capabilities(None, none).is_err() {
        return true;
    }
    let is_refused = bpf::read_entry(&array).is_err();
    // It only raises what is permitted, which never fails.
    let _ = set_capabilities(None, held);
    is_refused
}

fn suffices(effective: CapabilitySet) -> bool {
    effective.contains(CapabilitySet::SYS_ADMIN)
        || effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
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
}
