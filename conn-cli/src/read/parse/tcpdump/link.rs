//! What precedes an IP packet in a line of tcpdump: the interface and the link-level header.
//!
//! Other protocols carry text that a neighbour chose, such as the system name of LLDP, and that text
//! can look like a packet. So each part is recognised from the start of the line.

use memchr::memmem;

use crate::read::parse::scan::{digits, split_at_byte};

/// How tcpdump names the direction of a packet with `-i any`.
const DIRECTIONS: [&[u8]; 5] = [b"In", b"Out", b"B", b"M", b"P"];

/// The text of the IP packet in a line without its time: `FROM > TO: ..`. None if the line is not about
/// an IP packet.
#[inline]
pub(super) fn ip_packet(rest: &[u8]) -> Option<&[u8]> {
    // The usual forms first.
    if let Some(packet) = labelled(rest) {
        return Some(packet);
    }
    let rest = after_direction(rest);
    let packet = labelled(rest).or_else(|| after_link(rest))?;
    Some(without_details(packet))
}

/// Skips `eth0  In  ` or, with -e, only `  In `.
pub(super) fn after_direction(text: &[u8]) -> &[u8] {
    let (first, after) = split(text);
    if DIRECTIONS.contains(&first) {
        return after;
    }
    let (second, after) = split(after);
    if DIRECTIONS.contains(&second) && !first.ends_with(b",") && !first.ends_with(b":") {
        after
    } else {
        text
    }
}

/// Skips the interface and the direction of versions before 3.7 with `-i any`: `eth0 < `, `eth0 > `.
pub(super) fn after_arrow(text: &[u8]) -> &[u8] {
    let (_, after) = split(text);
    let (arrow, after) = split(after);
    let (_, next) = split(after);
    if [&b"<"[..], b">"].contains(&arrow) && next.starts_with(b"> ") {
        after
    } else {
        text
    }
}

/// What follows `IP ` or `IP6 `; `ip: ` is that of raw IP with -e, and `IP (0x0021), length 44: ` that of
/// PPP.
#[inline]
fn labelled(text: &[u8]) -> Option<&[u8]> {
    let labels = [&b"IP "[..], b"IP6 ", b"ip: ", b"ip6: "];
    let packet = labels.iter().find_map(|label| text.strip_prefix(*label))?;
    match packet {
        [b'(', b'0', b'x', number @ ..] => {
            let (_, after) = split_at_byte(number, b')')?;
            Some(without_details(after_length(after.strip_prefix(b", ")?)?))
        }
        [b'(' | b't', ..] => Some(without_details(packet)),
        _ => Some(packet),
    }
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
    if let Some(text) = text.strip_prefix(b"MPLS ") {
        return after_labels(text);
    }
    if let Some(text) = text.strip_prefix(b"version ") {
        return after_nflog(text);
    }
    if text.starts_with(b"802.1Q v") {
        return after_old_tags(text);
    }
    // Cisco HDLC.
    let text = text.strip_prefix(b"unicast, ").unwrap_or(text);
    let after = after_addresses(text);
    after_ethertypes(after).or_else(|| after_old_type(after).filter(|_| after.len() < text.len()))
}

/// `0800 74: ` of OpenBSD and `ip 74: ` of versions before 3.8, after two addresses with -e.
fn after_old_type(text: &[u8]) -> Option<&[u8]> {
    let (kind, after) = split(text);
    let (_, after) = digits(after);
    let after = after.strip_prefix(b": ")?;
    match kind {
        b"0800" | b"86dd" | b"ip" | b"ip6" => Some(after),
        b"8100" | b"802.1Q" => after_old_tags(after),
        _ => None,
    }
}

/// `802.1Q vid 10 pri 0 ` of OpenBSD and `802.1Q vlan#10 P0 ` of versions before 3.9. They do not write the type.
fn after_old_tags(text: &[u8]) -> Option<&[u8]> {
    let mut packet = text;
    while let Some(tag) = packet.strip_prefix(b"802.1Q ") {
        packet = match tag.strip_prefix(b"vid ") {
            Some(tag) => digits(digits(tag).1.strip_prefix(b" pri ")?).1,
            None => digits(digits(tag.strip_prefix(b"vlan#")?).1.strip_prefix(b" P")?).1,
        };
        let packet_after = [&b" cfi"[..], b" CFI"]
            .iter()
            .find_map(|cfi| packet.strip_prefix(*cfi));
        packet = packet_after.unwrap_or(packet).strip_prefix(b" ")?;
    }
    split(without_details(packet))
        .1
        .starts_with(b"> ")
        .then_some(packet)
}

/// `39/(match) pass in on em1: ` of pf, where `39` may be `def` or `2.anchor.1`.
fn after_rule(text: &[u8]) -> Option<&[u8]> {
    const ACTIONS: [&[u8]; 13] = [
        b"pass",
        b"block",
        b"scrub",
        b"noscrub",
        b"nat",
        b"nonat",
        b"binat",
        b"nobinat",
        b"rdr",
        b"nordr",
        b"synproxy_drop",
        b"match",
        b"defer",
    ];
    let (rule, _) = split_at_byte(text, b'/')?;
    let (on, after) = text.split_at(memmem::find(text, b" on ")?);
    let mut words = on.rsplit(|byte| *byte == b' ');
    let (direction, action) = (words.next()?, words.next()?);
    let is_rule = (rule.first().is_some_and(u8::is_ascii_digit) || rule.starts_with(b"def"))
        && [&b"in"[..], b"out"].contains(&direction)
        && ACTIONS.contains(&action);
    let (interface, mut packet) = split(&after[b" on ".len()..]);
    if !is_rule || !interface.ends_with(b":") {
        return None;
    }
    // OpenBSD with -v: `[rewritten: src 192.0.2.1:5, dst 192.0.2.9:80] `
    while let Some(inside) = packet.strip_prefix(b"[") {
        packet = split_at_byte(inside, b']')?.1.trim_ascii_start();
    }
    // Others have no label of their own.
    let is_other = [&b"arp "[..], b"ARP, "]
        .iter()
        .any(|start| packet.starts_with(start));
    (!is_other).then(|| labelled(packet).unwrap_or(packet))
}

/// ` [ses 0x1] IP ` or, in old versions with -e, ` [ses 0x1] PPP-IP (0x0021), length 46: `.
fn after_session(text: &[u8]) -> Option<&[u8]> {
    let mut text = text.trim_ascii_start();
    if let Some(session) = text.strip_prefix(b"[ses ") {
        text = split_at_byte(session, b']')?.1.trim_ascii_start();
    }
    labelled(text.strip_prefix(b"PPP-").unwrap_or(text))
}

/// `(label 16, tc 0, ttl 64) (label 17, tc 0, [S], ttl 64) ` of MPLS.
fn after_labels(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    while let Some(label) = rest.strip_prefix(b"(label ") {
        rest = split_at_byte(label, b')')?.1.trim_ascii_start();
    }
    // With -e, the addresses follow directly.
    (!rest.is_empty()).then(|| labelled(rest).unwrap_or(rest))
}

/// `0, resource ID 5, family IPv4 (2), length 72: ` of NFLOG.
fn after_nflog(text: &[u8]) -> Option<&[u8]> {
    let (_, after) = digits(text);
    let (_, after) = digits(after.strip_prefix(b", resource ID ")?);
    let (_, after) = split_at_byte(after.strip_prefix(b", family IPv")?, b',')?;
    after_length(after.trim_ascii_start())
}

/// Skips `ifindex 1 `, and addresses with their owners: `02:00:00:00:00:01 (oui Ethernet) > .., `.
pub(super) fn after_addresses(text: &[u8]) -> &[u8] {
    let mut rest = text;
    if let Some(index) = text.strip_prefix(b"ifindex ") {
        rest = split(index).1;
    }
    loop {
        let (word, after) = split(rest);
        let address = word.strip_suffix(b",").unwrap_or(word);
        rest = if is_mac_address(address) || [&b">"[..], b"<"].contains(&word) {
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
        let text = rest.strip_prefix(b"ethertype ")?;
        // Old versions do not write the number after a tag: `vlan 5, p 0, ethertype IPv4, `.
        let by_name = [b"IPv4, ", b"IPv6, "]
            .iter()
            .find_map(|name| text.strip_prefix(*name));
        if let Some(after) = by_name {
            // Version 3.8 writes the length: `ethertype IPv4, length 74: IP `.
            let after = after_length(after).unwrap_or(after);
            return Some(labelled(after).unwrap_or(after));
        }
        let tag = [&b"802.1Q, "[..], b"802.1Q-QinQ, "]
            .iter()
            .find_map(|name| text.strip_prefix(*name));
        let (number, after) = match tag {
            Some(after) => (&b"0x8100"[..], after),
            None => {
                let (number, after) = split_at_byte(split_at_byte(text, b'(')?.1, b')')?;
                (number, after.strip_prefix(b", ")?)
            }
        };
        let after = after_length(after).unwrap_or(after);
        rest = match number {
            b"0x0800" | b"0x86dd" => return Some(labelled(after).unwrap_or(after)),
            b"0x8847" | b"0x8848" => return after_labels(after.strip_prefix(b"MPLS ")?),
            b"0x8864" => return after_session(after.strip_prefix(b"PPPoE ")?),
            _ => &after[memmem::find(after, b"ethertype ")?..],
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

/// Skips what precedes the addresses: `truncated-ip - 9 bytes missing! ` and what -v shows of the IP
/// header, for IPv6 and in old versions.
pub(super) fn without_details(text: &[u8]) -> &[u8] {
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

/// Whether this is `02:00:00:00:00:01`, or `2:0:0:0:0:1` as versions before 3.8 write it.
pub(super) fn is_mac_address(word: &[u8]) -> bool {
    let is_part =
        |part: &[u8]| matches!(part.len(), 1 | 2) && part.iter().all(u8::is_ascii_hexdigit);
    (11..=17).contains(&word.len())
        && word.split(|byte| *byte == b':').count() == 6
        && word.split(|byte| *byte == b':').all(is_part)
}
