//! The names of what the programs are attached to.

/// The kernel function that the kretprobe is on.
pub(super) const ACCEPT: &str = "inet_csk_accept";

/// The kernel function that the kprobe of the pair, or the fentry program, is on.
pub(super) const GRAFT: &str = "security_sock_graft";

/// The LSM hook that the LSM program is on, and the kernel function that it is attached to
/// (`kernel/bpf/bpf_lsm.c`).
pub(super) const LSM_HOOK: &str = "sock_graft";

pub(super) const LSM_GRAFT: &str = "bpf_lsm_sock_graft";

/// Where the kernel publishes its types, if it was built with `CONFIG_DEBUG_INFO_BTF`.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
