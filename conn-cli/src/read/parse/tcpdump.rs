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
mod shape;

use memchr::{memchr, memrchr};

pub(crate) use self::shape::hold_back;
use self::{
    flags::Kind,
    shape::{Pair, is_continuation, is_cut, is_header, is_message, is_start, is_unreadable},
};
use super::{
    clock::only_clock,
    lines::{Form, Line, Wanted},
    scan::{
        address, digits, find, is_date, is_seconds, is_time_of_day, number, recorded, seconds,
        socket_address,
    },
    second::Second,
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
    /// What the previous line was.
    previous: Previous,
    /// The time of the packet that continues on the next line.
    time: When,
    /// Whether the packet is ICMP. A packet that it quotes was sent earlier.
    is_icmp: bool,
}

/// The kind of the previous line, which determines how to parse the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Previous {
    /// The first of the two lines that -v prints for a packet.
    Header,
    /// The same for a packet that an ICMP message quotes.
    Quoted,
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
            previous: Previous::Other,
            time: When::Unknown,
            is_icmp: false,
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        if line.first() == Some(&b'\t') {
            self.after_tab(line);
            return Ok(Form::Own);
        }
        let continues = is_continuation(line);
        if !continues {
            // That of an earlier packet, whose lines may be in another piece.
            self.time = When::Unknown;
        }
        let Some(pair) = Pair::of_line(line) else {
            return self.without_pair(line);
        };
        let previous = std::mem::replace(&mut self.previous, Previous::Other);
        self.is_icmp &= continues;
        let Some(kind) = flags::parse(pair.after) else {
            return self.without_flags(line, &pair);
        };
        if continues && previous == Previous::Quoted {
            return Ok(Form::Own);
        }
        let kind = kind?;
        if kind == Kind::Other {
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
            time: match (continues, previous) {
                (false, _) => self.time(line),
                (true, Previous::Header) => self.time.clone(),
                // The first line of the packet is missing, or was in another piece.
                (true, Previous::Quoted | Previous::Other) => When::Unknown,
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
        self.incomplete_time(line)
    }
}

impl Lines {
    fn incomplete_time(&self, line: &[u8]) -> When {
        let (time, _) = prefix(line);
        let lacks = match time {
            [] => return When::Unknown,
            [_, _, _, _, b'-', ..] => Lacks::Zone,
            // -ttt and -ttttt print the time since another packet, with a sign or a blank before it.
            _ if is_relative(line, time) => Lacks::Before,
            _ if memchr(b':', time).is_some() => Lacks::Date,
            _ => return seconds(time, Lacks::Before).unwrap_or(When::Unknown),
        };
        if self.wanted.times {
            recorded(time, lacks)
        } else {
            only_clock(time, lacks)
        }
    }

    /// A line that begins with a tab: a hex dump, details from -v, or an embedded packet.
    fn after_tab(&mut self, line: &[u8]) {
        if is_header(line) {
            self.previous = if self.is_icmp {
                Previous::Quoted
            } else {
                Previous::Header
            };
        }
    }

    /// A packet without TCP flags.
    fn without_flags(&mut self, line: &[u8], pair: &Pair<'_>) -> Result<Form, ParseError> {
        let after = pair.after;
        if after.trim_ascii_start().starts_with(b"[|tcp]") || b"Flags [".starts_with(after) {
            return Err(CUT);
        }
        if after.starts_with(b"tcp ") && after.get(4).is_some_and(u8::is_ascii_digit) {
            return Err(NO_FLAGS);
        }
        self.is_icmp |= after.starts_with(b"ICMP");
        // A tunnel: the inner packet continues on the next line.
        if is_header(line) {
            self.previous = Previous::Header;
            if !is_continuation(line) {
                self.time = self.time(line);
            }
        }
        Ok(Form::Own)
    }

    /// A line without a sender and a receiver.
    fn without_pair(&mut self, line: &[u8]) -> Result<Form, ParseError> {
        let previous = std::mem::replace(&mut self.previous, Previous::Other);
        if line.is_empty() {
            return Ok(Form::Shared);
        }
        if is_continuation(line) {
            return match previous {
                Previous::Header => Err(CUT),
                _ => Ok(Form::Shared),
            };
        }
        let (time, rest) = prefix(line);
        if is_header(line) {
            self.previous = Previous::Header;
            self.is_icmp = false;
            self.time = self.time(line);
            return Ok(Form::Own);
        }
        if is_unreadable(rest) {
            return Err(UNREADABLE);
        }
        if is_cut(rest) {
            return Err(CUT);
        }
        if is_start(rest) {
            return Ok(Form::Own);
        }
        // Other programs begin their lines with a time, too.
        if !time.is_empty() {
            return Ok(Form::Shared);
        }
        if is_message(line) {
            Ok(Form::Own)
        } else {
            Err(NOT_TCPDUMP)
        }
    }
}

/// Splits off the time, which may be empty, and skips a packet number before it.
fn prefix(line: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = line.trim_ascii_start();
    let (count, after) = digits(rest);
    if !count.is_empty() && after.starts_with(b"  ") {
        rest = after.trim_ascii_start();
    }
    let word = |text: &[u8]| memchr(b' ', text).unwrap_or(text.len());
    let mut end = word(rest);
    if is_date(&rest[..end]) && end < rest.len() {
        let clock = &rest[end + 1..];
        let length = word(clock);
        if is_time_of_day(&clock[..length]) {
            end += 1 + length;
            return (&rest[..end], rest[end..].trim_ascii_start());
        }
    }
    let first = &rest[..end];
    let clock = first.strip_prefix(b"-").unwrap_or(first);
    if is_time_of_day(clock) || is_seconds(first) {
        (first, rest[end..].trim_ascii_start())
    } else {
        (b"", rest)
    }
}

/// Whether a blank stands for the sign of a line's time, or there is one. The packet number of `--number`
/// ends with two blanks.
fn is_relative(line: &[u8], time: &[u8]) -> bool {
    let before = &line[..find(line, time).unwrap_or(0)];
    let blanks = before.len() - before.trim_ascii_end().len();
    let usual = if blanks < before.len() { 2 } else { 0 };
    blanks > usual || time.starts_with(b"-")
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
