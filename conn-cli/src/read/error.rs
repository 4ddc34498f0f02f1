//! Why reading ends early.

use std::io;

use super::foreign::Unknown;

/// The receiver wants no more pieces.
#[derive(Debug)]
pub struct Stopped;

/// Why an input was not read to its end.
#[derive(Debug)]
pub enum ReadError {
    /// The receiver wants no more pieces.
    Stopped,
    /// Its format was not recognised: what its first line is, and what is known of it.
    UnknownFormat(Unknown),
    /// It cannot be read, is damaged or truncated.
    Io(io::Error),
}

impl From<Stopped> for ReadError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
