//! What precedes an IP packet in a line of tcpdump: the interface and the link-level header.
//!
//! Other protocols carry text that a neighbour chose, such as the system name of LLDP, and that text
//! can look like a packet. So each part is recognised from the start of the line.

use crate::read::parse::scan::{digits, split_at_byte};

/// How tcpdump names the direction of a packet with `-i any`.
pub(super) const DIRECTIONS: [&[u8]; 5] = [b"In", b"Out", b"B", b"M", b"P"];

/// The text of the IP packet in a line without its time: `FROM > TO: ..`. None if the line is not about
/// an IP packet.
pub(super) fn ip_packet(rest: &[u8]) -> Option<&[u8]> {
    let rest = after_direction(rest);
    let packet = match labelled(rest) {
        Some(packet) => packet,
        None => after_link(rest)?,
    };
    Some(after_details(packet))
}

/// Skips `eth0  In  ` or, with -e, only `  In `.
fn after_direction(text: &[u8]) -> &[u8] {
    let (first, after) = split(text);
    if DIRECTIONS.contains(&first) {
        return after;
    }
    let (second, after) = split(after);
    if DIRECTIONS.contains(&second) {
        after
    } else {
        text
    }
}

/// What follows `IP ` or `IP6 `; `ip: ` is that of raw IP with -e.
fn labelled(text: &[u8]) -> Option<&[u8]> {
    let labels = [&b"IP "[..], b"IP6 ", b"ip: ", b"ip6: "];
    labels.iter().find_map(|label| text.strip_prefix(*label))
}

/// What follows the link-level header of an IP packet.
fn after_link(text: &[u8]) -> Option<&[u8]> {
    if let Some(text) = text.strip_prefix(b"rule ") {
        return after_rule(text);
    }
    if let Some(text) = text.strip_prefix(b"PPPoE ") {
        return after_session(text);
    }
    if let Some(text) = text.strip_prefix(b"AF IPv") {
        // The loopback of BSD, `AF IPv4 (2), length 64: `.
        return after_length(split_at_byte(text, b',')?.1.trim_ascii_start());
    }
    after_ethertypes(after_addresses(text))
}

/// `39/(match) pass in on em1: ` of pf.
fn after_rule(text: &[u8]) -> Option<&[u8]> {
    let (number, _) = digits(text);
    let on = memchr::memmem::find(text, b" on ")?;
    let mut words = text[..on].rsplit(|byte| *byte == b' ');
    let (direction, action) = (words.next()?, words.next()?);
    let is_rule = !number.is_empty()
        && [&b"in"[..], b"out"].contains(&direction)
        && [
            &b"pass"[..],
            b"block",
            b"match",
            b"scrub",
            b"nat",
            b"rdr",
            b"binat",
        ]
        .contains(&action);
    let (_interface, packet) = split(&text[on + b" on ".len()..]);
    is_rule.then_some(packet)
}

/// ` [ses 0x1] IP ` or, with -e, ` [ses 0x1] PPP-IP (0x0021), length 46: `.
fn after_session(text: &[u8]) -> Option<&[u8]> {
    let mut text = text.trim_ascii_start();
    if let Some(session) = text.strip_prefix(b"[ses ") {
        text = split_at_byte(session, b']')?.1.trim_ascii_start();
    }
    if let Some(packet) = labelled(text) {
        return Some(packet);
    }
    let (label, after) = split(text);
    let is_ip = [&b"PPP-IP"[..], b"PPP-IP6"].contains(&label);
    after_length(
        split_at_byte(after, b',')
            .filter(|_| is_ip)?
            .1
            .trim_ascii_start(),
    )
}

/// Skips `ifindex 1 `, and addresses with their owners: `02:00:00:00:00:01 (oui Ethernet) > .., `.
fn after_addresses(text: &[u8]) -> &[u8] {
    let mut rest = text;
    if let Some(index) = text.strip_prefix(b"ifindex ") {
        rest = split(index).1;
    }
    loop {
        let (word, after) = split(rest);
        let address = word.strip_suffix(b",").unwrap_or(word);
        rest = if is_mac_address(address) || word == b">" {
            after
        } else if word == b"(oui" {
            match split_at_byte(after, b')') {
                Some((_, after)) => after.strip_prefix(b",").unwrap_or(after).trim_ascii_start(),
                None => return rest,
            }
        } else {
            return rest;
        };
    }
}

/// `ethertype 802.1Q (0x8100), length 62: vlan 5, p 0, ethertype IPv4 (0x0800), `
fn after_ethertypes(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let (_, after) = split_at_byte(rest.strip_prefix(b"ethertype ")?, b'(')?;
        let (number, after) = split_at_byte(after, b')')?;
        let after = after.strip_prefix(b", ")?;
        let after = after_length(after).unwrap_or(after);
        rest = match number {
            b"0x0800" | b"0x86dd" => return Some(after),
            b"0x8864" => return after_session(after.strip_prefix(b"PPPoE ")?),
            _ => &after[memchr::memmem::find(after, b"ethertype ")?..],
        };
        let tag = &after[..after.len() - rest.len()];
        // `vlan 5, p 0, DEI, `
        let is_tag = tag.starts_with(b"vlan ") && tag.ends_with(b", ") && tag.len() < 40;
        if !is_tag {
            return None;
        }
    }
}

/// What follows `length 62: `.
fn after_length(text: &[u8]) -> Option<&[u8]> {
    let (_, after) = digits(text.strip_prefix(b"length ")?);
    after.strip_prefix(b": ")
}

/// Skips what precedes the addresses: `truncated-ip - 9 bytes missing! ` and, in one line in old
/// versions, what -v shows of the IP header.
fn after_details(text: &[u8]) -> &[u8] {
    let mut rest = text;
    if rest.starts_with(b"truncated-ip")
        && let Some((_, after)) = split_at_byte(rest, b'!')
    {
        rest = after.trim_ascii_start();
    }
    if rest.starts_with(b"(") {
        let mut depth = 0;
        let end = rest.iter().position(|byte| {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => (),
            }
            depth == 0
        });
        if let Some(end) = end {
            rest = rest[end + 1..].trim_ascii_start();
        }
    }
    rest
}

/// The first word, and the text after it and the spaces that follow.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    match split_at_byte(text, b' ') {
        Some((word, after)) => (word, after.trim_ascii_start()),
        None => (text, b""),
    }
}

/// Whether this is `02:00:00:00:00:01`.
pub(super) fn is_mac_address(word: &[u8]) -> bool {
    let is_valid = |(index, byte): (usize, &u8)| match index % 3 {
        2 => *byte == b':',
        _ => byte.is_ascii_hexdigit(),
    };
    word.len() == 17 && word.iter().enumerate().all(is_valid)
}
