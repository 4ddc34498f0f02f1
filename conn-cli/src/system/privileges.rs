//! Drops privileges once the probes are attached.

use anyhow::Context as _;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Drops all capabilities of this thread, and the right to gain new ones by `execve`. It keeps
/// `CAP_BPF` if that is needed to read maps, and so the totals at the end. Threads that run already
/// keep what they have, so only those that need it may be started before.
///
/// # Errors
/// An error of the system.
pub(crate) fn drop_privileges(to_read_maps: bool) -> anyhow::Result<()> {
    let held = capabilities(None).context("cannot read the capabilities")?;
    retain(retained(held.permitted, to_read_maps))
}

/// Drops all capabilities of this thread but those of these that it has, and the right to gain new ones
/// by `execve`.
///
/// # Errors
/// An error of the system.
pub(crate) fn retain(wanted: CapabilitySet) -> anyhow::Result<()> {
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    let held = capabilities(None).context("cannot read the capabilities")?;
    let retained = held.permitted & wanted;
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
