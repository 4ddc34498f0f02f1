//! The socket filter that sees SYNs.
//!
//! It runs for each packet that reaches a packet socket, and passes none of them to the socket, so
//! nothing is copied. The sockets are bound to IPv4 and to IPv6. So they see each packet once, when
//! it is handed to that protocol, whatever bridges, bonds and VLANs it passed, and no outgoing
//! packets (`net/core/dev.c`, `__netif_receive_skb_core`). They also see SYNs that a firewall drops
//! after that.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::{map, socket_filter},
    maps::LruHashMap,
    programs::SkBuffContext,
};
use conn_common::{Address, HOOK_FILTER};
use conn_ebpf::{
    config, filter,
    packet::{Packet, Syn},
    record::{self, Stage},
    self_test,
};

/// Identifies a SYN: a retransmission has the same values, any other SYN has different ones. Byte
/// orders as in [`Syn`].
#[repr(C)]
struct SynId {
    remote_address: Address,
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

/// The filter of the packet sockets.
#[socket_filter]
pub(crate) fn conn_syn(ctx: SkBuffContext) -> i64 {
    let packet = Packet::new(&ctx);
    if let Some(syn) = packet.syn() {
        count_syn(&syn, packet.interface());
    }
    0
}

/// The packet sockets are in one network namespace: the wanted one, if there is a filter.
#[inline(always)]
fn netns() -> u32 {
    config::setting(|config| &config.netns)
}

#[inline(always)]
fn count_syn(syn: &Syn, interface: u32) {
    if self_test::is_done(&syn.ends, Stage::Syn, 0) || !filter::wants_ends(&syn.ends) {
        return;
    }
    let id = SynId {
        remote_address: syn.ends.remote_address,
        remote_port: syn.ends.remote_port,
        local_port: syn.ends.local_port,
        sequence: syn.sequence,
    };
    if SYNS.get_ptr(&id).is_none() {
        match SYNS.insert(&id, interface, u64::from(BPF_NOEXIST)) {
            // Another CPU inserted the same SYN first.
            Err(EEXIST) => (),
            // On any other error a retransmission may count as a first SYN, at worst.
            _ => return record::syn(&syn.ends, HOOK_FILTER, netns),
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
