//! The blocks of a pcapng file.

use std::io::Read;

use pcap_parser::{
    Block, InterfaceDescriptionBlock, OptionCode, parse_block_be, parse_block_le,
    pcapng::{BOM_MAGIC, EPB_MAGIC, IDB_MAGIC, SHB_MAGIC, SPB_MAGIC},
    traits::PcapNGPacketBlock as _,
};

use super::{Capture, MAX_HELD, Parsed, ReadError};

/// A block is not longer, as for libpcap.
const MAX_BLOCK_LEN: usize = 16 * 1024 * 1024;

/// A block of any kind has its type, and twice its length.
const MIN_BLOCK_LEN: usize = 12;

/// The Packet Block, which the Enhanced Packet Block replaced.
const OLD_PACKET: u32 = 2;

/// The blocks that say something of packets.
const READ: [u32; 5] = [SHB_MAGIC, IDB_MAGIC, OLD_PACKET, SPB_MAGIC, EPB_MAGIC];

/// A capture has not more interfaces.
const MAX_INTERFACES: usize = 1 << 16;

/// In a second.
const NANOSECONDS: u64 = 1_000_000_000;

/// What a section says of an interface.
struct Interface {
    link_type: u16,
    /// How many bytes of a packet are kept; 0 if all.
    snap_length: usize,
    /// How many parts a second has; None if they are too small to be counted.
    parts: Option<u64>,
    /// Seconds that are to be added.
    offset: i64,
}

/// How the numbers of a section are written.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// A packet: its interface, its time if it has one, and its bytes.
type Found<'a> = (u32, Option<u64>, &'a [u8]);

/// Whether a section begins here. Its type is the same from either end.
pub(super) fn is_section(bytes: &[u8]) -> bool {
    bytes.starts_with(&SHB_MAGIC.to_le_bytes())
}

impl<R: Read> Capture<'_, R> {
    pub(super) fn walk_pcapng(&mut self) -> Result<(), ReadError> {
        let mut order = Order::Little;
        let mut interfaces = Vec::new();
        while self.holds(MIN_BLOCK_LEN)? {
            let block = self.held();
            if is_section(block) {
                interfaces.clear();
                order = match Order::Little.u32(block, 8) {
                    BOM_MAGIC => Order::Little,
                    _ => Order::Big,
                };
            }
            let is_read = READ.contains(&order.u32(block, 0));
            let length = order.u32(block, 4) as usize;
            let longest = match is_read {
                true => MAX_HELD,
                false => MAX_BLOCK_LEN,
            };
            if !(MIN_BLOCK_LEN..=longest).contains(&length) || !length.is_multiple_of(4) {
                return Err(self.damaged("no block is so long"));
            }
            if !is_read {
                self.pass_over(length)?;
                continue;
            }
            self.holds(length)?;
            let is_packet = self
                .block(order, length, &mut interfaces)
                .map_err(|what| self.damaged(what))?;
            self.pass(length);
            if is_packet {
                self.count_packet()?;
            }
        }
        Ok(())
    }

    /// Takes what a block says, which is held; whether it is a packet.
    fn block(
        &mut self,
        order: Order,
        length: usize,
        interfaces: &mut Vec<Interface>,
    ) -> Result<bool, &'static str> {
        let bytes = &self.buffer[self.start..][..length];
        let parsed: Parsed<'_, Block<'_>> = match order {
            Order::Little => parse_block_le(bytes),
            Order::Big => parse_block_be(bytes),
        };
        let (_, block) = parsed.map_err(|_| "this is no valid block")?;
        if let Block::InterfaceDescription(block) = &block {
            if interfaces.len() == MAX_INTERFACES {
                return Err("it has too many interfaces");
            }
            interfaces.push(Interface::new(block, order));
        }
        let Some((interface, time, packet)) = packet(&block, order) else {
            return Ok(false);
        };
        let interface = interfaces
            .get(interface as usize)
            .ok_or("nothing describes the interface of the packet")?;
        // Only of a Simple Packet Block it is not written how much was kept.
        let kept = match (time, interface.snap_length) {
            (None, 1..) => packet.len().min(interface.snap_length),
            _ => packet.len(),
        };
        let time = time.and_then(|time| interface.time(time));
        self.packets
            .push(time, interface.link_type, &packet[..kept]);
        Ok(true)
    }
}

/// The packet, if the block is one.
fn packet<'a>(block: &'a Block<'_>, order: Order) -> Option<Found<'a>> {
    let time = |high: u32, low: u32| Some(u64::from(high) << 32 | u64::from(low));
    match block {
        Block::EnhancedPacket(block) => {
            let time = time(block.ts_high, block.ts_low);
            Some((block.if_id, time, block.packet_data()))
        }
        Block::SimplePacket(block) => Some((0, None, block.packet_data())),
        // No other block is looked at that pcap-parser does not know.
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
    fn new(block: &InterfaceDescriptionBlock<'_>, order: Order) -> Self {
        // pcap-parser reads it in one order only.
        let offset = block
            .options
            .iter()
            .find(|option| option.code == OptionCode::IfTsoffset)
            .and_then(|option| option.value.first_chunk());
        let parts = match block.if_tsresol {
            bits @ 0x80.. => 1_u64.checked_shl(u32::from(bits & 0x7f)),
            digits => 10_u64.checked_pow(digits.into()),
        };
        Self {
            link_type: block.linktype.0 as u16,
            snap_length: block.snaplen as usize,
            parts,
            offset: offset.map_or(0, |&bytes| match order {
                Order::Little => i64::from_le_bytes(bytes),
                Order::Big => i64::from_be_bytes(bytes),
            }),
        }
    }

    /// Seconds since 1970 and nanoseconds.
    fn time(&self, time: u64) -> Option<(i64, u32)> {
        let parts = self.parts?;
        let second = i64::try_from(time / parts).ok()?;
        let rest = time % parts;
        // Wider numbers take longer to divide.
        let nanosecond = match rest.checked_mul(NANOSECONDS) {
            Some(rest) => rest / parts,
            None => (u128::from(rest) * u128::from(NANOSECONDS) / u128::from(parts)) as u64,
        };
        let second = second.checked_add(self.offset)?;
        Some((second, u32::try_from(nanosecond).ok()?))
    }
}

impl Order {
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
