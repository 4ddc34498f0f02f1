//! The object with the fentry program. It is apart from the others because it cannot be
//! loaded without BTF, and they can.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[path = "../shared/established.rs"]
mod established;
mod graft;
#[path = "../shared/syn.rs"]
mod syn;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Lets the kernel lend the helpers that are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
