//! The object with the programs that need BTF, and with all the others, since the programs of a run
//! share their maps.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[path = "../kprobe/accept.rs"]
mod accept;
#[path = "../shared/established.rs"]
mod established;
mod fentry;
mod graft;
#[path = "../kprobe/handoff.rs"]
mod handoff;
#[path = "../kprobe/graft.rs"]
mod kprobe;
mod lsm;
mod requests;
#[path = "../shared/sockops.rs"]
mod sockops;
#[path = "../shared/syn.rs"]
mod syn;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// The kernel offers some helpers only to GPL-compatible programs (`include/linux/license.h`).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
