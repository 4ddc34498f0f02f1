//! What a line of tcpdump's is, as far as its shape tells.

use memchr::{memchr, memmem, memrchr};

use super::{end, prefix};
use crate::read::format::Confidence;

/// GroupKey sends to whom, and what follows it in the line.
pub(super) struct Pair<'a> {
    pub(super) from: &'a [u8],
    pub(super) to: &'a [u8],
    /// The ports of both, if they are not with the addresses: see [`Self::is_extended`].
    pub(super) ports: Option<(&'a [u8], &'a [u8])>,
    pub(super) after: &'a [u8],
}

impl<'a> Pair<'a> {
    /// Finds `FROM > TO: ` in a line: the first, since after it the line may have what somebody
    /// sent; but of a tunnel, that of the packet in it.
    pub(super) fn find(line: &'a [u8]) -> Option<Self> {
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
            // The link-level header has no colon here.
            let Some(address) = to[..space].strip_suffix(b":") else {
                continue;
            };
            let from = memrchr(b' ', &line[..at - 1]).map_or(0, |at| at + 1);
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

    /// Whether IPv6 has something between its own header and that of TCP. Of TCP there are then
    /// only the ports: `IP6 2001:db8::1 > 2001:db8::9: HBH 37822 > 80: Flags [S]`.
    fn is_extended(&self) -> bool {
        self.ports.is_none()
            && [&b"HBH"[..], b"DSTOPT", b"RT6", b"srcrt", b"frag"]
                .iter()
                .any(|header| self.after.starts_with(header))
    }

    /// Whether another packet is in this one: `IP ..`, `GREv0, .. IP ..`, or with -e at once
    /// `FROM > TO: `.
    fn is_tunnel(&self) -> bool {
        if self.after.starts_with(b"Flags") {
            return false;
        }
        let second = memchr(b' ', self.after).and_then(|at| self.after.get(at + 1));
        [&b"IP "[..], b"IP6 ", b"GREv", b"(hlim "]
            .iter()
            .any(|start| self.after.starts_with(start))
            || second == Some(&b'>')
    }
}

/// Whether a line belongs to the packet of the line before. The number of a packet, with -#,
/// has as many spaces before it.
pub(super) fn is_continuation(line: &[u8]) -> bool {
    match line {
        [b'\t', ..] => true,
        [b' ', b' ', b' ', b' ', digit, b' ', b' ', ..] => !digit.is_ascii_digit(),
        _ => line.starts_with(b"    "),
    }
}

/// Whether this is the first of the two lines that -v makes of an IPv4 packet.
pub(super) fn is_header(line: &[u8]) -> bool {
    line.ends_with(b")") && memmem::find(line, b"(tos 0x").is_some()
}

/// Whether tcpdump took something else for an IP packet: of a packet with two VLAN tags,
/// -i any shows the second.
pub(super) fn is_unreadable(rest: &[u8]) -> bool {
    rest.ends_with(b"(invalid)") || memmem::find(rest, b"version error: ").is_some()
}

/// Whether this is the beginning of a line about an IP packet, which has more.
pub(super) fn is_cut(rest: &[u8]) -> bool {
    rest.starts_with(b"IP ")
        || rest.starts_with(b"IP6 ")
        || [&b" IP "[..], b" IP6 ", b"ethertype IPv"]
            .iter()
            .any(|label| memmem::find(rest, label).is_some())
}

/// Whether a line without its time begins as that of a packet does: with a protocol, the
/// address of a network card, or an interface and a direction.
pub(super) fn is_start(rest: &[u8]) -> bool {
    const STARTS: [&[u8]; 9] = [
        b"IP ", b"IP6 ", b"ARP, ", b"RARP, ", b"PPPoE ", b"AF ", b"ip: ", b"STP ", b"LLDP, ",
    ];
    const DIRECTIONS: [&[u8]; 5] = [b"In", b"Out", b"B", b"M", b"P"];
    let is_card = |word: &[u8]| {
        let is_right = |(index, byte): (usize, &u8)| match index % 3 {
            2 => *byte == b':',
            _ => byte.is_ascii_hexdigit(),
        };
        word.len() == 17 && word.iter().enumerate().all(is_right)
    };
    if STARTS.iter().any(|start| rest.starts_with(start)) {
        return true;
    }
    let mut words = rest
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    is_card(first)
        || DIRECTIONS.contains(&first)
        || words.next().is_some_and(|word| DIRECTIONS.contains(&word))
}

/// Whether tcpdump says this of itself.
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

/// Whether a line is one of tcpdump.
#[must_use]
pub fn confidence(line: &[u8]) -> Confidence {
    let says_what_it_is = |start: &[u8]| {
        line.strip_prefix(b"tcpdump: ")
            .unwrap_or(line)
            .starts_with(start)
    };
    if says_what_it_is(b"verbose output suppressed")
        || [&b"listening on "[..], b"reading from "]
            .iter()
            .any(|start| says_what_it_is(start) && memmem::find(line, b", link-type ").is_some())
    {
        return Confidence::Certain;
    }
    let continues = is_continuation(line);
    let (_, rest) = prefix(line);
    if line.starts_with(b"\t") || !(continues || is_start(rest)) {
        return Confidence::None;
    }
    let is_pair = |pair: &Pair<'_>| {
        let (from, to) = pair.ports.unzip();
        end(pair.from, from).is_some() && end(pair.to, to).is_some()
    };
    match Pair::find(line) {
        Some(pair) if pair.after.starts_with(b"Flags [") && is_pair(&pair) => Confidence::Certain,
        _ if is_header(line) && !continues => Confidence::Certain,
        Some(_) if !continues => Confidence::Possible,
        None if rest.starts_with(b"ARP, ") => Confidence::Possible,
        _ => Confidence::None,
    }
}

/// From where on `lines`, which are whole, belong together with lines that are still to come:
/// the first line that -v makes of a packet, and a packet of ICMP that quotes another.
#[must_use]
pub fn hold_back(lines: &[u8]) -> usize {
    let Some(last) = line_before(lines, lines.len()) else {
        return lines.len();
    };
    let line = line_at(lines, last);
    match is_header(line) || is_icmp(line) {
        true => packet_start(lines, last),
        false => lines.len(),
    }
}

/// Whether a packet follows that this one quotes.
fn is_icmp(line: &[u8]) -> bool {
    line.starts_with(b"    ")
        && Pair::find(line).is_some_and(|pair| pair.after.starts_with(b"ICMP"))
}

/// Where the first line of the packet begins that the line at `at` continues.
fn packet_start(lines: &[u8], mut at: usize) -> usize {
    while is_continuation(&lines[at..]) {
        match line_before(lines, at) {
            Some(before) => at = before,
            None => break,
        }
    }
    at
}

/// Where the line begins that ends before `end`.
fn line_before(lines: &[u8], end: usize) -> Option<usize> {
    let end = end.checked_sub(1)?;
    Some(memrchr(b'\n', &lines[..end]).map_or(0, |at| at + 1))
}

/// The line that begins at `at`, without its end.
fn line_at(lines: &[u8], at: usize) -> &[u8] {
    super::super::lines(&lines[at..]).next().unwrap_or_default()
}
