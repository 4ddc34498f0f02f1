//! What the eBPF programs of conn-cli share: the maps, the reading of a socket and of a
//! packet, the filters, and the recording of a connection.
//!
//! The programs themselves are in the two binaries, a file for each hook: `kprobe` (kretprobe
//! and kprobe) and `btf` (LSM and fentry); what both have (tracepoint and socket filter) is in
//! `shared`. `cargo xtask ebpf` compiles them for the kernel. For the host they compile to nothing
//! of use, so that `cargo check`, `clippy` and `doc` read this code with plain stable Rust.
//!
//! The kernel's verifier follows every path of a program. Hence no formatting, no
//! division, no slice indexing, and no copies so large that they become a call.
#![cfg_attr(target_arch = "bpf", no_std, feature(asm_experimental_arch))]

pub mod config;
pub mod filter;
pub mod packet;
pub mod record;
pub mod socket;

/// Never reached: a panic that survives compilation is refused by the verifier, and so
/// found when the program is loaded.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
