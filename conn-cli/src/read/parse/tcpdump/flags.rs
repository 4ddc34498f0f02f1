//! The flags and the sequence numbers of a TCP packet.

use memchr::memchr;

use super::CUT;
use crate::read::{
    event::ParseError,
    parse::scan::{digits, leading_number, number, split_at_byte},
};

/// What a TCP packet does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It asks for a connection, with this sequence number.
    Syn(u32),
    /// It answers a SYN with this sequence number.
    Answer(u32),
    /// It ends a connection: a FIN or RST.
    End,
    /// Something else.
    Other,
}

/// Parses the text after the addresses; None if it is not about TCP, or has no flags.
///
/// Of packets with SYN, both numbers are absolute, with and without -S.
pub(super) fn parse(text: &[u8]) -> Option<Result<Kind, ParseError>> {
    match text.strip_prefix(b"Flags [") {
        Some(flags) => Some(with_labels(flags)),
        None => without_labels(text),
    }
}

/// `S], cksum 0xfe31 (correct), seq 17, ack 5, win 64240`, after `Flags [`.
fn with_labels(text: &[u8]) -> Result<Kind, ParseError> {
    let (flags, rest) = match text {
        // The usual ones first.
        [flags @ b'S', b']', rest @ ..] => (std::slice::from_ref(flags), rest),
        _ => split_at_byte(text, b']').ok_or(CUT)?,
    };
    if !is_handshake(flags) {
        return Ok(other(flags));
    }
    if flags.contains(&b'.') {
        let acknowledged = labelled(rest, b", ack ").ok_or(CUT)?;
        return Ok(Kind::Answer(acknowledged.wrapping_sub(1)));
    }
    Ok(Kind::Syn(labelled(rest, b", seq ").ok_or(CUT)?))
}

/// `S, cksum 0x6c45 (correct), 17:17(0) ack 5 win 5840` of tcpdump before version 4, and of OpenBSD.
fn without_labels(text: &[u8]) -> Option<Result<Kind, ParseError>> {
    let end = text.iter().position(|byte| !b"SFPRUEW.".contains(byte))?;
    let (flags, rest) = text.split_at(end);
    let mut rest = rest.strip_prefix(b",").unwrap_or(rest).strip_prefix(b" ")?;
    if flags.is_empty() {
        return None;
    }
    for (start, end) in [
        (&b"[tcp sum "[..], b']'),
        (b"[bad tcp cksum ", b']'),
        (b"cksum ", b')'),
    ] {
        if rest.starts_with(start) {
            rest = split_at_byte(rest, end)?.1;
            rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        }
    }
    // `17:17(0)`; a packet without data has none, unless it is a SYN.
    let (first, after) = digits(rest);
    let acknowledged = || {
        let (_, after) = split_at_byte(rest, b')')?;
        let (number_text, after) = digits(after.strip_prefix(b" ack ")?);
        after
            .starts_with(b" ")
            .then(|| number::<u32>(number_text))?
    };
    let sequence = || {
        let (_, after) = digits(after.strip_prefix(b":")?);
        let (_, after) = split_at_byte(after.strip_prefix(b"(")?, b')')?;
        // Without what follows, the acknowledgment may be cut off.
        let is_whole = after.starts_with(b" win ") || acknowledged().is_some();
        is_whole.then(|| number(first))?
    };
    if !is_handshake(flags) {
        return Some(Ok(other(flags)));
    }
    let kind = sequence().map(|sequence| match acknowledged() {
        None => Kind::Syn(sequence),
        Some(acknowledged) => Kind::Answer(acknowledged.wrapping_sub(1)),
    });
    Some(kind.ok_or(CUT))
}

/// Whether a packet with these flags is a SYN or the answer to one. Linux drops a SYN that also has RST
/// or FIN. `E`, `W` and `e` are ECN flags.
#[inline(always)]
fn is_handshake(flags: &[u8]) -> bool {
    match flags {
        b"S" | b"S." => true,
        b"." | b"P." => false,
        _ => flags.contains(&b'S') && flags.iter().all(|flag| b"S.PUEWe".contains(flag)),
    }
}

/// What a packet with these other flags does.
fn other(flags: &[u8]) -> Kind {
    if !flags.contains(&b'S') && flags.iter().any(|flag| b"FR".contains(flag)) {
        Kind::End
    } else {
        Kind::Other
    }
}

/// The number after `label`, unless it may be cut. Each part of the text begins with a comma, and
/// the parts searched for are among the first.
fn labelled(mut text: &[u8], label: &[u8]) -> Option<u32> {
    while !text.starts_with(label) {
        let next = memchr(b',', text.get(1..)?)?;
        text = &text[1 + next..];
    }
    match leading_number(&text[label.len()..])? {
        (value, [b',' | b':', ..]) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_old_versions_are_parsed() {
        for (text, kind) in [
            ("S 17:17(0) win 5840 <mss 1460>", Kind::Syn(17)),
            (
                "S, cksum 0x6c45 (correct), 17:17(0) win 5840",
                Kind::Syn(17),
            ),
            ("S [tcp sum ok] 17:17(0) win 5840 (DF)", Kind::Syn(17)),
            ("SWE 17:17(0) win 5840", Kind::Syn(17)),
            (
                "S, cksum 0x53d7 (correct), 7:7(0) ack 18 win 5792",
                Kind::Answer(17),
            ),
            ("S 7:7(0) ack 0 win 5792", Kind::Answer(u32::MAX)),
            (
                "., cksum 0x9343 (correct), 1:1(0) ack 1 win 1460",
                Kind::Other,
            ),
            (". ack 1 win 1460", Kind::Other),
            ("P 1:5(4) ack 1 win 1460", Kind::Other),
            ("SF 1:1(0) win 1460", Kind::Other),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(Ok(kind)), "{text}");
        }
        for text in [
            "S 17",
            "S 17:17",
            "S 4294967296:4294967296(0) win 1",
            "S, cksum 0x53d7 (correct), 7",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(Err(CUT)), "{text}");
        }
        for text in [
            "UDP, length 4",
            "S? x",
            "SYN",
            "",
            ".",
            "5+ A? S 17:17(0)",
            "tcp 0",
            "Unknown",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
