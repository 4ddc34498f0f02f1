//! Counts SYNs, the first of each apart from those that are sent again.

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::LruHashMap};
use conn_common::Address;

use crate::{filter, namespace::Unknown, record, self_test, socket::Ends, stage::Stage};

/// A SYN without ACK: a client's request for a connection.
pub struct Syn {
    /// The client, which is the sender, and the server.
    pub ends: Ends,
    /// The sequence number, network byte order. A retransmission has the same one.
    pub sequence: u32,
}

/// Identifies a SYN: a retransmission has the same values, any other SYN has different ones. Byte
/// orders as in [`Syn`].
#[repr(C)]
struct SynId {
    remote_address: Address,
    local_address: Address,
    remote_port: u16,
    local_port: u16,
    sequence: u32,
}

/// The last SYNs, each with the index of the interface on which it arrived first. The user side
/// sets the size.
#[map]
static SYNS: LruHashMap<SynId, u32> = LruHashMap::with_max_entries(1, 0);

/// The kernel's error for an entry that exists, `include/uapi/asm-generic/errno-base.h`.
const EEXIST: i32 = -17;

/// Whether a SYN is wanted: neither conn-cli's own, nor filtered out, apart from its network namespace. Finds out
/// the name of its client's network.
#[inline(always)]
#[must_use]
pub fn is_wanted(syn: &mut Syn) -> bool {
    !self_test::is_done(&syn.ends, Stage::Syn, &Unknown) && filter::wants_ends(&mut syn.ends)
}

/// Counts a SYN that arrived on this interface. `hook` is one of the `HOOK_` constants; `netns` finds
/// the network namespace.
#[inline(always)]
pub fn count(syn: &Syn, interface: u32, hook: u16, netns: impl FnOnce() -> u32) {
    let id = SynId {
        remote_address: syn.ends.remote_address,
        local_address: syn.ends.local_address,
        remote_port: syn.ends.remote_port,
        local_port: syn.ends.local_port,
        sequence: syn.sequence,
    };
    if SYNS.get_ptr(&id).is_none() {
        match SYNS.insert(&id, interface, u64::from(BPF_NOEXIST)) {
            // Another CPU inserted the same SYN first.
            Err(EEXIST) => (),
            inserted => {
                if inserted.is_ok() {
                    record::remembered();
                }
                // On an error a retransmission may count as a first SYN, at worst.
                return record::syn(&syn.ends, hook, netns);
            }
        }
    }
    // SAFETY: a pointer to a value of the map. If the kernel reused the entry meanwhile, it holds
    // another SYN's interface.
    let first_interface = SYNS.get_ptr(&id).map(|interface| unsafe { *interface });
    // On another interface it is the same packet, on its way through this machine.
    if first_interface == Some(interface) {
        record::syn_again(&syn.ends);
    }
}
