//! The object with the kretprobe pair, the tracepoint and the socket filter: what needs no BTF.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod accept;
#[path = "../shared/established.rs"]
mod established;
mod graft;
mod handoff;
#[path = "../shared/syn.rs"]
mod syn;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Lets the kernel lend the helpers that are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
