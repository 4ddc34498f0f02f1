//! What the eBPF programs of conn-cli share: the maps, the readers of sockets and packets, the
//! filters, and the recording of connections.
//!
//! The programs are in two binaries, with a file for each hook: `kprobe` (kretprobe and kprobe) and
//! `btf` (LSM and fentry, and those of `kprobe` again). The programs of both (tracepoint, sock_ops and socket filter) are in `shared`.
//! `cargo xtask ebpf` compiles them for the kernel. For the host they compile to binaries that do
//! nothing, so that `cargo check`, `clippy` and `doc` work with stable Rust.
//!
//! The kernel's verifier follows every path of a program. So this code has no formatting, no
//! division, no slice indexing, and no copies so large that they become a call.
#![cfg_attr(target_arch = "bpf", no_std, feature(asm_experimental_arch))]

pub mod config;
mod counters;
pub mod filter;
mod heavy;
mod maps;
mod memory;
pub mod namespace;
mod over;
pub mod packet;
pub mod record;
pub mod self_test;
mod series;
pub mod skb;
pub mod socket;
pub mod stage;
pub mod syn;
mod task;

/// Never reached: the verifier refuses to load a program with a panic that survived compilation.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
