//! Reading from an input.

use std::io::{self, Read};

/// Appends at most `max_len` bytes; returns false at the end of the input.
pub(crate) fn read_some(
    input: &mut impl Read,
    buffer: &mut Vec<u8>,
    max_len: usize,
) -> io::Result<bool> {
    let before = buffer.len();
    buffer.resize(before + max_len, 0);
    let read = read_once(input, &mut buffer[before..]);
    buffer.truncate(before + *read.as_ref().unwrap_or(&0));
    Ok(read? > 0)
}

/// Reads once, and again if a signal interrupts it; returns 0 at the end of the input.
///
/// # Errors
/// I/O errors.
pub(crate) fn read_once(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            read => return read,
        }
    }
}
