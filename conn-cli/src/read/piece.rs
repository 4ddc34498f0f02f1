//! Pieces of an input that can be parsed without the rest of it.

use std::sync::Arc;

use super::encoding::{Encoding, Recognised};

/// A piece of an input that can be parsed without the rest of it.
#[derive(Debug)]
pub enum Piece {
    /// Whole lines.
    Lines(Encoding, Vec<u8>),
    /// The same of a table, after the line that names its columns, which is in an earlier piece.
    Headed(Encoding, Arc<[u8]>, Vec<u8>),
    /// A line that is too long; its bytes were discarded.
    LongLine(Encoding),
    /// What the lines that follow are.
    Recognised(Recognised),
    /// Packets.
    Packets(Packets),
}

/// The beginning of a packet that is parsed: 14 bytes of Ethernet, four VLAN tags, an IPv6
/// header, 160 bytes of its extensions (a route over nine hops), and the first 14 bytes of TCP
/// are 244. In a tunnel: 14 bytes of Ethernet, a VLAN tag, IPv6, UDP, Geneve with at most 252 bytes of
/// options, again Ethernet, a VLAN tag and IPv6, and the first 14 bytes of TCP are 402.
pub const PREFIX_LEN: usize = 416;

/// Some packets of one input.
#[derive(Debug, Default)]
pub struct Packets {
    /// The beginnings of the packets, one after the other.
    bytes: Vec<u8>,
    index: Vec<Packet>,
}

/// What a capture says about a packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Seconds since 1970 and nanoseconds, if the packet has a timestamp.
    pub time: Option<(i64, u32)>,
    /// The type of its first header: one of libpcap's `LINKTYPE_`.
    pub link_type: u16,
    /// The end of its bytes, where those of the next packet begin.
    end: usize,
}

impl Packets {
    /// None, with room for as many as these: the next piece is likely to need it.
    #[must_use]
    pub fn with_same_capacity(&self) -> Self {
        Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            index: Vec::with_capacity(self.index.len()),
        }
    }

    /// The number of packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Adds a packet.
    pub fn push(&mut self, time: Option<(i64, u32)>, link_type: u16, bytes: &[u8]) {
        let prefix = &bytes[..bytes.len().min(PREFIX_LEN)];
        self.bytes.extend_from_slice(prefix);
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
