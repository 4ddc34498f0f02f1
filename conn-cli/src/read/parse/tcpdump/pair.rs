//! Parses who sent a packet to whom, also inside of a tunnel.

use memchr::{memmem, memrchr};

use super::link::{ip_packet, without_details};
use crate::read::parse::scan::{digits, split_at_byte};

/// The sender and the receiver of a packet, and the text after them.
pub(super) struct Pair<'a> {
    pub(super) from: &'a [u8],
    pub(super) to: &'a [u8],
    /// The ports, if they are separate from the addresses. See [`Self::extended`].
    pub(super) ports: Option<(&'a [u8], &'a [u8])>,
    pub(super) after: &'a [u8],
    /// Whether this packet is inside of another one.
    pub(super) is_inner: bool,
}

impl<'a> Pair<'a> {
    /// Parses the `FROM > TO: ` with which a packet begins. For a tunnel, that of the inner packet.
    #[inline]
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let mut pair = Self::ends(text)?;
        while !pair.after.starts_with(b"Flags [") {
            let Some(next) = pair.extended().or_else(|| pair.tunnelled()) else {
                break;
            };
            pair = next;
        }
        Some(pair)
    }

    /// Anything before these ends is what somebody sent.
    #[inline]
    pub(super) fn ends(text: &'a [u8]) -> Option<Self> {
        let (from, to) = split_at_byte(text, b' ')?;
        let (to, after) = split_at_byte(to.strip_prefix(b"> ")?, b' ')?;
        (!from.is_empty()).then_some(Self {
            from,
            to: to.strip_suffix(b":")?,
            ports: None,
            after,
            is_inner: false,
        })
    }

    /// If extension headers are between the IPv6 header and the next one: either that of TCP, so that
    /// the ports follow, `IP6 2001:db8::1 > 2001:db8::9: HBH 37822 > 80: Flags [S]`, or another IP header.
    fn extended(&self) -> Option<Self> {
        const HEADERS: [&[u8]; 5] = [b"HBH", b"DSTOPT", b"RT6", b"srcrt", b"frag"];
        let is_extended = HEADERS.iter().any(|start| self.after.starts_with(start));
        if self.ports.is_some() || !is_extended {
            return None;
        }
        let at = memmem::find(self.after, b" > ")?;
        let from = memrchr(b' ', &self.after[..at]).map_or(0, |at| at + 1);
        let next = Self::ends(&self.after[from..])?;
        if memchr::memchr2(b'.', b':', next.from).is_some() {
            return Some(Self {
                is_inner: true,
                ..next
            });
        }
        Some(Self {
            from: self.from,
            to: self.to,
            ports: Some((next.from, next.to)),
            after: next.after,
            is_inner: self.is_inner,
        })
    }

    /// The inner packet of a tunnel, if it is in this line.
    fn tunnelled(&self) -> Option<Self> {
        let inner = match self.after {
            [b'G', b'R', b'E', b'v', ..] => after_gre(self.after)?,
            after => match without_checksum(after) {
                [b'G', b'e', b'n', b'e', b'v', b'e', b',', after @ ..] => {
                    &after[memmem::find(after, b": ")? + 2..]
                }
                // IP in IP.
                _ => after,
            },
        };
        Some(Self {
            is_inner: true,
            ..Self::ends(inner_packet(inner))?
        })
    }

    /// Parses the packet that follows the header of a tunnel.
    pub(super) fn parse_inner(text: &'a [u8]) -> Option<Self> {
        Self::parse(inner_packet(text))
    }

    /// Whether this packet is a tunnel whose inner packet is on the next line.
    pub(super) fn continues(&self) -> bool {
        if self.after.starts_with(b"GREv") {
            return after_gre(self.after) == Some(b"");
        }
        let after = without_checksum(self.after);
        // UDP port 8472 is that of OTV and, in Linux, of VXLAN.
        [&b"VXLAN, "[..], b"OTV, "]
            .iter()
            .any(|start| after.starts_with(start))
            || (after.starts_with(b"Geneve, ") && memmem::find(after, b": ").is_none())
    }
}

/// The IP packet in a tunnel. With -e, nothing precedes its addresses.
fn inner_packet(text: &[u8]) -> &[u8] {
    ip_packet(text).unwrap_or_else(|| without_details(text))
}

/// What follows `GREv0, key=0x7, length 52: `, which may be nothing.
fn after_gre(text: &[u8]) -> Option<&[u8]> {
    let length = b", length ";
    let (_, after) = digits(&text[memmem::find(text, length)? + length.len()..]);
    match after {
        [] => Some(after),
        _ => after.strip_prefix(b": "),
    }
}

/// Skips `[udp sum ok] ` and the like.
fn without_checksum(text: &[u8]) -> &[u8] {
    match text {
        [b'[', ..] => split_at_byte(text, b']').map_or(text, |(_, after)| after.trim_ascii_start()),
        _ => text,
    }
}
