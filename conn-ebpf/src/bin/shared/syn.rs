//! The socket filter that sees SYNs: a client asks for a connection.
//!
//! It runs for each packet that comes to a packet socket, and lets none of them into it: nothing
//! is copied. The sockets are bound to IPv4 and to IPv6, so they see a packet once, when it is
//! handed to that protocol, whatever bridges, bonds and VLANs it has come by, and none that go
//! out (`net/core/dev.c`, `__netif_receive_skb_core`). What a firewall drops after that has
//! been asked for, too.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::{map, socket_filter},
    maps::LruHashMap,
    programs::SkBuffContext,
};
use conn_common::{Address, HOOK_FILTER};
use conn_ebpf::{
    filter,
    packet::{Packet, Syn},
    record,
};

/// What a SYN that is sent again has in common with the first, and no other SYN has.
#[repr(C)]
struct Sent {
    remote_address: Address,
    remote_port: u16,
    local_port: u16,
    sequence: u32,
}

/// The last SYNs, each with the interface that it came by. The user side sets the size.
#[map]
static SYNS: LruHashMap<Sent, u32> = LruHashMap::with_max_entries(1, 0);

/// The kernel's error for an entry that is there, `include/uapi/asm-generic/errno-base.h`.
const EEXIST: i32 = -17;

/// The filter of the packet sockets.
#[socket_filter]
pub(crate) fn conn_syn(ctx: SkBuffContext) -> i64 {
    let packet = Packet::new(&ctx);
    if let Some(syn) = packet.syn() {
        take(&syn, packet.interface());
    }
    0
}

#[inline(always)]
fn take(syn: &Syn, interface: u32) {
    if !filter::wants_ends(&syn.ends) {
        return;
    }
    let sent = Sent {
        remote_address: syn.ends.remote_address,
        remote_port: syn.ends.remote_port,
        local_port: syn.ends.local_port,
        sequence: syn.sequence,
    };
    if SYNS.get_ptr(&sent).is_none() {
        match SYNS.insert(&sent, interface, u64::from(BPF_NOEXIST)) {
            // Another processor has been faster with the same.
            Err(EEXIST) => (),
            // If there is no room, at worst a repetition will be taken for a first one.
            _ => return record::syn(&syn.ends, HOOK_FILTER),
        }
    }
    // SAFETY: a pointer to a value of the map. Should it have been reused meanwhile, it is another
    // SYN's interface.
    let first = SYNS.get_ptr(&sent).map(|first| unsafe { *first });
    // By another interface it is the same packet, on its way.
    if first == Some(interface) {
        record::syn_again(&syn.ends);
    }
}
