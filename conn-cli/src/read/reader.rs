//! Reads an input: unpacks it, recognises its format, and splits it into pieces that can be
//! parsed independently.

use std::io::{self, Read};

use super::{
    capture,
    cut::{Cutter, RecycledBuffers},
    encoding::Encoding,
    error::{ReadError, Stopped},
    foreign,
    head::{Head, Look},
    how::How,
    io::{read_once, read_some},
    piece::Piece,
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
    how: &How,
    recycled: &RecycledBuffers,
    emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), ReadError> {
    let head = magic(&mut input)?;
    let mut input = unpack::unpack(head, input, how.max_expansion)?;
    if how.format == Some(Format::Pcap) {
        return capture::cut(input, emit);
    }
    let start = magic(&mut input)?;
    // Programs of Windows begin a text with this mark.
    let text = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&start);
    let mut input = io::Cursor::new(text.to_vec()).chain(input);
    let mut head = Head::new(how);
    let mut error = None;
    let encoding = loop {
        let more = read_some(&mut input, head.bytes(), Head::MAX_LEN);
        let is_all = !matches!(more, Ok(true));
        error = error.or(more.err());
        match head.look(is_all) {
            Look::More => (),
            Look::Capture => {
                let input = io::Cursor::new(head.rest()).chain(Failing { error, input });
                return capture::cut(input, emit);
            }
            Look::Lines(encoding, lines) => emit(Piece::Lines(encoding, lines))?,
            Look::All(encoding) => break encoding,
            Look::Empty => return error.map_or(Ok(()), |error| Err(ReadError::Io(error))),
            Look::Unknown => {
                return Err(match error {
                    Some(error) => ReadError::Io(error),
                    None => ReadError::UnknownFormat(foreign::describe(head.first_lines())),
                });
            }
        }
    };
    emit(Piece::Recognised(head.recognised(encoding)))?;
    let input = io::Cursor::new(head.rest()).chain(Failing { error, input });
    cut_lines(encoding, input, recycled, emit)
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

/// Emits lines as soon as they are complete.
fn cut_lines(
    encoding: Encoding,
    mut input: impl Read,
    recycled: &RecycledBuffers,
    emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), ReadError> {
    let mut cutter = Cutter::new(encoding, recycled);
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
