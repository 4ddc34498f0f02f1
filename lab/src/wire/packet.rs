//! A SYN, byte by byte.

use std::net::SocketAddr;

const TCP: u8 = 6;
const HOP_LIMIT: u8 = 64;

/// A data offset of 6 words, with one option; the SYN flag; a usual window.
const OFFSET_AND_FLAGS: [u8; 2] = [6 << 4, 2];
const WINDOW: u16 = 64240;
/// The option that each SYN has: a maximum segment size of 1460.
const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];

/// The extension header between IPv6 and TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// None.
    None,
    /// Hop-by-hop options.
    HopByHop,
    /// Destination options.
    DestinationOptions,
    /// Destination options eight times, one header after the other.
    Eight,
    /// The same nine times.
    Nine,
}

impl Extension {
    /// The types of the extension headers.
    fn headers(self) -> &'static [u8] {
        match self {
            Self::None => &[],
            Self::HopByHop => &[0],
            Self::DestinationOptions => &[60],
            Self::Eight => &[60; 8],
            Self::Nine => &[60; 9],
        }
    }
}

/// A SYN to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syn {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    /// Ignored for IPv4.
    pub(super) extension: Extension,
}

impl Syn {
    /// The bytes from the IP header on. Both addresses must be of the same family.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match (self.from, self.to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let (from, to) = (from.ip().octets(), to.ip().octets());
                let segment = self.segment(&from, &to);
                let mut packet = ipv4_header(&from, &to, segment.len());
                packet.extend(segment);
                packet
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                let (from, to) = (from.ip().octets(), to.ip().octets());
                let segment = self.segment(&from, &to);
                let mut packet = ipv6_headers(&from, &to, self.extension, segment.len());
                packet.extend(segment);
                packet
            }
            _ => panic!("a SYN from {} to {}", self.from, self.to),
        }
    }

    /// The TCP header, whose checksum covers the addresses.
    fn segment(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut header = Vec::with_capacity(24);
        header.extend(self.from.port().to_be_bytes());
        header.extend(self.to.port().to_be_bytes());
        header.extend(self.sequence.to_be_bytes());
        header.extend([0; 4]);
        header.extend(OFFSET_AND_FLAGS);
        header.extend(WINDOW.to_be_bytes());
        header.extend([0; 4]);
        header.extend(MSS);
        // The sum is the same whether the length has two bytes or, with IPv6, four.
        let length = [0, header.len() as u8];
        let sum = checksum(&[from, to, &[0, TCP], &length, &header]);
        header[16..18].copy_from_slice(&sum.to_be_bytes());
        header
    }
}

fn ipv4_header(from: &[u8; 4], to: &[u8; 4], payload: usize) -> Vec<u8> {
    const LENGTH: usize = 20;
    let mut header = Vec::with_capacity(LENGTH + payload);
    header.extend([0x45, 0]);
    header.extend(((LENGTH + payload) as u16).to_be_bytes());
    // No identification, because the packet must not be fragmented.
    header.extend([0, 0, 0x40, 0]);
    header.extend([HOP_LIMIT, TCP, 0, 0]);
    header.extend(from);
    header.extend(to);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6_headers(from: &[u8; 16], to: &[u8; 16], extension: Extension, payload: usize) -> Vec<u8> {
    // What each header says that follows: the other extension headers, and then TCP.
    let next: Vec<u8> = extension.headers().iter().copied().chain([TCP]).collect();
    // No further units of eight bytes; a padding option with four bytes.
    let extended = next[1..]
        .iter()
        .flat_map(|next| [*next, 0, 1, 4, 0, 0, 0, 0]);
    let payload = payload + 8 * extension.headers().len();
    let mut headers = Vec::with_capacity(40 + payload);
    headers.extend([0x60, 0, 0, 0]);
    headers.extend((payload as u16).to_be_bytes());
    headers.extend([next[0], HOP_LIMIT]);
    headers.extend(from);
    headers.extend(to);
    headers.extend(extended);
    headers
}

/// The Internet checksum of parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0;
    for part in parts {
        let (words, []) = part.as_chunks::<2>() else {
            panic!("a part of odd length");
        };
        for word in words {
            sum += u32::from(u16::from_be_bytes(*word));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(from: &str, to: &str, extension: Extension) -> Vec<u8> {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Syn {
            from,
            to,
            sequence: 0x0102_0304,
            extension,
        }
        .bytes()
    }

    /// Zero if the checksum of a TCP header and its pseudo-header is right.
    fn tcp_checksum(addresses: &[u8], segment: &[u8]) -> u16 {
        checksum(&[addresses, &[0, TCP, 0, segment.len() as u8], segment])
    }

    #[test]
    fn checksum_matches_known_example() {
        // The usual example in explanations of the checksum.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&[&header]), 0xb861);
        assert_eq!(checksum(&[&header[..8], &header[8..]]), 0xb861);
    }

    #[test]
    fn builds_ipv4_syn() {
        let packet = syn("198.18.0.1:1025", "10.99.0.1:80", Extension::None);
        assert_eq!(packet.len(), 44);
        assert_eq!(packet[..4], [0x45, 0, 0, 44]);
        assert_eq!(packet[9], TCP);
        assert_eq!(checksum(&[&packet[..20]]), 0);
        assert_eq!(packet[12..20], [198, 18, 0, 1, 10, 99, 0, 1]);
        assert_eq!(packet[20..24], [4, 1, 0, 80]);
        assert_eq!(packet[24..28], [1, 2, 3, 4]);
        assert_eq!(packet[32..34], [0x60, 0x02]);
        assert_eq!(tcp_checksum(&packet[12..20], &packet[20..]), 0);
    }

    #[test]
    fn builds_ipv6_syn() {
        let packet = syn("[2001:db8::1]:1025", "[fd99::1]:80", Extension::None);
        assert_eq!(packet.len(), 64);
        assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 24, TCP, HOP_LIMIT]);
        assert_eq!(tcp_checksum(&packet[8..40], &packet[40..]), 0);
    }

    #[test]
    fn extension_header_precedes_tcp() {
        for (extension, header) in [
            (Extension::HopByHop, 0),
            (Extension::DestinationOptions, 60),
        ] {
            let packet = syn("[2001:db8::1]:1025", "[fd99::1]:80", extension);
            assert_eq!(packet.len(), 72);
            assert_eq!(packet[4..7], [0, 32, header]);
            assert_eq!(packet[40..48], [TCP, 0, 1, 4, 0, 0, 0, 0]);
            assert_eq!(tcp_checksum(&packet[8..40], &packet[48..]), 0);
        }
    }
}
