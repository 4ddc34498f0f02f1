//! Opens up an input: unpacks it, tells what it is, and has it cut into pieces that can be
//! parsed each for itself.

use std::io::{self, Read};

use super::{
    Format,
    batch::Piece,
    capture,
    cut::{Cutter, Used},
    format::HEAD,
    unpack,
};

/// Whoever takes the pieces wants no more of them.
#[derive(Debug)]
pub struct Stopped;

/// Why an input was not read to its end.
#[derive(Debug)]
pub enum ReadError {
    /// Nobody wants the rest.
    Stopped,
    /// It cannot be told what it is.
    UnknownFormat,
    /// It cannot be read, is damaged, or cut.
    Io(io::Error),
}

/// Reads one input and hands on its pieces, in their order. What was complete before trouble
/// came has been handed on. `used`: buffers of pieces before.
///
/// # Errors
/// Why it was not read to its end.
pub fn read(
    mut input: impl Read,
    format: Option<Format>,
    used: &Used,
    emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), ReadError> {
    let mut head = Vec::new();
    while head.len() < unpack::MAGIC && read_some(&mut input, &mut head, unpack::MAGIC)? {}
    let mut input = unpack::unpack(head, input)?;

    let mut head = Vec::new();
    let (format, error) = match format {
        Some(format) => (Some(format), None),
        None => recognise(&mut input, &mut head),
    };
    match format {
        Some(format) => {
            let input = io::Cursor::new(head).chain(Failing { error, input });
            match format {
                Format::Pcap => capture::cut(input, emit),
                _ => cut_lines(format, input, used, emit),
            }
        }
        None => match error {
            Some(error) => Err(ReadError::Io(error)),
            None if head.is_empty() => Ok(()),
            None => Err(ReadError::UnknownFormat),
        },
    }
}

/// An input of which the next read fails, if there is an error.
struct Failing<R> {
    error: Option<io::Error>,
    input: R,
}

impl<R: Read> Read for Failing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.input.read(buffer),
        }
    }
}

/// Reads as much as tells the format, into `head`; and what went wrong after that.
fn recognise(input: &mut impl Read, head: &mut Vec<u8>) -> (Option<Format>, Option<io::Error>) {
    loop {
        let more = read_some(input, head, HEAD);
        let is_all = !matches!(more, Ok(true)) || head.len() >= HEAD;
        let format = Format::recognise(head, is_all);
        if format.is_some() || is_all {
            return (format, more.err());
        }
    }
}

/// Hands on whole lines as soon as they are there.
fn cut_lines(
    format: Format,
    mut input: impl Read,
    used: &Used,
    emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), ReadError> {
    let mut cutter = Cutter::new(format, used);
    let end = loop {
        match read_once(&mut input, cutter.room()) {
            Ok(0) => break Ok(()),
            Ok(read) => cutter.push(read, emit)?,
            Err(error) => break Err(ReadError::Io(error)),
        }
    };
    cutter.end(emit)?;
    end
}

/// Appends at most `most` bytes; false at the end.
fn read_some(input: &mut impl Read, buffer: &mut Vec<u8>, most: usize) -> io::Result<bool> {
    let before = buffer.len();
    buffer.resize(before + most, 0);
    let read = read_once(input, &mut buffer[before..]);
    buffer.truncate(before + *read.as_ref().unwrap_or(&0));
    Ok(read? > 0)
}

/// Reads what there is, whatever signals come; 0 at the end.
///
/// # Errors
/// The system's.
pub fn read_once(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            read => return read,
        }
    }
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
