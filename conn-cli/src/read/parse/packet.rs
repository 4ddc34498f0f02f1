//! From the bytes of a packet to a SYN.

use super::Wanted;
use crate::read::{Format, batch::Batch, capture::Packets};

/// Whether an input that begins like this is a pcap or pcapng file.
#[must_use]
pub fn is_capture(_head: &[u8]) -> bool {
    false
}

/// Parses packets.
#[must_use]
pub fn parse(_packets: &Packets, _wanted: Wanted) -> Batch {
    Batch::new(Format::Pcap)
}
