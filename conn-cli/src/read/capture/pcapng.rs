//! The blocks of a pcapng file.

use std::io::Read;

use pcap_parser::{
    Block, InterfaceDescriptionBlock, OptionCode, parse_block_be, parse_block_le,
    pcapng::{BOM_MAGIC, EPB_MAGIC, IDB_MAGIC, SHB_MAGIC, SPB_MAGIC},
    traits::PcapNGPacketBlock as _,
};

use super::{Capture, MAX_RECORD_LEN, Parsed, ReadError};

/// The longest block, as for libpcap.
const MAX_BLOCK_LEN: usize = 16 * 1024 * 1024;

/// Every block has its type and, twice, its length.
const MIN_BLOCK_LEN: usize = 12;

/// The Packet Block, which the Enhanced Packet Block replaced.
const OLD_PACKET: u32 = 2;

/// The blocks that contain or describe packets.
const READ_BLOCKS: [u32; 5] = [SHB_MAGIC, IDB_MAGIC, OLD_PACKET, SPB_MAGIC, EPB_MAGIC];

/// The most interfaces in a section.
const MAX_INTERFACES: usize = 1 << 16;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// The description of an interface in a section.
struct Interface {
    link_type: u16,
    /// The most bytes that are captured of a packet; 0 if all.
    snap_length: usize,
    /// The units of timestamps; None if the number does not fit in 64 bits.
    units_per_second: Option<u64>,
    /// Seconds to add to timestamps.
    offset: i64,
}

/// The byte order of a section.
#[derive(Clone, Copy)]
enum ByteOrder {
    Little,
    Big,
}

/// A packet: its interface, its timestamp if it has one, and its bytes.
type InterfacePacket<'a> = (u32, Option<u64>, &'a [u8]);

/// Whether a section begins here. The block type is a palindrome: byte order does not matter.
pub(super) fn is_section(bytes: &[u8]) -> bool {
    bytes.starts_with(&SHB_MAGIC.to_le_bytes())
}

impl<R: Read> Capture<'_, R> {
    pub(super) fn read_pcapng(&mut self) -> Result<(), ReadError> {
        let mut order = ByteOrder::Little;
        let mut interfaces = Vec::new();
        while self.fill(MIN_BLOCK_LEN)? {
            let block = self.buffered();
            if is_section(block) {
                interfaces.clear();
                order = match ByteOrder::Little.u32(block, 8) {
                    BOM_MAGIC => ByteOrder::Little,
                    _ => ByteOrder::Big,
                };
            }
            let is_read = READ_BLOCKS.contains(&order.u32(block, 0));
            let length = order.u32(block, 4) as usize;
            let max_len = if is_read {
                MAX_RECORD_LEN
            } else {
                MAX_BLOCK_LEN
            };
            if !(MIN_BLOCK_LEN..=max_len).contains(&length) || !length.is_multiple_of(4) {
                return Err(self.damaged("the length of the block is invalid"));
            }
            if !is_read {
                self.skip(length)?;
                continue;
            }
            self.fill(length)?;
            let is_packet = self
                .read_block(order, length, &mut interfaces)
                .map_err(|what| self.damaged(what))?;
            self.consume(length);
            if is_packet {
                self.count_packet()?;
            }
        }
        Ok(())
    }

    /// Reads a buffered block; returns whether it is a packet.
    fn read_block(
        &mut self,
        order: ByteOrder,
        length: usize,
        interfaces: &mut Vec<Interface>,
    ) -> Result<bool, &'static str> {
        let bytes = &self.buffer[self.start..][..length];
        let parsed: Parsed<'_, Block<'_>> = match order {
            ByteOrder::Little => parse_block_le(bytes),
            ByteOrder::Big => parse_block_be(bytes),
        };
        let (_, block) = parsed.map_err(|_| "the block is invalid")?;
        if let Block::InterfaceDescription(block) = &block {
            if interfaces.len() == MAX_INTERFACES {
                return Err("the section has too many interfaces");
            }
            interfaces.push(Interface::new(block, order));
        }
        let Some((interface, time, packet)) = packet(&block, order) else {
            return Ok(false);
        };
        let interface = interfaces
            .get(interface as usize)
            .ok_or("the interface of the packet has no description")?;
        // A Simple Packet Block, the only one without a timestamp, has no captured length either:
        // it is at most the snap length.
        let captured = match (time, interface.snap_length) {
            (None, 1..) => packet.len().min(interface.snap_length),
            _ => packet.len(),
        };
        let time = time.and_then(|time| interface.time(time));
        self.packets
            .push(time, interface.link_type, &packet[..captured]);
        Ok(true)
    }
}

/// Returns the packet if the block is one.
fn packet<'a>(block: &'a Block<'_>, order: ByteOrder) -> Option<InterfacePacket<'a>> {
    let time = |high: u32, low: u32| Some(u64::from(high) << 32 | u64::from(low));
    match block {
        Block::EnhancedPacket(block) => {
            let time = time(block.ts_high, block.ts_low);
            Some((block.if_id, time, block.packet_data()))
        }
        Block::SimplePacket(block) => Some((0, None, block.packet_data())),
        // The Packet Block: the only block read here that pcap-parser does not know.
        Block::Unknown(block) => {
            let (head, data) = block.data.split_at_checked(20)?;
            let time = time(order.u32(head, 4), order.u32(head, 8));
            let captured = order.u32(head, 12) as usize;
            Some((order.u16(head, 0).into(), time, data.get(..captured)?))
        }
        _ => None,
    }
}

impl Interface {
    fn new(block: &InterfaceDescriptionBlock<'_>, order: ByteOrder) -> Self {
        // pcap-parser decodes this option in one byte order only.
        let offset = block
            .options
            .iter()
            .find(|option| option.code == OptionCode::IfTsoffset)
            .and_then(|option| option.value.first_chunk());
        let units_per_second = match block.if_tsresol {
            bits @ 0x80.. => 1_u64.checked_shl(u32::from(bits & 0x7f)),
            digits => 10_u64.checked_pow(digits.into()),
        };
        Self {
            link_type: block.linktype.0 as u16,
            snap_length: block.snaplen as usize,
            units_per_second,
            offset: offset.map_or(0, |&bytes| match order {
                ByteOrder::Little => i64::from_le_bytes(bytes),
                ByteOrder::Big => i64::from_be_bytes(bytes),
            }),
        }
    }

    /// Converts a timestamp into seconds since 1970 and nanoseconds.
    fn time(&self, time: u64) -> Option<(i64, u32)> {
        let units_per_second = self.units_per_second?;
        let second = i64::try_from(time / units_per_second).ok()?;
        let rest = time % units_per_second;
        // Dividing 128-bit numbers is slower.
        let nanosecond = match rest.checked_mul(NANOSECONDS_PER_SECOND) {
            Some(rest) => rest / units_per_second,
            None => {
                let rest = u128::from(rest) * u128::from(NANOSECONDS_PER_SECOND);
                (rest / u128::from(units_per_second)) as u64
            }
        };
        let second = second.checked_add(self.offset)?;
        Some((second, u32::try_from(nanosecond).ok()?))
    }
}

impl ByteOrder {
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}
