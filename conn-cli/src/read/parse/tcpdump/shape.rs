//! Recognises the kind of a tcpdump line by its shape.

use memchr::{memchr, memmem, memrchr};

use super::{
    flags,
    link::{DIRECTIONS, ip_packet, is_mac_address},
    prefix,
};

/// The sender and the receiver in a line, and the text after them.
pub(super) struct Pair<'a> {
    pub(super) from: &'a [u8],
    pub(super) to: &'a [u8],
    /// The ports, if they are separate from the addresses. See [`Self::is_extended`].
    pub(super) ports: Option<(&'a [u8], &'a [u8])>,
    pub(super) after: &'a [u8],
}

impl<'a> Pair<'a> {
    /// The sender and the receiver of the IP packet that a line, or the line before it, is about.
    pub(super) fn of_line(line: &'a [u8]) -> Option<Self> {
        if is_continuation(line) {
            return Self::find(line.trim_ascii_start());
        }
        Self::find(ip_packet(prefix(line).1)?)
    }

    /// Parses the `FROM > TO: ` with which a packet begins. For a tunnel, finds that of the inner packet.
    fn find(line: &'a [u8]) -> Option<Self> {
        let mut found = None;
        let mut start = 0;
        while let Some(at) = memchr(b'>', &line[start..]) {
            let at = start + at;
            start = at + 1;
            if at < 2 || line[at - 1] != b' ' || line.get(at + 1) != Some(&b' ') {
                continue;
            }
            let to = &line[at + 2..];
            let Some(space) = memchr(b' ', to) else {
                break;
            };
            // The link-layer header has no colon here.
            let Some(address) = to[..space].strip_suffix(b":") else {
                continue;
            };
            let from = memrchr(b' ', &line[..at - 1]).map_or(0, |at| at + 1);
            // Anything else is what somebody sent.
            if found.is_none() && from != 0 {
                return None;
            }
            let mut pair = Self {
                from: &line[from..at - 1],
                to: address,
                ports: None,
                after: &to[space + 1..],
            };
            if let Some(outer) = found.take_if(|outer: &mut Self| outer.is_extended()) {
                pair.ports = Some((pair.from, pair.to));
                (pair.from, pair.to) = (outer.from, outer.to);
            }
            let has_more = pair.is_tunnel() || pair.is_extended();
            found = Some(pair);
            if !has_more {
                break;
            }
        }
        found
    }

    /// Whether an extension header is between the IPv6 and the TCP header. Then the pair after it
    /// has only the ports: `IP6 2001:db8::1 > 2001:db8::9: HBH 37822 > 80: Flags [S]`.
    fn is_extended(&self) -> bool {
        self.ports.is_none()
            && [&b"HBH"[..], b"DSTOPT", b"RT6", b"srcrt", b"frag"]
                .iter()
                .any(|header| self.after.starts_with(header))
    }

    /// Whether this packet contains another one: `IP ..`, `GREv0, .. IP ..`, or with -e directly
    /// `FROM > TO: `.
    fn is_tunnel(&self) -> bool {
        if flags::parse(self.after).is_some() {
            return false;
        }
        let second = memchr(b' ', self.after).and_then(|at| self.after.get(at + 1));
        [&b"IP "[..], b"IP6 ", b"GREv", b"(hlim "]
            .iter()
            .any(|start| self.after.starts_with(start))
            || second == Some(&b'>')
    }
}

/// Whether a line continues the packet of the previous line. With -#, a packet number may be
/// indented as far.
pub(super) fn is_continuation(line: &[u8]) -> bool {
    match line {
        [b'\t', ..] => true,
        [b' ', b' ', b' ', b' ', digit, b' ', b' ', ..] => !digit.is_ascii_digit(),
        _ => line.starts_with(b"    "),
    }
}

/// Whether this is the first of the two lines that -v prints for an IPv4 packet.
pub(super) fn is_header(line: &[u8]) -> bool {
    line.ends_with(b")") && memmem::find(line, b"(tos 0x").is_some()
}

/// Whether tcpdump misread something else as an IP packet, such as the second of two VLAN tags
/// with -i any.
pub(super) fn is_unreadable(rest: &[u8]) -> bool {
    rest.ends_with(b"(invalid)") || memmem::find(rest, b"version error: ").is_some()
}

/// Whether this is only the beginning of a line about an IP packet.
pub(super) fn is_cut(rest: &[u8]) -> bool {
    rest.starts_with(b"IP ")
        || rest.starts_with(b"IP6 ")
        || [&b" IP "[..], b" IP6 ", b"ethertype IPv"]
            .iter()
            .any(|label| memmem::find(rest, label).is_some())
}

/// Whether a line without its time begins like that of a packet: with a protocol, a MAC address,
/// or an interface and a direction.
pub(super) fn is_start(rest: &[u8]) -> bool {
    const STARTS: [&[u8]; 10] = [
        b"IP ", b"IP6 ", b"ARP, ", b"RARP, ", b"PPPoE ", b"AF ", b"ip: ", b"STP ", b"LLDP, ",
        b"rule ",
    ];
    if STARTS.iter().any(|start| rest.starts_with(start)) {
        return true;
    }
    let mut words = rest
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    is_mac_address(first)
        || DIRECTIONS.contains(&first)
        || words.next().is_some_and(|word| DIRECTIONS.contains(&word))
}

/// Whether this is a status message of tcpdump.
pub(super) fn is_message(line: &[u8]) -> bool {
    const STARTS: [&[u8]; 6] = [
        b"tcpdump: ",
        b"listening on ",
        b"reading from ",
        b"dropped privs to ",
        b"Warning: ",
        b"Got ",
    ];
    const ENDS: [&[u8]; 5] = [
        b" packets captured",
        b" packet captured",
        b" received by filter",
        b" dropped by kernel",
        b" dropped by interface",
    ];
    STARTS.iter().any(|start| line.starts_with(start)) || ENDS.iter().any(|end| line.ends_with(end))
}

/// How many bytes of `lines`, which are complete, can be parsed without the lines that follow.
/// The first line that -v prints for a packet, and an ICMP packet that quotes another, need them.
#[must_use]
pub(crate) fn hold_back(lines: &[u8]) -> usize {
    let Some(last) = line_before(lines, lines.len()) else {
        return lines.len();
    };
    let line = line_at(lines, last);
    if is_header(line) || is_icmp(line) {
        packet_start(lines, last)
    } else {
        lines.len()
    }
}

/// Whether this is an ICMP packet, which a quoted packet may follow.
fn is_icmp(line: &[u8]) -> bool {
    line.starts_with(b"    ")
        && Pair::of_line(line).is_some_and(|pair| pair.after.starts_with(b"ICMP"))
}

/// The start of the packet that the line at `at` continues.
fn packet_start(lines: &[u8], mut at: usize) -> usize {
    while is_continuation(&lines[at..]) {
        match line_before(lines, at) {
            Some(before) => at = before,
            None => break,
        }
    }
    at
}

/// The start of the line that ends at `end`.
fn line_before(lines: &[u8], end: usize) -> Option<usize> {
    let end = end.checked_sub(1)?;
    Some(memrchr(b'\n', &lines[..end]).map_or(0, |at| at + 1))
}

/// The line that begins at `at`, without its line terminator.
fn line_at(lines: &[u8], at: usize) -> &[u8] {
    crate::read::parse::lines::lines(&lines[at..])
        .next()
        .unwrap_or_default()
}
