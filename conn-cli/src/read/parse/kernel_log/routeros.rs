//! The packet records of MikroTik's RouterOS. Topics stand before them in place of a program's name:
//!
//! ```text
//! firewall,info PREFIX input: in:ether1 out:(unknown 0), connection-state:new src-mac 02:00:00:00:00:01, proto TCP (SYN), 192.0.2.1:37822->192.0.2.9:80, len 60
//! ```
//!
//! Older versions leave out the connection's state or the flags, and newer ones write `NAT (..)->..` and
//! `prio ..` before the length.

use super::{
    netfilter::{CUT, PacketRecord, Syn},
    stamp::{Stamp, Stamped},
};
use crate::{
    model::connection::{Host, Lacks},
    read::{
        event::ParseError,
        parse::scan::{self, address, is_time_of_day, number, word},
    },
};

/// Whether these are topics of firewall records, such as `firewall,info`.
pub(super) fn is_topics(name: &[u8]) -> bool {
    let mut topics = name.split(|byte| *byte == b',');
    let is_topic = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-' || *byte == b',';
    name.contains(&b',') && name.iter().all(is_topic) && topics.any(|topic| topic == b"firewall")
}

/// The text after topics at the beginning, if these are of firewall records. WinBox shows them as
/// `firewall, info`.
pub(super) fn after_topics(text: &[u8]) -> Option<&[u8]> {
    let (name, rest) = word(text)?;
    if name != b"firewall," {
        return is_topics(name).then_some(rest);
    }
    let (level, rest) = word(rest)?;
    level.iter().all(u8::is_ascii_lowercase).then_some(rest)
}

/// The time before topics, as RouterOS prints it itself, and the text after the topics:
/// `14:25:37 firewall,info `, `nov/22/2026 14:25:37 firewall,info `, `11-22 14:25:37 firewall,info `.
pub(super) fn stamp(text: &[u8]) -> Option<Stamped<'_>> {
    let (first, rest) = word(text)?;
    if is_time_of_day(first) {
        return Some((Stamp::Recorded(first, Lacks::Date), after_topics(rest)?));
    }
    let (clock, rest) = word(rest)?;
    let is_date = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-".contains(byte);
    let is_time = is_time_of_day(clock) && first.iter().all(is_date);
    is_time.then_some((Stamp::None, after_topics(rest)?))
}

/// Finds the packet record in `message`, even if it is cut.
pub(super) fn find(message: &[u8]) -> Option<PacketRecord<'_>> {
    // Without topics, a log daemon may take the chain for a tag.
    let at = if message.starts_with(b"in:") {
        0
    } else {
        scan::find(message, b": in:")?
    };
    let rest = &message[at..];
    memchr::memmem::find(rest, b" out:")?;
    let chain = message[..at].iter().rposition(|byte| *byte == b' ');
    Some(PacketRecord {
        prefix: &message[..chain.unwrap_or(0)],
        // An interface can have any name, such as that of a PPPoE user.
        syn: match memchr::memmem::rfind(rest, b"proto ") {
            Some(at) => syn(&rest[..at], &rest[at + b"proto ".len()..]),
            None => Err(CUT),
        },
    })
}

/// The SYN in the text after `proto `. `before`: the text before that, with the state.
fn syn(before: &[u8], text: &[u8]) -> Result<Option<Syn>, ParseError> {
    let end = text
        .iter()
        .position(|byte| b" ,".contains(byte))
        .ok_or(CUT)?;
    let (protocol, rest) = text.split_at(end);
    if protocol != b"TCP" {
        return Ok(None);
    }
    let (is_syn, rest) = match rest.strip_prefix(b" (") {
        Some(rest) => {
            let end = memchr::memchr(b')', rest).ok_or(CUT)?;
            (is_syn(&rest[..end]), &rest[end + 1..])
        }
        None => (is_new(before), rest),
    };
    let rest = rest.strip_prefix(b", ").ok_or(CUT)?;
    let (ends, rest) = match memchr::memmem::find(rest, b", ") {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => return Err(CUT),
    };
    let length = rest.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let has_length = rest.ends_with(&[b"len ", length].concat()) && number::<u32>(length).is_some();
    let arrow = memchr::memmem::find(ends, b"->").ok_or(CUT)?;
    let (client, server) = (end_point(&ends[..arrow]), end_point(&ends[arrow + 2..]));
    match (client, server) {
        (Some(client), Some(server)) if has_length => Ok(is_syn.then_some(Syn {
            client,
            server,
            sequence: None,
            ip_id: None,
            is_end: false,
        })),
        _ => Err(CUT),
    }
}

/// Whether `SYN,ECE,CWR` is that of a first packet.
fn is_syn(flags: &[u8]) -> bool {
    let has = |flag: &[u8]| flags.split(|byte| *byte == b',').any(|other| other == flag);
    has(b"SYN") && ![&b"ACK"[..], b"RST", b"FIN"].iter().any(|flag| has(flag))
}

/// Whether the packet begins a connection: `connection-state:new `, `connection-state:new,snat `.
fn is_new(text: &[u8]) -> bool {
    const STATE: &[u8] = b"connection-state:new";
    let after = memchr::memmem::rfind(text, STATE).map(|at| &text[at + STATE.len()..]);
    after.is_some_and(|after| matches!(after, [] | [b' ' | b',', ..]))
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`
fn end_point(text: &[u8]) -> Option<(Host, u16)> {
    let colon = memchr::memrchr(b':', text)?;
    let host = &text[..colon];
    let host = match host.strip_prefix(b"[") {
        Some(inner) => inner.strip_suffix(b"]")?,
        None => host,
    };
    Some((address(host)?, number(&text[colon + 1..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(message: &str) -> Result<Option<String>, ParseError> {
        let syn = find(message.as_bytes()).unwrap().syn?;
        Ok(syn.map(|syn| {
            let ((from, from_port), (to, to_port)) = (syn.client, syn.server);
            format!("{from} {from_port} {to} {to_port}")
        }))
    }

    #[test]
    fn syns_of_all_versions_are_found() {
        for message in [
            "drop-tcp input: in:ether1-WAN out:(unknown 0), connection-state:new src-mac 02:00:00:00:00:02, proto TCP (SYN), ",
            "input: in:ether1 out:(unknown 0), src-mac 02:00:00:00:00:02, proto TCP (SYN), ",
            "forward: in:ether1 out:bridge 1, proto TCP (SYN,ECE,CWR), ",
            "forward: in:<pppoe-proto UDP> out:ether2,connection-state:new, proto TCP, ",
            "forward: in:a out:b, connection-state:new,snat proto TCP, ",
            "A|x|forward: in:a out:b, connection-state:new proto TCP (SYN), ",
        ] {
            for after in [
                "len 60",
                "NAT (192.0.2.1:37822->198.51.100.9:37822)->192.0.2.9:80, len 60",
                "NAT 192.0.2.1:37822->(192.0.2.9:80->10.0.0.2:8080), prio 0->1, len 60",
            ] {
                let found = ends(&format!("{message}192.0.2.1:37822->192.0.2.9:80, {after}"));
                assert_eq!(
                    found,
                    Ok(Some("192.0.2.1 37822 192.0.2.9 80".to_owned())),
                    "{message}{after}"
                );
            }
            let found = ends(&format!(
                "{message}[2001:db8::1]:37822->[2001:db8::9]:80, len 60"
            ));
            assert_eq!(
                found,
                Ok(Some("2001:db8::1 37822 2001:db8::9 80".to_owned())),
                "{message}"
            );
        }
        assert_eq!(
            find(b"drop all input: in:a out:b, x").unwrap().prefix,
            b"drop all"
        );
        assert_eq!(find(b"input: in:a out:b, x").unwrap().prefix, b"");
    }

    #[test]
    fn other_packets_are_ignored() {
        const ENDS: &str = "192.0.2.1:37822->192.0.2.9:80, len 60";
        for packet in [
            format!("proto TCP (ACK), {ENDS}"),
            format!("proto TCP (SYN,ACK), {ENDS}"),
            format!("proto TCP (RST), {ENDS}"),
            format!("proto TCP, {ENDS}"),
            format!("connection-state:established proto TCP, {ENDS}"),
            format!("connection-state:newer proto TCP, {ENDS}"),
            format!("connection-state:new proto UDP, {ENDS}"),
            "proto ICMP (type 8, code 0), 192.0.2.1->192.0.2.9, len 60".to_owned(),
        ] {
            assert_eq!(
                ends(&format!("forward: in:a out:b, {packet}")),
                Ok(None),
                "{packet}"
            );
        }
        assert_eq!(find(b"user admin logged in"), None);
    }

    #[test]
    fn cut_records_are_parse_errors() {
        let whole = "forward: in:a out:b, connection-state:new proto TCP (SYN), 192.0.2.1:37822->192.0.2.9:80, len 6";
        assert!(matches!(ends(whole), Ok(Some(_))));
        for end in "forward: in:a out:".len()..whole.len() {
            assert_eq!(ends(&whole[..end]), Err(CUT), "{}", &whole[..end]);
        }
        for after in [" x", "0 x", "\" 200"] {
            assert_eq!(ends(&format!("{whole}{after}")), Err(CUT), "{after}");
        }
    }

    #[test]
    fn topics_are_those_of_the_firewall() {
        for topics in ["firewall,info", "firewall,warning", "script,firewall,info"] {
            assert!(is_topics(topics.as_bytes()), "{topics}");
        }
        for topics in [
            "firewall",
            "system,info",
            "firewalls,info",
            "firewall,info:",
            "a=firewall,info",
            "",
        ] {
            assert!(!is_topics(topics.as_bytes()), "{topics}");
        }
    }
}
