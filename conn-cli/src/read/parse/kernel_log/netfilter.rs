//! The packet records of iptables and nftables, mostly with the fields in the order of the kernel's
//! `net/netfilter/nf_log_syslog.c`:
//!
//! ```text
//! IN=eth0 OUT= MAC=.. SRC=192.0.2.1 DST=192.0.2.9 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=0 DF PROTO=TCP SPT=37822 DPT=80 SEQ=1 ACK=0 WINDOW=64240 RES=0x00 SYN URGP=0 OPT (020405B4) UID=0 GID=0 MARK=0x1
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use super::fields;
use crate::{
    model::connection::{Connection, Host, Record, Source, When},
    read::{
        event::{Event, PacketId, ParseError},
        parse::scan::{self, address, leading_ipv4, leading_number, number, split_at_byte, word},
    },
};

/// Every record has this field, though its value may be empty.
const OUT: &[u8] = b" OUT=";

/// The longest record whose fields are looked for in any order; real ones have a few hundred bytes.
const MAX_LEN: usize = 4096;

/// How often `IN=` may be the beginning of such a record.
const MAX_TRIES: usize = 8;

pub(super) const CUT: ParseError = "the packet record is cut or damaged";

/// A SYN packet, or one with RST or FIN.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Syn {
    /// The sender.
    pub client: (Host, u16),
    /// The receiver.
    pub server: (Host, u16),
    /// Its sequence number, with `--log-tcp-sequence`.
    pub sequence: Option<u32>,
    /// The id field of its IPv4 header.
    pub ip_id: Option<u16>,
    /// Whether it is not a SYN, but ends a connection between sender and receiver.
    pub is_end: bool,
}

impl Syn {
    /// The event of this packet, which was seen at this time.
    #[inline]
    pub(crate) fn event(self, time: When) -> Event {
        let connection = Connection {
            time,
            remote: self.client.0,
            remote_port: Some(self.client.1),
            local: self.server.0,
            local_port: Some(self.server.1),
            ..Connection::unknown(Source::Record(Record::KernelLog))
        };
        if self.is_end {
            return Event::End(connection);
        }
        let id = PacketId {
            sequence: self.sequence,
            ip_id: self.ip_id,
        };
        Event::Syn(connection, id)
    }
}

/// The record of a packet in a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PacketRecord<'a> {
    /// The text before the record, which is the prefix of the rule.
    pub prefix: &'a [u8],
    /// The packet; None if it neither begins nor ends a connection.
    pub syn: Result<Option<Syn>, ParseError>,
}

/// Finds the packet record in `message`, even if it is cut. `ends_with_flags`: nothing has to follow the
/// flags.
#[inline]
pub(crate) fn find(message: &[u8], ends_with_flags: bool) -> Option<PacketRecord<'_>> {
    if let Some((prefix, text)) = usual_start(message)
        && let Ok(syn) = syn(text)
    {
        let syn = Ok(syn);
        return Some(PacketRecord { prefix, syn });
    }
    any_find(message, ends_with_flags)
}

/// The prefix of the rule, and the text after ` OUT=`, if the first two equals signs are those of `IN=` and ` OUT=`:
/// a fast path.
#[inline]
fn usual_start(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = split_at_byte(message, b'=')?;
    let prefix = before.strip_suffix(b"IN")?;
    let name = rest.iter().position(|byte| b" =".contains(byte))?;
    Some((prefix, rest[name..].strip_prefix(OUT)?))
}

/// The same for any record.
fn any_find(message: &[u8], ends_with_flags: bool) -> Option<PacketRecord<'_>> {
    let mut start = 0;
    while let Some(at) = scan::find(&message[start..], OUT) {
        let out = start + at;
        start = out + OUT.len();
        // An interface's name has no space, but the rule's prefix may end without one. The
        // prefix may also contain ` OUT=`.
        let mut before = message[..out].iter();
        let name = before.rposition(|byte| b" =".contains(byte));
        if let Some(prefix) = name.and_then(|name| message[..=name].strip_suffix(b"IN=")) {
            return Some(match syn(&message[start..]) {
                Err(_) => unusual(message, prefix.len(), ends_with_flags),
                syn => PacketRecord { prefix, syn },
            });
        }
    }
    without_out(message, ends_with_flags)
}

/// The same for a record that has no ` OUT=` after `IN=`.
#[cold]
fn without_out(message: &[u8], ends_with_flags: bool) -> Option<PacketRecord<'_>> {
    let is_record = message.starts_with(b"IN=")
        || scan::find(message, b" IN=").is_some()
        || scan::find(message, b"PROTO=TCP SPT=").is_some();
    if !is_record {
        return None;
    }
    // Not that of PHYSIN=.
    let is_name = |at: &usize| !{ message[..*at].last() }.is_some_and(u8::is_ascii_alphabetic);
    let found = memchr::memmem::find_iter(message, b"IN=")
        .filter(is_name)
        .take(MAX_TRIES)
        .map(|start| unusual(message, start, ends_with_flags))
        .find(|found| found.syn.is_ok());
    Some(found.unwrap_or(PacketRecord {
        prefix: b"",
        syn: Err(CUT),
    }))
}

/// A record whose fields are not as the kernel writes them. It begins at `start`, or with a field before.
#[cold]
fn unusual(message: &[u8], start: usize, ends_with_flags: bool) -> PacketRecord<'_> {
    let from = |start: usize| {
        if message.len() > MAX_LEN {
            return None;
        }
        let text = fields::in_order(&message[start..], ends_with_flags)?;
        let (prefix, syn) = (&message[..start], syn(&text));
        syn.is_ok().then_some(PacketRecord { prefix, syn })
    };
    let found = from(start).or_else(|| from(fields::first(&message[..start])?));
    found.unwrap_or(PacketRecord {
        prefix: &message[..start],
        syn: Err(CUT),
    })
}

/// The length of a message up to ` OUT=`, which is that of any message that begins with the same.
pub(super) fn start(message: &[u8]) -> Option<usize> {
    let (_, text) = usual_start(message)?;
    Some(message.len() - text.len())
}

/// Parses the fields of a packet. `text` begins after `OUT=`.
#[inline]
pub(super) fn syn(text: &[u8]) -> Result<Option<Syn>, ParseError> {
    let Some(source) = source(text) else {
        return if is_not_ip(text) { Ok(None) } else { Err(CUT) };
    };
    let (client, rest) = end(source, b"SRC=").ok_or(CUT)?;
    let (server, rest) = end(rest, b"DST=").ok_or(CUT)?;
    let header = match usual_header(rest) {
        None => any_header(rest)?,
        usual => usual,
    };
    let Some((ip_id, header)) = header else {
        return Ok(None);
    };
    Ok(Some(Syn {
        client: (host(client).ok_or(CUT)?, header.from),
        server: (host(server).ok_or(CUT)?, header.to),
        sequence: header.sequence,
        ip_id,
        is_end: header.is_end,
    }))
}

/// The id and the TCP header of a SYN over IPv4 without options, from `LEN=` on: a fast path, in one pass.
#[inline]
fn usual_header(text: &[u8]) -> Option<(Option<u16>, Tcp)> {
    let rest = after_number(text, b"LEN=")?;
    let rest = after_byte(rest, b" TOS=0x")?;
    let rest = after_byte(rest, b" PREC=0x")?;
    let rest = after_number(rest, b" TTL=")?;
    let (ip_id, rest) = leading_number(rest.strip_prefix(b" ID=")?)?;
    let rest = rest.strip_prefix(b" DF").unwrap_or(rest);
    let (from, rest) = leading_number(rest.strip_prefix(b" PROTO=TCP SPT=")?)?;
    let (to, rest) = leading_number(rest.strip_prefix(b" DPT=")?)?;
    let (sequence, rest) = match rest.strip_prefix(b" SEQ=") {
        Some(rest) => {
            let (sequence, rest) = leading_number(rest)?;
            (Some(sequence), after_number(rest, b" ACK=")?)
        }
        None => (None, rest),
    };
    let rest = after_number(rest, b" WINDOW=")?;
    let rest = after_byte(rest, b" RES=0x")?;
    fields::is_end(rest.strip_prefix(b" SYN URGP=")?).then_some(())?;
    let header = Tcp {
        from,
        to,
        sequence,
        is_syn: true,
        is_end: false,
    };
    Some((Some(ip_id), header))
}

/// The text after a field `name` with a number.
#[inline]
fn after_number<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = text.strip_prefix(name)?;
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    Some(rest)
}

/// The text after a field `name` with a byte in hexadecimal digits.
#[inline]
fn after_byte<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match text.strip_prefix(name)? {
        [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => Some(rest),
        _ => None,
    }
}

/// The same of any packet; None if it has no TCP header, or one that neither begins nor ends a connection.
fn any_header(rest: &[u8]) -> Result<Option<(Option<u16>, Tcp)>, ParseError> {
    // The rest is long, so one search by a rare byte finds both a second SRC= and PROTO=.
    let mut has_second_source = false;
    let protocol = memchr::memchr_iter(b'R', rest).find(|&at| {
        has_second_source |= surrounds(rest, at, b" S", b"RC=");
        surrounds(rest, at, b" P", b"ROTO=")
    });
    let Some(protocol) = protocol else {
        // dump_ipv6_packet ends with one of these if it finds no protocol.
        let ends = [&b"TRUNCATED"[..], b"( ESP ", b"Unknown Ext Hdr "];
        let is_whole = ends
            .iter()
            .any(|end| memchr::memmem::find(rest, end).is_some());
        return is_whole.then_some(None).ok_or(CUT);
    };
    if has_second_source {
        // Two lines are mixed: the addresses do not belong to this protocol.
        return Err(CUT);
    }
    let (fields, rest) = (&rest[..protocol], &rest[protocol + b"ROTO=".len()..]);
    let (protocol, rest) = match word(rest) {
        // An embedded packet is in brackets.
        None if b"TCP".starts_with(rest) && !is_fragment(fields) => return Err(CUT),
        None => (rest, &b""[..]),
        Some(split) => split,
    };
    if protocol.is_empty() || !protocol.iter().all(u8::is_ascii_alphanumeric) {
        return Err(CUT);
    }
    if protocol != b"TCP" {
        return Ok(None);
    }
    if !rest.starts_with(b"SPT=") && (is_fragment(fields) || rest.starts_with(b"INCOMPLETE [")) {
        return Ok(None);
    }
    let header = tcp(rest).ok_or(CUT)?;
    if !header.is_syn && !header.is_end {
        return Ok(None);
    }
    Ok(Some((ip_id(fields), header)))
}

/// Whether `text` has `before` directly before `at`, and `after` at `at`.
fn surrounds(text: &[u8], at: usize, before: &[u8], after: &[u8]) -> bool {
    text[..at].ends_with(before) && text[at..].starts_with(after)
}

/// The text from `SRC=` on.
#[inline]
fn source(text: &[u8]) -> Option<&[u8]> {
    // Mostly only the hardware addresses precede it.
    if let Some(address) = text.strip_prefix(b" MAC=")
        && let Some((_, rest @ [b'S', b'R', b'C', b'=', ..])) = split_at_byte(address, b' ')
    {
        return Some(rest);
    }
    Some(&text[scan::find(text, b" SRC=")? + 1..])
}

/// Whether a record without IP addresses is complete: an ARP packet, or a packet of which only
/// the Ethernet header is logged.
fn is_not_ip(text: &[u8]) -> bool {
    if memchr::memmem::find(text, b" ARP HTYPE=").is_some() {
        return true;
    }
    let Some(at) = memchr::memmem::find(text, b" MAC=") else {
        return false;
    };
    let address = text[at + b" MAC=".len()..].trim_ascii_end();
    // 14 bytes, of which the last two are the EtherType. A VLAN tag may be followed by IP.
    let may_be_ip = [&b"08:00"[..], b"86:dd", b"81:00", b"88:a8"];
    address.len() == 14 * 3 - 1
        && !address.contains(&b' ')
        && !may_be_ip.iter().any(|kind| address.ends_with(kind))
}

/// Whether a packet is a fragment other than the first. Those have no TCP header.
fn is_fragment(header: &[u8]) -> bool {
    let at = memchr::memmem::find(header, b" FRAG:");
    at.is_some_and(|at| matches!(header.get(at + b" FRAG:".len()), Some(b'1'..=b'9')))
}

struct Tcp {
    from: u16,
    to: u16,
    sequence: Option<u32>,
    is_syn: bool,
    is_end: bool,
}

/// See `nf_log_dump_tcp_header`. The flags come last, so a cut record does not have them all.
fn tcp(text: &[u8]) -> Option<Tcp> {
    let (from, rest) = port(text, b"SPT=")?;
    let (to, rest) = port(rest, b"DPT=")?;
    let (sequence, rest) = match field(rest, b"SEQ=") {
        Some((sequence, rest)) => (Some(number(sequence)?), field(rest, b"ACK=")?.1),
        None => (None, rest),
    };
    let (_, rest) = field(rest, b"WINDOW=")?;
    // ulogd does not write RES.
    let mut rest = field(rest, b"RES=").map_or(rest, |(_, rest)| rest);
    let mut is_syn = false;
    let mut is_answer = false;
    let mut is_close = false;
    let urgent = loop {
        if let Some(urgent) = rest.strip_prefix(b"URGP=") {
            break urgent;
        }
        let (flag, after) = word(rest)?;
        match flag {
            b"SYN" => is_syn = true,
            // As for iptables --syn: with ACK it is an answer, and a listening socket drops a
            // SYN with the others. See tcp_rcv_state_process, TCP_LISTEN.
            b"ACK" => is_answer = true,
            b"RST" | b"FIN" => is_close = true,
            b"AE" | b"CWR" | b"ECE" | b"URG" | b"PSH" => (),
            _ => return None,
        }
        rest = after;
    };
    fields::is_end(urgent).then_some(())?;
    Some(Tcp {
        from,
        to,
        sequence,
        is_syn: is_syn && !is_answer && !is_close,
        is_end: is_close && !is_syn,
    })
}

/// The value of the field `ID`, which is the last one of an IPv4 header with an equals sign.
fn ip_id(fields: &[u8]) -> Option<u16> {
    let at = memchr::memrchr(b'=', fields)?;
    let name = &fields[..at];
    // Nothing is before it if the fields were in another order.
    (name == b"ID" || name.ends_with(b" ID")).then_some(())?;
    leading_number(&fields[at + 1..]).map(|(id, _)| id)
}

/// The value of the field `name` if `text` begins with it, and the text after the next space.
fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    word(text.strip_prefix(name)?)
}

/// The same for a port.
#[inline]
fn port<'a>(text: &'a [u8], name: &[u8]) -> Option<(u16, &'a [u8])> {
    let (port, rest) = leading_number(text.strip_prefix(name)?)?;
    Some((port, rest.strip_prefix(b" ")?))
}

/// An address, not parsed yet if it is not IPv4.
#[derive(Clone, Copy)]
enum End<'a> {
    Ipv4(Ipv4Addr),
    Other(&'a [u8]),
}

/// The same as [`field`] for an address.
#[inline]
fn end<'a>(text: &'a [u8], name: &[u8]) -> Option<(End<'a>, &'a [u8])> {
    let text = text.strip_prefix(name)?;
    match leading_ipv4(text) {
        Some((address, [b' ', rest @ ..])) => Some((End::Ipv4(address), rest)),
        _ => word(text).map(|(text, rest)| (End::Other(text), rest)),
    }
}

#[inline]
fn host(end: End<'_>) -> Option<Host> {
    match end {
        End::Ipv4(address) => Some(Host::Address(address.into())),
        End::Other(text) => match full_ipv6(text) {
            Some(address) => Some(Host::at(address)),
            None => address(text),
        },
    }
}

/// Parses the kernel's `%pI6`, eight groups of four digits, faster than the standard library.
fn full_ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    if text.len() != 8 * 5 - 1 {
        return None;
    }
    let mut groups = [0_u16; 8];
    for (group, text) in groups.iter_mut().zip(text.chunks(5)) {
        if text.get(4).is_some_and(|&byte| byte != b':') {
            return None;
        }
        for &byte in &text[..4] {
            let digit = char::from(byte).to_digit(16)?;
            *group = *group << 4 | u16::try_from(digit).ok()?;
        }
    }
    Some(Ipv6Addr::from(groups))
}

#[cfg(test)]
mod tests;
