//! Other programs that measure what conn-cli must report.

pub mod counters;
pub mod handshakes;
pub mod sockets;
pub mod tcpdump;
