//! Recorded packets as templates, in the format of a pcap file.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};

use super::scale::{Counter, Peer, RECORDED_NETWORK, Session};

/// The sizes of the file's header and of each packet's header.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// Microseconds, in the byte order of the machine that wrote it.
const MAGIC: [u8; 4] = 0xa1b2_c3d4_u32.to_le_bytes();

/// Offsets in an Ethernet frame with IPv4.
const ETHERNET: usize = 14;
const SOURCE: usize = ETHERNET + 12;
const DESTINATION: usize = ETHERNET + 16;

const SYN: u8 = 2;
const SYN_OR_ACK: u8 = 0x12;

/// A session of packets.
///
/// Checksums stay as they were recorded: with offloading they are wrong there, too.
#[derive(Debug)]
pub(super) struct Packets {
    header: Vec<u8>,
    connections: Vec<Connection>,
    /// The duration of the session, in microseconds.
    period: u64,
}

#[derive(Debug)]
struct Connection {
    syn: Packet,
    others: Vec<Packet>,
}

#[derive(Debug)]
struct Packet {
    /// When it was recorded, in microseconds since 1970.
    time: u64,
    /// The frame, with its packet header.
    bytes: Vec<u8>,
    from_client: bool,
    /// The offset of the TCP header.
    tcp: usize,
}

impl Packets {
    pub(super) fn new(recorded: &[u8]) -> Result<Self> {
        ensure!(
            recorded.starts_with(&MAGIC),
            "not a pcap file with microseconds"
        );
        let (header, mut rest) = recorded.split_at(FILE_HEADER);
        let mut numbers = HashMap::new();
        let mut connections: Vec<Connection> = Vec::new();
        let (mut first, mut last) = (u64::MAX, 0);
        while !rest.is_empty() {
            let (packet, after) = Packet::take(rest).context("the capture is cut off")?;
            rest = after;
            first = first.min(packet.time);
            last = last.max(packet.time);
            let client = packet.client();
            if packet.is_syn() {
                numbers.insert(client, connections.len());
                connections.push(Connection {
                    syn: packet,
                    others: Vec::new(),
                });
            } else {
                let number = *numbers.get(&client).context("a packet before its SYN")?;
                connections[number].others.push(packet);
            }
        }
        Ok(Self {
            header: header.to_vec(),
            connections,
            period: last - first,
        })
    }
}

impl Session for Packets {
    fn opening(&self, out: &mut Vec<u8>, _counter: &mut Counter) {
        out.extend_from_slice(&self.header);
    }

    /// Writes the SYN of each connection and one of its other packets, a different one each round.
    fn round(&self, round: u64, out: &mut Vec<u8>, counter: &mut Counter) {
        let first = round * self.connections.len() as u64;
        for (number, connection) in (first..).zip(&self.connections) {
            let peer = Peer::for_connection(number);
            let other = round as usize % connection.others.len();
            connection.syn.write(peer, round * self.period, out);
            connection.others[other].write(peer, round * self.period, out);
            counter.connection(peer);
            counter.record();
            counter.record();
        }
    }

    fn closing(&self, _out: &mut Vec<u8>, _counter: &mut Counter) {}
}

impl Packet {
    /// Splits off the first packet.
    fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u64::from(u32::from_le_bytes(bytes)))
        };
        let time = number(0)? * 1_000_000 + number(4)?;
        let end = PACKET_HEADER + number(8)? as usize;
        let (packet, rest) = bytes.split_at_checked(end)?;
        let network: Vec<u8> = RECORDED_NETWORK
            .split_terminator('.')
            .filter_map(|part| part.parse().ok())
            .collect();
        let frame = &packet[PACKET_HEADER..];
        let words = usize::from(frame.get(ETHERNET)? & 0xf);
        let packet = Self {
            time,
            bytes: packet.to_vec(),
            from_client: frame.get(SOURCE..)?.starts_with(&network),
            tcp: PACKET_HEADER + ETHERNET + words * 4,
        };
        Some((packet, rest))
    }

    fn is_syn(&self) -> bool {
        self.bytes[self.tcp + 13] & SYN_OR_ACK == SYN
    }

    /// The offsets of the client's address and port.
    fn client_offsets(&self) -> (usize, usize) {
        if self.from_client {
            (PACKET_HEADER + SOURCE, self.tcp)
        } else {
            (PACKET_HEADER + DESTINATION, self.tcp + 2)
        }
    }

    /// The client's address and port.
    fn client(&self) -> Vec<u8> {
        let (address, port) = self.client_offsets();
        [
            &self.bytes[address..address + 4],
            &self.bytes[port..port + 2],
        ]
        .concat()
    }

    fn write(&self, peer: Peer, delay: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[start..];
        let time = self.time + delay;
        packet[..4].copy_from_slice(&((time / 1_000_000) as u32).to_le_bytes());
        packet[4..8].copy_from_slice(&((time % 1_000_000) as u32).to_le_bytes());
        let (address, port) = self.client_offsets();
        packet[address..address + 4].copy_from_slice(&peer.address().octets());
        packet[port..port + 2].copy_from_slice(&peer.port.to_be_bytes());
        // The client's sequence number, or the server's acknowledgement of it. The initial number
        // plus one is close enough for every packet after the SYN.
        let (sequence, ahead) = if self.from_client {
            (self.tcp + 4, u32::from(!self.is_syn()))
        } else {
            (self.tcp + 8, 1)
        };
        let number = peer.sequence.wrapping_add(ahead).to_be_bytes();
        packet[sequence..sequence + 4].copy_from_slice(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::RECORDED_PACKETS;

    #[test]
    fn half_of_the_packets_are_syns_from_new_clients() {
        let session = Packets::new(RECORDED_PACKETS).unwrap();
        let (mut out, mut counter) = (Vec::new(), Counter::new());
        session.round(3, &mut out, &mut counter);
        let truth = counter.truth();
        let mut rest = &out[..];
        let (mut packets, mut syns) = (0, 0);
        while let Some((packet, after)) = Packet::take(rest) {
            rest = after;
            packets += 1;
            syns += u64::from(packet.is_syn());
            assert!(!packet.from_client, "the network has been replaced");
        }
        assert_eq!((packets, syns), (truth.records, truth.connections()));
        assert_eq!(packets, 2 * syns);
    }
}
