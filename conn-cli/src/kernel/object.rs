//! The compiled eBPF programs and how they are set up before they are loaded.

use anyhow::Context as _;
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use conn_common::{Config, PortBits, SocketOffsets};

#[cfg(target_arch = "x86_64")]
mod bytes {
    use super::include_bytes_aligned;
    pub(super) static KPROBE: &[u8] = include_bytes_aligned!("../../ebpf/x86_64/kprobe.o");
    pub(super) static FENTRY: &[u8] = include_bytes_aligned!("../../ebpf/x86_64/fentry.o");
}
#[cfg(target_arch = "aarch64")]
mod bytes {
    use super::include_bytes_aligned;
    pub(super) static KPROBE: &[u8] = include_bytes_aligned!("../../ebpf/aarch64/kprobe.o");
    pub(super) static FENTRY: &[u8] = include_bytes_aligned!("../../ebpf/aarch64/fentry.o");
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("conn-cli has eBPF objects for x86_64 and aarch64 only");

/// Which of the two objects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Object {
    /// The kretprobe pair and the tracepoint.
    Kprobe,
    /// The fentry program, apart because it cannot be loaded without BTF.
    Fentry,
}

/// How the programs shall run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The local ports to watch.
    pub ports: Box<PortBits>,
    /// Where the kernel keeps the fields of a socket.
    pub offsets: SocketOffsets,
    /// Whether to report every connection, or only to count.
    pub emit_events: bool,
    /// Entries of the map of totals.
    pub max_clients: u32,
    /// Bytes of the ring buffer.
    pub buffer_size: u32,
    /// Whether the programs' diagnostics are wanted.
    pub verbose: bool,
}

/// Creates the maps and prepares the programs, which are not loaded yet.
///
/// # Errors
/// The kernel's, such as a memory lock limit that is too low.
pub(super) fn open(object: Object, settings: &Settings) -> anyhow::Result<Ebpf> {
    let config = Config {
        emit_events: settings.emit_events.into(),
    };
    let log_level = if settings.verbose {
        aya_log::Level::Debug as u8
    } else {
        0
    };
    let mut loader = EbpfLoader::new();
    loader
        // There is nothing to relocate: the offsets are passed as a constant.
        .btf(None)
        .override_global("OFFSETS", bytemuck::bytes_of(&settings.offsets), true)
        .override_global("CONFIG", bytemuck::bytes_of(&config), true)
        .override_global("PORTS", &settings.ports[..], true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("CLIENTS", settings.max_clients)
        .map_max_entries("EVENTS", settings.buffer_size);
    if !settings.verbose {
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    let bytes = match object {
        Object::Kprobe => bytes::KPROBE,
        Object::Fentry => bytes::FENTRY,
    };
    loader.load(bytes).context("cannot create the eBPF maps")
}
