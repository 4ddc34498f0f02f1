//! Reads an input: unpacks it, recognises its format, and splits it into pieces that can be
//! parsed independently.

use std::io::{self, Read};

use super::{
    capture,
    cut::{Cutter, RecycledBuffers},
    error::{ReadError, Stopped},
    io::{read_once, read_some},
    piece::Piece,
    recognise::MAX_HEAD_LEN,
    unpack,
};
use crate::model::format::Format;

/// Reads one input and emits its pieces in their order, those before an error included.
/// `recycled`: buffers of earlier pieces.
///
/// # Errors
/// Why the input was not read to its end.
pub fn read(
    mut input: impl Read,
    format: Option<Format>,
    recycled: &RecycledBuffers,
    emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), ReadError> {
    let head = magic(&mut input)?;
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
                _ => cut_lines(format, input, recycled, emit),
            }
        }
        None => match error {
            Some(error) => Err(ReadError::Io(error)),
            None if head.is_empty() => Ok(()),
            None => Err(ReadError::UnknownFormat),
        },
    }
}

/// The first bytes of an input, which show how it is compressed.
pub(crate) fn magic(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while head.len() < unpack::MAGIC_LEN && read_some(input, &mut head, unpack::MAGIC_LEN)? {}
    Ok(head)
}

/// A reader whose next read returns the error, if there is one.
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

/// Reads into `head` until the format is recognised. Returns also the error that ended it.
fn recognise(input: &mut impl Read, head: &mut Vec<u8>) -> (Option<Format>, Option<io::Error>) {
    loop {
        let more = read_some(input, head, MAX_HEAD_LEN);
        let is_all = !matches!(more, Ok(true)) || head.len() >= MAX_HEAD_LEN;
        let format = Format::recognise(head, is_all);
        if format.is_some() || is_all {
            return (format, more.err());
        }
    }
}

/// Emits lines as soon as they are complete.
fn cut_lines(
    format: Format,
    mut input: impl Read,
    recycled: &RecycledBuffers,
    emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), ReadError> {
    let mut cutter = Cutter::new(format, recycled);
    let end = loop {
        match read_once(&mut input, cutter.room()) {
            Ok(0) => break Ok(()),
            Ok(read) => cutter.push(read, emit)?,
            Err(error) => break Err(ReadError::Io(error)),
        }
    };
    cutter.finish(emit)?;
    end
}
