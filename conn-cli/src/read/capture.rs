//! Cuts a pcap or pcapng file into packets.

use std::io::Read;

use super::{batch::Piece, reader::Stopped};

/// Some packets of one input.
#[derive(Debug, Default)]
pub struct Packets {}

/// Reads a capture from its beginning and hands its packets on.
///
/// # Errors
/// The system's; `InvalidData` or `UnexpectedEof` if it is damaged or cut.
pub fn cut(
    _input: impl Read,
    _emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), super::reader::Trouble> {
    Ok(())
}
