//! Drops privileges once the probes are attached.

use anyhow::Context as _;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::kernel_version::kernel_version;

/// Drops all capabilities, and the right to gain new ones by `execve`. Before Linux 6.1 it keeps
/// `CAP_BPF`, since reading the totals at the end needs it there if unprivileged eBPF is off
/// (`kernel/bpf/syscall.c`, `__sys_bpf`).
/// Must be called before any thread is started: each has its own capabilities.
///
/// # Errors
/// An error of the system.
pub(crate) fn drop_privileges() -> anyhow::Result<()> {
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    let held = capabilities(None).context("cannot read the capabilities")?;
    let (version, _) = kernel_version();
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
    fn only_the_capability_for_reading_maps_is_retained() {
        let all = CapabilitySet::all();
        assert_eq!(retained(all, true), CapabilitySet::BPF);
        assert_eq!(retained(all, false), CapabilitySet::empty());
        let admin = CapabilitySet::SYS_ADMIN;
        assert_eq!(retained(admin | CapabilitySet::NET_RAW, true), admin);
    }
}
