//! Parses the lines that tcpdump prints, with any of its options:
//!
//! ```text
//! 14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 17, win 64240, length 0
//! 14:25:37.123456 lo    In  IP6 2001:db8::1.37822 > server.http: Flags [S.], seq 5, ack 18, ..
//! 14:25:37.123456 IP (tos 0x0, ttl 64, .. proto TCP (6), length 60)
//!     192.0.2.1.37822 > 192.0.2.9.80: Flags [S], cksum 0xfe30 (correct), seq 17, ..
//! ```
//!
//! With -A it prints the payload of a packet verbatim on lines of its own, which are parse
//! errors. If a client sends lines that look like tcpdump's, they cannot be distinguished from
//! tcpdump's, and they count. Everywhere else, payload follows other text in the line, or a tab,
//! and is ignored.

mod flags;
mod link;
mod pair;
mod shape;
mod stamp;

use memchr::{memchr, memrchr};

pub(crate) use self::shape::hold_back;
use self::{
    flags::Kind,
    link::{after_arrow, ip_packet},
    pair::Pair,
    shape::{
        is_continuation, is_cut, is_header, is_message, is_other_packet, is_unreadable,
        may_lack_time,
    },
    stamp::prefix,
};
use super::{
    clock::only_clock,
    lines::{Form, Line, Wanted},
    scan::{address, digits, number, seconds, socket_address},
    second::{Second, Stamps},
};
use crate::{
    model::connection::{Connection, Host, Lacks, Record, Source, When},
    read::event::{Event, PacketId, ParseError},
    system::services,
};

const NOT_TCPDUMP: ParseError = "not a tcpdump line";
const CUT: ParseError =
    "the line or the packet is cut before the end of its flags and sequence numbers";
const NO_FLAGS: ParseError = "tcpdump -q prints no flags, so new connections cannot be recognised";
const UNREADABLE: ParseError = "tcpdump could not read this packet";
const NO_ENDPOINT: ParseError = "an endpoint of the connection has no valid address and port";

/// The lines of tcpdump.
#[derive(Debug)]
pub(crate) struct Lines {
    wanted: Wanted,
    second: Second<8, 99>,
    stamps: Stamps,
    /// What the previous line was.
    previous: Previous,
    /// The time of the packet that continues on the next line.
    time: When,
    /// Whether the packet is ICMP. A packet that it quotes was sent earlier.
    is_icmp: bool,
    /// Whether the packet is inside of a tunnel.
    is_inner: bool,
}

/// The kind of the previous line, which determines how to parse the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Previous {
    /// The first of the two lines that -v prints for a packet.
    Header,
    /// The same for a packet that an ICMP message quotes.
    Quoted,
    /// A tunnel, whose inner packet is on this line.
    Tunnel,
    /// Something else.
    Other,
}

impl Lines {
    /// Creates a parser for the `wanted` fields.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            wanted: wanted.clone(),
            second: Second::new(),
            stamps: Stamps::default(),
            previous: Previous::Other,
            time: When::Unknown,
            is_icmp: false,
            is_inner: false,
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        let previous = std::mem::replace(&mut self.previous, Previous::Other);
        let is_second =
            || matches!(previous, Previous::Header | Previous::Quoted) && begins_with_ends(line);
        if is_continuation(line) || is_second() {
            return self.continuation(line, previous, events);
        }
        let (time, rest) = match self.stamps.length(line) {
            Some(length) => (&line[..length], line[length..].trim_ascii_start()),
            None => self.prefix(line),
        };
        // The header of a packet that an ICMP message quotes, without its indent: the message has a time.
        if self.is_icmp && time.is_empty() && self.time != When::Unknown && is_header(line) {
            self.previous = Previous::Quoted;
            return Ok(Form::Own);
        }
        let follows = previous == Previous::Tunnel && time.is_empty();
        if follows {
            self.is_inner = true;
        } else {
            // That of an earlier packet, whose lines may be in another piece.
            self.time = When::Unknown;
            self.is_icmp = false;
            self.is_inner = false;
        }
        let packet = ip_packet(rest);
        let pair = match packet {
            Some(packet) => Pair::parse(packet),
            None => unlabelled(time, rest),
        };
        if let Some(pair) = pair {
            return self.packet(line, &pair, follows.then_some(previous), events);
        }
        if packet.is_some() && is_header(line) {
            self.previous = Previous::Header;
            if !follows {
                self.time = self.time(line);
            }
            return Ok(Form::Own);
        }
        if is_unreadable(rest) {
            return Err(UNREADABLE);
        }
        if is_cut(rest) {
            return Err(CUT);
        }
        if is_other_packet(rest) && (follows || !time.is_empty() || may_lack_time(rest)) {
            return Ok(Form::Own);
        }
        match line {
            [] => Ok(Form::Shared),
            _ if is_message(line) => Ok(Form::Own),
            _ => Err(NOT_TCPDUMP),
        }
    }

    #[inline]
    fn time(&mut self, line: &[u8]) -> When {
        let (count, after) = digits(line);
        match after {
            _ if count.is_empty() => (),
            // Only -tt prints a complete time.
            [b'.', ..] => {
                let time = &line[..memchr(b' ', line).unwrap_or(line.len())];
                let parse = |time: &_| seconds(time, Lacks::Before).unwrap_or(When::Unknown);
                return self.second.when(time, parse);
            }
            [b':', ..] if !self.wanted.times => return only_clock(line, Lacks::Date),
            [b'-', ..] if !self.wanted.times => return only_clock(line, Lacks::Zone),
            _ => (),
        }
        stamp::incomplete(line, self.wanted.times)
    }
}

impl Lines {
    /// The time and the text after it.
    #[cold]
    fn prefix<'a>(&mut self, line: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (time, rest) = prefix(line);
        if line.starts_with(time) {
            self.stamps.keep(time);
        }
        (time, rest)
    }

    /// A line that continues a packet.
    fn continuation(
        &mut self,
        line: &[u8],
        previous: Previous,
        events: &mut Vec<Event>,
    ) -> Result<Form, ParseError> {
        // What was copied may have another indent.
        let is_second =
            matches!(previous, Previous::Header | Previous::Quoted) && begins_with_ends(line);
        let has_tab = line.first() == Some(&b'\t') && !is_second;
        let is_tunnel = has_tab && previous == Previous::Tunnel;
        if has_tab && !is_tunnel {
            return Ok(self.after_tab(line));
        }
        // What a line continues that is no header may be in another piece.
        self.is_inner = is_tunnel || self.is_inner && previous != Previous::Other;
        let text = line.trim_ascii_start();
        let pair = if is_tunnel {
            Pair::parse_inner(text)
        } else {
            Pair::parse(text)
        };
        match pair {
            Some(pair) => self.packet(line, &pair, Some(previous), events),
            None if is_tunnel && is_header(line) => {
                self.previous = Previous::Header;
                Ok(Form::Own)
            }
            None if is_tunnel => Ok(Form::Own),
            None if previous == Previous::Header => Err(CUT),
            None => Err(NOT_TCPDUMP),
        }
    }

    /// A hex dump, details, or the header of a packet in this one.
    fn after_tab(&mut self, line: &[u8]) -> Form {
        if is_header(line) {
            self.previous = if self.is_icmp {
                Previous::Quoted
            } else {
                Previous::Header
            };
            return Form::Own;
        }
        match line {
            [_, b'0', b'x', ..] => Form::Own,
            _ => Form::Shared,
        }
    }

    /// A line with a sender and a receiver. `previous`: the line that it continues.
    #[inline]
    fn packet(
        &mut self,
        line: &[u8],
        pair: &Pair<'_>,
        previous: Option<Previous>,
        events: &mut Vec<Event>,
    ) -> Result<Form, ParseError> {
        let is_quoted = previous == Some(Previous::Quoted);
        let Some(kind) = flags::parse(pair.after) else {
            if !is_quoted {
                self.without_flags(line, pair, previous)?;
            }
            return Ok(Form::Own);
        };
        if is_quoted {
            return Ok(Form::Own);
        }
        let kind = kind?;
        if kind == Kind::Other {
            return Ok(Form::Own);
        }
        if (self.is_inner || pair.is_inner) && !self.wanted.inner {
            events.extend(matches!(kind, Kind::Syn(_)).then_some(Event::Inner));
            return Ok(Form::Own);
        }
        let ends = endpoint(pair.from, pair.ports.map(|ports| ports.0))
            .zip(endpoint(pair.to, pair.ports.map(|ports| ports.1)));
        let Some((from, to)) = ends else {
            return if kind == Kind::End {
                Ok(Form::Own)
            } else {
                Err(NO_ENDPOINT)
            };
        };
        let is_answer = matches!(kind, Kind::Answer(_));
        let ((remote, remote_port), (local, local_port)) =
            if is_answer { (to, from) } else { (from, to) };
        let connection = Connection {
            time: match previous {
                None => self.time(line),
                Some(Previous::Header | Previous::Tunnel) => self.time.clone(),
                // The first line of the packet is missing, or was in another piece.
                Some(Previous::Quoted | Previous::Other) => When::Unknown,
            },
            remote,
            remote_port,
            local,
            local_port,
            ..Connection::unknown(Source::Record(Record::Tcpdump))
        };
        events.extend(match kind {
            Kind::Syn(sequence) => Some(Event::Syn(connection, PacketId::sequence(sequence))),
            Kind::Answer(sequence) => Some(Event::Answer(connection, PacketId::sequence(sequence))),
            Kind::End => Some(Event::End(connection)),
            Kind::Other => None,
        });
        Ok(Form::Own)
    }

    /// A packet without TCP flags.
    fn without_flags(
        &mut self,
        line: &[u8],
        pair: &Pair<'_>,
        previous: Option<Previous>,
    ) -> Result<(), ParseError> {
        let after = pair.after;
        let is_wanted = !(self.is_inner || pair.is_inner) || self.wanted.inner;
        let is_cut =
            || after.trim_ascii_start().starts_with(b"[|tcp]") || b"Flags [".starts_with(after);
        if is_wanted && is_cut() {
            return Err(CUT);
        }
        if after.starts_with(b"tcp ") && after.get(4).is_some_and(u8::is_ascii_digit) {
            return Err(NO_FLAGS);
        }
        self.is_icmp |= after.starts_with(b"ICMP");
        // Any packet that follows is inside of this one.
        self.is_inner = true;
        if pair.continues() {
            self.previous = Previous::Tunnel;
        } else if is_header(line) {
            self.previous = Previous::Header;
        } else {
            return Ok(());
        }
        if previous.is_none() {
            self.time = self.time(line);
        }
        Ok(())
    }
}

/// The ends in a line of OpenBSD or of tcpdump before version 3.8, which have no label for an IP packet.
fn unlabelled<'a>(time: &[u8], rest: &'a [u8]) -> Option<Pair<'a>> {
    let is_openbsd = time.first().is_some_and(u8::is_ascii_uppercase);
    let pair = Pair::ends(after_arrow(rest)).filter(|_| !time.is_empty())?;
    let has_old_flags = || !pair.after.starts_with(b"Flags") && flags::parse(pair.after).is_some();
    let is_end = |text| endpoint(text, None).is_some();
    ((is_openbsd || has_old_flags()) && is_end(pair.from) && is_end(pair.to)).then_some(pair)
}

/// Whether this is the second of the two lines that -v prints for a packet, however it is indented.
fn begins_with_ends(line: &[u8]) -> bool {
    let pair = Pair::ends(line.trim_ascii_start());
    pair.is_some_and(|pair| address(pair.from).is_some() || endpoint(pair.from, None).is_some())
}

/// Parses `192.0.2.1.37822`, `2001:db8::1.37822` or `client.example.org.http`, or only the host
/// if the port is given.
fn endpoint(text: &[u8], port: Option<&[u8]>) -> Option<(Host, Option<u16>)> {
    let (host, port) = match port {
        Some(port) => (text, port),
        None => {
            if let Some((address, port)) = socket_address(text) {
                return Some((Host::Address(address.into()), Some(port)));
            }
            let dot = memrchr(b'.', text)?;
            (&text[..dot], &text[dot + 1..])
        }
    };
    let host = match address(host) {
        Some(host) => host,
        // A damaged address, because no name ends with a number.
        None if digits(host.rsplit(|&byte| byte == b'.').next()?)
            .1
            .is_empty() =>
        {
            return None;
        }
        None => Host::named(host)?,
    };
    if port.first()?.is_ascii_digit() && port.iter().all(u8::is_ascii_digit) {
        Some((host, Some(number(port)?)))
    } else {
        Some((host, services::port(port)))
    }
}

#[cfg(test)]
mod tests;
