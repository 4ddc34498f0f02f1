//! Recognises the kind of a tcpdump line by its shape.

use memchr::{memmem, memrchr};

use super::{
    link::{after_addresses, after_direction, ip_packet, is_mac_address},
    pair::Pair,
    stamp::prefix,
};
use crate::read::parse::scan::digits;

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
    ip_packet(rest).is_some()
        || after_addresses(after_direction(rest)).starts_with(b"ethertype IPv")
}

/// Whether a line without its time is about a packet that is not IP: it begins with the protocol, or
/// with MAC addresses.
pub(super) fn is_other_packet(rest: &[u8]) -> bool {
    const STARTS: [&[u8]; 43] = [
        b"ARP, ",
        b"RARP, ",
        b"arp ",
        b"LLDP, ",
        b"CDPv",
        b"STP ",
        b"802.1",
        b"PPPoE ",
        b"MPLS ",
        b"AF ",
        b"LACPv",
        b"MARKERv",
        b"OAM",
        b"Slow Protocols",
        b"ESMC",
        b"EAPOL",
        b"EAP ",
        b"Loopback",
        b"UDLDv",
        b"DTPv",
        b"VTPv",
        b"EDP",
        b"IS-IS",
        b"ES-IS",
        b"IPX ",
        b"AT ",
        b"aarp ",
        b"LLC,",
        b"SNAP",
        b"Unknown ",
        b"unknown ",
        b"UNSUPPORTED",
        b"HomePlug",
        b"TIPC ",
        b"MEDSA",
        b"PTP",
        b"CFMv",
        b"AoE",
        b"LCP",
        b"IPCP",
        b"IP6CP",
        b"ethertype ",
        b"rule ",
    ];
    let rest = after_direction(rest);
    let word = rest.split(|&byte| byte == b' ').next();
    word.is_some_and(is_mac_address)
        || rest.starts_with(b"ifindex ")
        || STARTS.iter().any(|start| rest.starts_with(start))
}

/// Whether this can be the beginning of a line of tcpdump also without a time: -t prints none.
pub(super) fn may_lack_time(rest: &[u8]) -> bool {
    let word = rest.split(|&byte| byte == b' ').next();
    // No shorter address: a record of a firewall that is cut within one can begin with the rest of it.
    word.is_some_and(|word| word.len() == "02:00:00:00:00:01".len() && is_mac_address(word))
        || [
            &b"ARP, "[..],
            b"RARP, ",
            b"LLDP, ",
            b"STP 802",
            b"CDPv",
            b"PPPoE  ",
            b"MPLS (label ",
        ]
        .iter()
        .any(|start| rest.starts_with(start))
}

/// Whether this is a status message of tcpdump.
pub(super) fn is_message(line: &[u8]) -> bool {
    let message = line.strip_prefix(b"tcpdump: ");
    let text = message.unwrap_or(line);
    let is_banner = [&b"listening on "[..], b"reading from "]
        .iter()
        .any(|start| text.starts_with(start))
        && memmem::find(text, b"link-type ").is_some();
    // The terminal may have shown ^C before it.
    let (count, after) = digits(line.strip_prefix(b"^C").unwrap_or(line));
    let is_count = !count.is_empty()
        && [
            &b" packets captured"[..],
            b" packets shown",
            b" packet shown",
            b" packet captured",
            b" packets received by filter",
            b" packet received by filter",
            b" packets dropped by kernel",
            b" packet dropped by kernel",
            b" packets dropped by interface",
            b" packet dropped by interface",
        ]
        .contains(&after);
    message.is_some()
        || line == b"^C"
        || is_banner
        || is_count
        || line.starts_with(b"dropped privs to ")
        || line == b"Warning: interface names might be incorrect"
        || line.starts_with(b"verbose output suppressed, use -v")
}

/// How many bytes of `lines`, which are complete, can be parsed without the lines that follow.
/// The first line that -v prints for a packet, a tunnel, and an ICMP packet that quotes another, need them.
#[must_use]
pub(crate) fn hold_back(lines: &[u8]) -> usize {
    let Some(last) = line_before(lines, lines.len()) else {
        return lines.len();
    };
    let line = line_at(lines, last);
    let pair = pair(line);
    let is_icmp = || {
        let pair = pair.as_ref().filter(|_| line.starts_with(b"    "));
        pair.is_some_and(|pair| pair.after.starts_with(b"ICMP"))
    };
    if is_header(line) || pair.as_ref().is_some_and(Pair::continues) || is_icmp() {
        packet_start(lines, last)
    } else {
        lines.len()
    }
}

/// The sender and the receiver in a line.
fn pair(line: &[u8]) -> Option<Pair<'_>> {
    if is_continuation(line) {
        return Pair::parse_inner(line.trim_ascii_start());
    }
    Pair::parse(ip_packet(prefix(line).1)?)
}

/// The start of the packet that the line at `at` continues.
fn packet_start(lines: &[u8], mut at: usize) -> usize {
    while let Some(before) = line_before(lines, at)
        && (is_continuation(&lines[at..])
            || pair(line_at(lines, before)).is_some_and(|pair| pair.continues()))
    {
        at = before;
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
