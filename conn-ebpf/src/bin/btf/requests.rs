//! The functions of TCP that get SYNs, through kernel trampolines. They run in whichever task the
//! packet interrupted, in every network namespace, after the firewall, and for no packet but those of
//! handshakes.
//!
//! - `tcp_conn_request`: a SYN has come to a listener, whether that has room for it or not.
//! - `tcp_check_req`: a segment has come for a handshake that has begun. It is a SYN if the client has
//!   sent that again.
//! - `tcp_v4_send_reset`, `tcp_v6_send_reset`: a segment is answered with a reset, for example a SYN to a
//!   port on which nobody listens.
//!
//! A SYN for which the listener has no room, and one that is answered with a SYN cookie, comes to
//! `tcp_conn_request` each time that the client sends it. The port is that of the packet: a listener
//! to which the packet is steered (TPROXY, `sk_lookup`) may have another one.
//!
//! ```c
//! // net/ipv4/tcp_input.c
//! int tcp_conn_request(struct request_sock_ops *rsk_ops, const struct tcp_request_sock_ops *af_ops,
//!                      struct sock *sk, struct sk_buff *skb);
//! // net/ipv4/tcp_minisocks.c; further arguments follow
//! struct sock *tcp_check_req(struct sock *sk, struct sk_buff *skb, struct request_sock *req);
//! // net/ipv4/tcp_ipv4.c and net/ipv6/tcp_ipv6.c; a further argument follows since Linux 6.10
//! static void tcp_v4_send_reset(const struct sock *sk, struct sk_buff *skb);
//! static void tcp_v6_send_reset(const struct sock *sk, struct sk_buff *skb);
//! ```

use core::ffi::c_void;

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use conn_common::HOOK_REQUESTS;
use conn_ebpf::{
    config::request_offset,
    filter,
    namespace::{Namespace as _, OfSocket},
    record,
    skb::Skb,
    socket::{Direct, Fields as _, Socket},
    stage::Stage,
    syn,
};

/// `TCP_LISTEN` of `include/net/tcp_states.h`.
const TCP_LISTEN: u8 = 10;

/// Where SYNs are told apart by interface: here a packet comes only once.
const NO_INTERFACE: u32 = 0;

/// The fentry program on `tcp_conn_request`.
#[fentry(function = "tcp_conn_request")]
pub(crate) fn conn_request(ctx: FEntryContext) -> u32 {
    arrived(ctx.arg(2), ctx.arg(3));
    0
}

/// The fentry program on `tcp_check_req`.
#[fentry(function = "tcp_check_req")]
pub(crate) fn conn_check_req(ctx: FEntryContext) -> u32 {
    arrived(ctx.arg(0), ctx.arg(1));
    0
}

/// The fentry program on `tcp_v4_send_reset`.
#[fentry(function = "tcp_v4_send_reset")]
pub(crate) fn conn_reset_v4(ctx: FEntryContext) -> u32 {
    refused(ctx.arg(0), ctx.arg(1));
    0
}

/// The fentry program on `tcp_v6_send_reset`.
#[fentry(function = "tcp_v6_send_reset")]
pub(crate) fn conn_reset_v6(ctx: FEntryContext) -> u32 {
    refused(ctx.arg(0), ctx.arg(1));
    0
}

/// Counts the packet if it is a SYN. `sock`: the listener.
#[inline(always)]
fn arrived(sock: *const c_void, skb: *const c_void) {
    match Skb::new(skb).syn() {
        Ok(Some(mut syn)) => {
            let Some(listener) = Socket::new(sock) else {
                return;
            };
            let listener = Direct::new(listener);
            if syn::is_wanted(&mut syn) && filter::wants_namespace(&OfSocket(&listener), Stage::Syn)
            {
                syn::count(&syn, NO_INTERFACE, HOOK_REQUESTS, || listener.netns());
            }
        }
        Ok(None) => (),
        Err(_) => record::unreadable_packet(),
    }
}

/// Counts the packet as refused if it is a SYN. `sock`: the socket that it came to; null if there is
/// none.
#[inline(always)]
fn refused(sock: *const c_void, skb: *const c_void) {
    let skb = Skb::new(skb);
    match skb.syn() {
        Ok(Some(mut syn)) => {
            if syn::is_wanted(&mut syn) && wants_namespace(sock, skb) {
                // What comes to a listener has been counted.
                if !Socket::new(sock).is_some_and(is_listener) {
                    syn::count(&syn, NO_INTERFACE, HOOK_REQUESTS, || skb.inode());
                }
                record::refused(&syn.ends);
            }
        }
        Ok(None) => (),
        Err(_) => record::unreadable_packet(),
    }
}

/// Whether connections in the network namespace of the socket, or else of the packet, are wanted: what
/// comes to a listener has no device any more (`net/ipv4/tcp_ipv4.c`, `tcp_v4_rcv`).
#[inline(always)]
fn wants_namespace(sock: *const c_void, skb: Skb) -> bool {
    match Socket::new(sock) {
        // What is a user's has been counted as such.
        Some(sock) if is_listener(sock) => {
            filter::is_wanted_namespace(&OfSocket(&Direct::new(sock)))
        }
        Some(sock) => filter::wants_namespace(&OfSocket(&Direct::new(sock)), Stage::Syn),
        None => filter::wants_namespace(&skb, Stage::Syn),
    }
}

#[inline(always)]
fn is_listener(sock: Socket) -> bool {
    Direct::new(sock).common::<u8>(request_offset(|offsets| &offsets.state)) == TCP_LISTEN
}
