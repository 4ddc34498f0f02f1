//! What every hook needs, checked before any is tried.

use rustix::thread::{CapabilitySet, capabilities};

use super::Refusal;
use crate::system::kernel_version::kernel_version;

/// Checks the requirements of all hooks before any hook is tried.
///
/// # Errors
/// The requirement that is not met.
pub fn require() -> Result<(), Refusal> {
    let (version, release) = kernel_version();
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
