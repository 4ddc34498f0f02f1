//! Decompresses inputs, whose compression is recognised from their first bytes. Somebody else may have
//! made them, so memory and the length of the content are bounded.

mod expansion;

use std::{
    error::Error,
    io::{self, BufRead, BufReader, Read},
    num::NonZeroU32,
};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::{Action, Status, XzStream};
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError},
};

use self::expansion::Expansion;

/// The number of bytes from which a compression is recognised.
pub(crate) const MAGIC_LEN: usize = 6;

/// The most bytes that are read at once.
const READ_LEN: usize = 64 * 1024;

/// The largest window of a zstd frame, and the largest dictionary of an xz stream, in MiB. Only with
/// `--long=27` or `--ultra` does zstd make larger ones, and xz never does with a preset: `xz -9` has 64 MiB.
const MAX_WINDOW_MIB: u32 = 64;

/// The most memory for an xz stream, in KiB: its decoder takes some besides the dictionary.
const MAX_XZ_MEMORY_KIB: u32 = (MAX_WINDOW_MIB + 1) * 1024;

/// The supported compressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
    Xz,
}

/// How an input that begins with `head` is compressed.
#[must_use]
pub(crate) fn compression(head: &[u8]) -> Option<&'static str> {
    let compression = Compression::detect(head).ok().flatten();
    compression.map(Compression::name)
}

/// The decompressed content of an input that begins with `head`. `head` has at least
/// [`MAGIC_LEN`] bytes, or is the whole input. `max_expansion`: see [`Expansion`].
///
/// # Errors
/// If the compression is not supported.
pub(crate) fn unpack<'a>(
    head: Vec<u8>,
    rest: impl Read + 'a,
    max_expansion: Option<NonZeroU32>,
) -> io::Result<Box<dyn Read + 'a>> {
    let compression = Compression::detect(&head)?;
    let input = io::Cursor::new(head).chain(rest);
    let Some(compression) = compression else {
        return Ok(Box::new(input));
    };
    let input = BufReader::with_capacity(READ_LEN, input);
    let (expansion, input) = Expansion::new(max_expansion, input);
    let content: Box<dyn Read + 'a> = match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(Zstd::new(input)),
        Compression::Xz => Box::new(Xz::new(input)),
    };
    Ok(Box::new(Unpacked {
        compression,
        content,
        expansion,
    }))
}

impl Compression {
    /// None if the input is not compressed.
    fn detect(head: &[u8]) -> io::Result<Option<Self>> {
        if let Some((name, program)) = unsupported(head) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "it is compressed with {name}, which conn-cli does not read: try {program} \
                     FILE | conn-cli read"
                ),
            ));
        }
        Ok(match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            // A skippable frame.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        }
    }

    /// The program that decompresses every such file.
    fn program(self) -> &'static str {
        match self {
            Self::Gzip => "zcat",
            Self::Zstd => "zstd -dc --long=31",
            Self::Xz => "xzcat",
        }
    }

    /// What a decoder refers to, of whatever length.
    fn window(self) -> &'static str {
        match self {
            Self::Gzip | Self::Zstd => "window",
            Self::Xz => "dictionary",
        }
    }

    /// Turns an error of a decoder into one with a message for the user.
    fn explain(self, error: &io::Error) -> io::Error {
        let (name, mut program, window) = (self.name(), self.program(), self.window());
        let cause = cause(error);
        if let Some(code) = cause.raw_os_error() {
            return io::Error::from_raw_os_error(code);
        }
        let needs = match cause.kind() {
            io::ErrorKind::OutOfMemory => {
                format!("a {window} of more than {MAX_WINDOW_MIB} MiB")
            }
            io::ErrorKind::Unsupported if self == Self::Zstd => {
                program = "zstd -dc -D DICTIONARY";
                "a dictionary".to_owned()
            }
            io::ErrorKind::Unsupported => "a filter that conn-cli does not have".to_owned(),
            kind => {
                let kind = match kind {
                    kind @ io::ErrorKind::UnexpectedEof => kind,
                    _ => io::ErrorKind::InvalidData,
                };
                let what = format!("the {name} data is truncated or damaged");
                return io::Error::new(kind, what);
            }
        };
        io::Error::new(
            cause.kind(),
            format!("the {name} data needs {needs}: try {program} FILE | conn-cli read"),
        )
    }
}

/// The name of an unsupported compression, and a program that decompresses it.
fn unsupported(head: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match head {
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', ..] => ("bzip2", "bzcat"),
        [0x04, 0x22, 0x4d, 0x18, ..] => ("lz4", "lz4cat"),
        [b'P', b'K', 3, 4, ..] => ("zip", "unzip -p"),
        [0x1f, 0x9d, ..] => ("compress", "zcat"),
        [b'L', b'Z', b'I', b'P', 1, ..] => ("lzip", "lzip -dc"),
        _ => return None,
    })
}

/// The innermost I/O error: decoders wrap the error of the input in their own.
fn cause(error: &io::Error) -> &io::Error {
    let mut cause = error;
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        cause = io.unwrap_or(cause);
        next = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    cause
}

/// A decoder whose errors have messages for the user, and whose content is not too long.
struct Unpacked<'a> {
    compression: Compression,
    content: Box<dyn Read + 'a>,
    expansion: Expansion,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(most) = self.expansion.exceeded() {
            let name = self.compression.name();
            return Err(io::Error::other(format!(
                "the {name} data expands to more than {most} times its length: --max-expansion \
                 allows more"
            )));
        }
        let read =
            { self.content.read(buffer) }.map_err(|error| self.compression.explain(&error))?;
        self.expansion.add(read);
        Ok(read)
    }
}

/// The most bytes that the xz decoder gets at once: on damage it loses the output of one step.
const XZ_STEP: usize = 1024;

/// Decompresses xz. The reader of lzma-rust2 is not used: it discards its output on an error, and
/// returns nothing before the buffer is full.
struct Xz<R> {
    input: R,
    decoder: XzStream,
    /// The error to return after the output that was decoded before it.
    error: Option<io::Error>,
}

impl<R: BufRead> Xz<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            decoder: XzStream::new_mem_limit(true, MAX_XZ_MEMORY_KIB),
            error: None,
        }
    }
}

impl<R: BufRead> Read for Xz<R> {
    /// Decodes as much as there is room for, since the output of a step is too little to wake another
    /// thread for; but does not wait for input with output in hand.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut filled = 0;
        loop {
            let available = self.input.fill_buf()?;
            let input = &available[..available.len().min(XZ_STEP)];
            let action = match input {
                [] => Action::Finish,
                _ => Action::Run,
            };
            let step = match self.decoder.process(input, &mut buffer[filled..], action) {
                Ok(step) => step,
                Err(error) if filled == 0 => return Err(error),
                Err(error) => {
                    self.error = Some(error);
                    return Ok(filled);
                }
            };
            let is_stuck = input.is_empty() && step.bytes_produced == 0;
            let is_all = step.bytes_consumed == available.len();
            self.input.consume(step.bytes_consumed);
            filled += step.bytes_produced;
            if filled == buffer.len() || step.status == Status::StreamEnd || filled > 0 && is_all {
                return Ok(filled);
            }
            if is_stuck {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Decompresses all frames of a zstd file; ruzstd decompresses only one.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    /// How much of a frame is unpacked, until its end is checked.
    frame_len: Option<u64>,
    /// The error to return after the output that was decoded before it.
    error: Option<io::Error>,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(u64::from(MAX_WINDOW_MIB) << 20);
        Self {
            input,
            decoder,
            frame_len: None,
            error: None,
        }
    }

    /// Decodes the next header or block; returns false at the end.
    fn decode(&mut self) -> io::Result<bool> {
        if !self.decoder.is_finished() {
            let one_block = BlockDecodingStrategy::UptoBlocks(1);
            let decoded = self.decoder.decode_blocks(&mut self.input, one_block);
            return decoded.map(|_| true).map_err(io::Error::other);
        }
        // It is 0 if the header does not say it.
        let length = self.decoder.content_size();
        if let Some(unpacked) = self.frame_len.take()
            && length > 0
            && length != unpacked
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let expected = self.decoder.get_checksum_from_data();
        if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.decoder.init(&mut self.input) {
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => self.skip(length.into()),
            Err(
                FrameDecoderError::WindowSizeTooBig { .. }
                | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { .. }),
            ) => Err(io::ErrorKind::OutOfMemory.into()),
            Err(FrameDecoderError::DictNotProvided { .. }) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            result => {
                result.map_err(io::Error::other)?;
                self.frame_len = Some(0);
                Ok(true)
            }
        }
    }

    fn skip(&mut self, length: u64) -> io::Result<bool> {
        let skipped = io::copy(&mut self.input.by_ref().take(length), &mut io::sink())?;
        if skipped == length {
            Ok(true)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Flushes the decoder. It returns the rest of its output, which may be megabytes, only after
    /// the last block: this feeds it an empty one, and a checksum that is not verified.
    fn end_frame(&mut self) {
        let last_block: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];
        let _ = self
            .decoder
            .decode_blocks(&last_block[..], BlockDecodingStrategy::All);
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.decoder.read(buffer)?;
            if let Some(length) = &mut self.frame_len {
                *length += read as u64;
            }
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            match self.decode() {
                Ok(true) => (),
                Ok(false) => return Ok(0),
                Err(error) => {
                    self.end_frame();
                    self.error = Some(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
