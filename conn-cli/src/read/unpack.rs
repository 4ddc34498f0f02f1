//! Compressed files, told by how they begin.

use std::io::{self, Read};

/// How many bytes tell a compression.
pub const MAGIC: usize = 6;

/// The content of an input that begins with `head`: what it is compressed from, or itself.
/// `head` has at least [`MAGIC`] bytes, or is all there is.
///
/// # Errors
/// The decoder's.
pub fn unpack<'a>(head: Vec<u8>, rest: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(Box::new(io::Cursor::new(head).chain(rest)))
}
