//! Cuts a pcap or pcapng file into packets.
//!
//! The formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. pcap-parser understands
//! their records, one at a time. Its readers are not used: they lose what the system says of an
//! error, fail if the first read brings less than a header, wait for more where a length inside
//! a block is damaged, and hold a whole block in memory only to pass over it.

mod pcapng;

use std::io::{self, Read};

use pcap_parser::{
    LegacyPcapBlock, PcapError,
    nom::{self, IResult},
    parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
};

use super::{
    batch::Piece,
    reader::{ReadError, Stopped, read_once},
};

/// How much is read at once.
const READ: usize = 256 * 1024;

/// A packet is not longer: libpcap's `MAXIMUM_SNAPLEN`.
const MAX_PACKET_LEN: usize = 256 * 1024;

/// What is held in memory at once is not longer: a packet, and comments on it.
const MAX_HELD: usize = 1024 * 1024;

/// Of a packet, all that is looked at: 14 bytes of Ethernet, four VLAN tags, an IPv6 header, 160
/// bytes of its extensions (a route over nine hops), and the first 14 bytes of TCP are 244.
const KEPT: usize = 256;

/// How many packets are parsed together.
const PACKETS_PER_PIECE: usize = 2048;

/// The header of a pcap file.
const HEADER: usize = 24;

/// Some packets of one input.
#[derive(Debug, Default)]
pub struct Packets {
    /// What is kept of them, one after the other.
    bytes: Vec<u8>,
    index: Vec<Packet>,
}

/// What else is known of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Seconds since 1970 and nanoseconds, if there is a time.
    pub time: Option<(i64, u32)>,
    /// What it begins with: one of libpcap's `LINKTYPE_`.
    pub link_type: u16,
    /// Where its bytes end: there those of the next begin.
    end: usize,
}

impl Packets {
    /// Adds a packet.
    pub fn push(&mut self, time: Option<(i64, u32)>, link_type: u16, bytes: &[u8]) {
        let kept = &bytes[..bytes.len().min(KEPT)];
        self.bytes.extend_from_slice(kept);
        self.index.push(Packet {
            time,
            link_type,
            end: self.bytes.len(),
        });
    }

    /// The packets, with the beginning of each.
    pub fn iter(&self) -> impl Iterator<Item = (&Packet, &[u8])> {
        let mut start = 0;
        self.index.iter().map(move |packet| {
            let bytes = &self.bytes[start..packet.end];
            start = packet.end;
            (packet, bytes)
        })
    }
}

/// Reads a capture from its beginning and hands its packets on.
///
/// # Errors
/// The system's; `InvalidData` or `UnexpectedEof` if it is damaged or cut.
pub fn cut(
    input: impl Read,
    emit: &mut dyn FnMut(Piece) -> Result<(), Stopped>,
) -> Result<(), ReadError> {
    let mut capture = Capture {
        input,
        buffer: vec![0; MAX_HELD + READ],
        start: 0,
        end: 0,
        at: 0,
        packets: Packets::default(),
        count: 0,
        emit,
    };
    let walked = match capture.holds(4) {
        Ok(false) => Ok(()),
        Ok(true) if pcapng::is_section(capture.held()) => capture.walk_pcapng(),
        Ok(true) => capture.walk_pcap(),
        Err(read_error) => Err(read_error),
    };
    if !matches!(walked, Err(ReadError::Stopped)) {
        capture.hand_on()?;
    }
    walked
}

/// A capture that is being read.
struct Capture<'a, R> {
    input: R,
    /// What was read and not yet passed is `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where in the input the record begins that is looked at.
    at: u64,
    /// What was not yet handed on.
    packets: Packets,
    /// How many packets there were.
    count: u64,
    emit: &'a mut dyn FnMut(Piece) -> Result<(), Stopped>,
}

type Parsed<'a, T> = IResult<&'a [u8], T, PcapError<&'a [u8]>>;

impl<R: Read> Capture<'_, R> {
    fn walk_pcap(&mut self) -> Result<(), ReadError> {
        self.holds(HEADER)?;
        let Ok((_, header)) = parse_pcap_header(self.held()) else {
            return Err(self.damaged("this is no pcap or pcapng file"));
        };
        self.pass(HEADER);
        let frame: fn(&[u8]) -> Parsed<'_, LegacyPcapBlock<'_>> =
            match (header.is_modified_format(), header.is_bigendian()) {
                (true, _) => parse_pcap_frame_modified,
                (false, true) => parse_pcap_frame_be,
                (false, false) => parse_pcap_frame,
            };
        let nanoseconds = match header.is_nanosecond_precision() {
            true => 1,
            false => 1000,
        };
        // The other half is for the length of a frame check sequence.
        let link_type = header.network.0 as u16;
        loop {
            match frame(&self.buffer[self.start..self.end]) {
                Ok((rest, record)) if record.data.len() <= MAX_PACKET_LEN => {
                    let nanosecond = record.ts_usec.saturating_mul(nanoseconds);
                    let time = (i64::from(record.ts_sec), nanosecond);
                    self.packets.push(Some(time), link_type, record.data);
                    let length = self.held().len() - rest.len();
                    self.pass(length);
                    self.count_packet()?;
                }
                Err(nom::Err::Incomplete(nom::Needed::Size(more)))
                    if more.get() <= MAX_PACKET_LEN =>
                {
                    if !self.holds(self.held().len() + more.get())? {
                        return Ok(());
                    }
                }
                _ => return Err(self.damaged("no packet is so long")),
            }
        }
    }

    fn count_packet(&mut self) -> Result<(), Stopped> {
        self.count += 1;
        match self.packets.index.len() < PACKETS_PER_PIECE {
            true => Ok(()),
            false => self.hand_on(),
        }
    }

    fn hand_on(&mut self) -> Result<(), Stopped> {
        if self.packets.index.is_empty() {
            return Ok(());
        }
        // The next ones are likely to be as many and as long.
        let next = Packets {
            bytes: Vec::with_capacity(self.packets.bytes.len()),
            index: Vec::with_capacity(self.packets.index.len()),
        };
        let packets = std::mem::replace(&mut self.packets, next);
        (self.emit)(Piece::Packets(packets))
    }

    /// What was read and not yet passed.
    fn held(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until `least` bytes are held; false at the end of the input.
    fn holds(&mut self, least: usize) -> Result<bool, ReadError> {
        while self.held().len() < least {
            if !self.read()? {
                return match self.held() {
                    [] => Ok(false),
                    _ => Err(self.cut()),
                };
            }
        }
        Ok(true)
    }

    /// Reads once; false at the end of the input. That may take long, so what is complete is
    /// handed on before.
    fn read(&mut self) -> Result<bool, ReadError> {
        self.hand_on()?;
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let most = self.buffer.len().min(self.end + READ);
        let read = read_once(&mut self.input, &mut self.buffer[self.end..most])?;
        self.end += read;
        Ok(read > 0)
    }

    /// Passes a record that is held.
    fn pass(&mut self, length: usize) {
        self.start += length;
        self.at += length as u64;
    }

    /// Passes a record that need not be held.
    fn pass_over(&mut self, length: usize) -> Result<(), ReadError> {
        let mut left = length;
        loop {
            let passed = left.min(self.held().len());
            self.start += passed;
            left -= passed;
            if left == 0 {
                self.at += length as u64;
                return Ok(());
            }
            if !self.read()? {
                return Err(self.cut());
            }
        }
    }

    fn cut(&self) -> ReadError {
        let why = format!(
            "the capture is cut after packet {}, at byte {}",
            self.count, self.at
        );
        io::Error::new(io::ErrorKind::UnexpectedEof, why).into()
    }

    fn damaged(&self, what: &str) -> ReadError {
        let why = format!(
            "the capture is damaged after packet {}, at byte {}: {what}",
            self.count, self.at
        );
        io::Error::new(io::ErrorKind::InvalidData, why).into()
    }
}

#[cfg(test)]
mod tests;
