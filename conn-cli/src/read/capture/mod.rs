//! Splits a pcap or pcapng file into packets.
//!
//! The formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. pcap-parser parses their
//! records, one at a time. Its readers are not used: they lose the operating system's error,
//! fail if the first read returns less than a header, wait for more data if a length inside a
//! block is damaged, and buffer a whole block only to skip it.

mod pcapng;

use std::io::{self, Read};

use pcap_parser::{
    LegacyPcapBlock, PcapError,
    nom::{self, IResult},
    parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
};

use super::{
    error::{ReadError, Stopped},
    io::read_once,
    piece::{Packets, Piece},
};

/// The most bytes that are read at once.
const READ_LEN: usize = 256 * 1024;

/// The longest packet: libpcap's `MAXIMUM_SNAPLEN`.
const MAX_PACKET_LEN: usize = 256 * 1024;

/// The longest record that is buffered: a packet and comments on it.
const MAX_RECORD_LEN: usize = 1024 * 1024;

/// The most packets in a piece.
const PACKETS_PER_PIECE: usize = 2048;

/// The length of the header of a pcap file.
const HEADER_LEN: usize = 24;

/// Reads a capture from its beginning and emits its packets.
///
/// # Errors
/// I/O errors; `InvalidData` if the capture is damaged, `UnexpectedEof` if it is truncated.
pub(crate) fn cut(
    input: impl Read,
    emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), ReadError> {
    let mut capture = Capture {
        input,
        buffer: vec![0; MAX_RECORD_LEN + READ_LEN],
        start: 0,
        end: 0,
        offset: 0,
        packets: Packets::default(),
        count: 0,
        emit,
    };
    let result = match capture.fill(4) {
        Ok(false) => Ok(()),
        Ok(true) if pcapng::is_section(capture.buffered()) => capture.read_pcapng(),
        Ok(true) => capture.read_pcap(),
        Err(read_error) => Err(read_error),
    };
    if !matches!(result, Err(ReadError::Stopped)) {
        capture.flush()?;
    }
    result
}

/// A capture that is being read.
struct Capture<'a, R> {
    input: R,
    /// `start..end` was read and not yet consumed.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The offset in the input of the current record.
    offset: u64,
    /// Packets that were not yet emitted.
    packets: Packets,
    /// Number of packets so far.
    count: u64,
    emit: &'a mut dyn FnMut(Piece) -> Result<(), Stopped>,
}

type Parsed<'a, T> = IResult<&'a [u8], T, PcapError<&'a [u8]>>;

impl<R: Read> Capture<'_, R> {
    fn read_pcap(&mut self) -> Result<(), ReadError> {
        self.fill(HEADER_LEN)?;
        let Ok((_, header)) = parse_pcap_header(self.buffered()) else {
            return Err(self.damaged("this is not a pcap or pcapng file"));
        };
        self.consume(HEADER_LEN);
        let frame: fn(&[u8]) -> Parsed<'_, LegacyPcapBlock<'_>> =
            match (header.is_modified_format(), header.is_bigendian()) {
                (true, _) => parse_pcap_frame_modified,
                (false, true) => parse_pcap_frame_be,
                (false, false) => parse_pcap_frame,
            };
        let nanoseconds_per_unit = if header.is_nanosecond_precision() {
            1
        } else {
            1000
        };
        // The upper half of the field is for the length of a frame check sequence.
        let link_type = header.network.0 as u16;
        loop {
            match frame(&self.buffer[self.start..self.end]) {
                Ok((rest, record)) if record.data.len() <= MAX_PACKET_LEN => {
                    let nanosecond = record.ts_usec.saturating_mul(nanoseconds_per_unit);
                    let time = (i64::from(record.ts_sec), nanosecond);
                    self.packets.push(Some(time), link_type, record.data);
                    let length = self.buffered().len() - rest.len();
                    self.consume(length);
                    self.count_packet()?;
                }
                Err(nom::Err::Incomplete(nom::Needed::Size(more)))
                    if more.get() <= MAX_PACKET_LEN =>
                {
                    if !self.fill(self.buffered().len() + more.get())? {
                        return Ok(());
                    }
                }
                _ => return Err(self.damaged("the length of the packet is invalid")),
            }
        }
    }

    fn count_packet(&mut self) -> Result<(), Stopped> {
        self.count += 1;
        if self.packets.len() < PACKETS_PER_PIECE {
            Ok(())
        } else {
            self.flush()
        }
    }

    /// Emits the packets read so far.
    fn flush(&mut self) -> Result<(), Stopped> {
        if self.packets.is_empty() {
            return Ok(());
        }
        let next = self.packets.with_same_capacity();
        let packets = std::mem::replace(&mut self.packets, next);
        (self.emit)(Piece::Packets(packets))
    }

    /// The bytes that were read and not yet consumed.
    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until at least `min_len` bytes are buffered; returns false at the end of the input.
    fn fill(&mut self, min_len: usize) -> Result<bool, ReadError> {
        while self.buffered().len() < min_len {
            if !self.read()? {
                return match self.buffered() {
                    [] => Ok(false),
                    _ => Err(self.truncated()),
                };
            }
        }
        Ok(true)
    }

    /// Reads once; returns false at the end of the input. A read may block for long, so complete
    /// packets are emitted first.
    fn read(&mut self) -> Result<bool, ReadError> {
        self.flush()?;
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let max_end = self.buffer.len().min(self.end + READ_LEN);
        let read = read_once(&mut self.input, &mut self.buffer[self.end..max_end])?;
        self.end += read;
        Ok(read > 0)
    }

    /// Moves past a record that is buffered.
    fn consume(&mut self, length: usize) {
        self.start += length;
        self.offset += length as u64;
    }

    /// Moves past a record without buffering it.
    fn skip(&mut self, length: usize) -> Result<(), ReadError> {
        let mut remaining = length;
        loop {
            let skipped = remaining.min(self.buffered().len());
            self.start += skipped;
            remaining -= skipped;
            if remaining == 0 {
                self.offset += length as u64;
                return Ok(());
            }
            if !self.read()? {
                return Err(self.truncated());
            }
        }
    }

    fn truncated(&self) -> ReadError {
        let why = format!(
            "the capture is truncated after packet {}, at byte {}",
            self.count, self.offset
        );
        io::Error::new(io::ErrorKind::UnexpectedEof, why).into()
    }

    fn damaged(&self, what: &str) -> ReadError {
        let why = format!(
            "the capture is damaged after packet {}, at byte {}: {what}",
            self.count, self.offset
        );
        io::Error::new(io::ErrorKind::InvalidData, why).into()
    }
}

#[cfg(test)]
mod tests;
