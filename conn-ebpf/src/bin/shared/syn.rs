//! The socket filter that sees SYNs.
//!
//! It runs for each packet that reaches a packet socket, and passes none of them to the socket, so
//! nothing is copied. The sockets are bound to IPv4 and to IPv6. So they see each packet once, when
//! it is handed to that protocol, whatever bridges, bonds and VLANs it passed, and no outgoing
//! packets (`net/core/dev.c`, `__netif_receive_skb_core`). They also see SYNs that a firewall drops
//! after that.

use aya_ebpf::{macros::socket_filter, programs::SkBuffContext};
use conn_common::HOOK_FILTER;
use conn_ebpf::{config, packet::Packet, record, syn};

/// The filter of the packet sockets.
#[socket_filter]
pub(crate) fn conn_syn(ctx: SkBuffContext) -> i64 {
    let packet = Packet::new(&ctx);
    match packet.syn() {
        Ok(Some(mut syn)) => {
            if syn::is_wanted(&mut syn) {
                syn::count(&syn, packet.interface(), HOOK_FILTER, netns);
            }
        }
        Ok(None) => (),
        Err(_) => record::unreadable_packet(),
    }
    0
}

/// The packet sockets are in one network namespace: the wanted one, if there is a filter.
#[inline(always)]
fn netns() -> u32 {
    config::setting(|config| &config.netns)
}
