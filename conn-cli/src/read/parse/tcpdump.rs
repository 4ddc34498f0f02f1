//! The lines that tcpdump prints, with any of its options:
//!
//! ```text
//! 14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 17, win 64240, length 0
//! 14:25:37.123456 lo    In  IP6 2001:db8::1.37822 > server.http: Flags [S.], seq 5, ack 18, ..
//! 14:25:37.123456 IP (tos 0x0, ttl 64, .. proto TCP (6), length 60)
//!     192.0.2.1.37822 > 192.0.2.9.80: Flags [S], cksum 0xfe30 (correct), seq 17, ..
//! ```
//!
//! With -A it prints what a packet holds as lines of their own, just as they are: these are not
//! understood. If a client sends lines that look like tcpdump's, nothing tells them from
//! tcpdump's, and they count. Wherever else it prints what somebody sent, that follows something
//! else in the line, or a tab, and is not looked at.

mod shape;

use memchr::{memchr, memrchr};

use self::shape::{Pair, is_continuation, is_cut, is_header, is_message, is_start, is_unreadable};
pub use self::shape::{confidence, hold_back};
use super::{
    Line, Wanted,
    scan::{
        address, digits, is_date, is_seconds, is_time_of_day, number, recorded, seconds,
        socket_address, split_at_byte,
    },
    services,
};
use crate::{
    connection::{Connection, Host, Lacks, Record, Source, When},
    read::batch::{Event, ParseError},
};

const NOT_TCPDUMP: ParseError = "this is no line of tcpdump's";
const CUT: ParseError = "the line, or the packet, is cut before the end of its flags and numbers";
const QUIET: ParseError = "tcpdump -q prints no flags, so that new connections cannot be told";
const UNREADABLE: ParseError = "tcpdump could not read this packet";
const OLD: ParseError = "the flags are written as tcpdump did before version 4";
const NO_END: ParseError = "an end of the connection has no address and port";

/// The lines of tcpdump.
#[derive(Debug)]
pub struct Lines {
    wanted: Wanted,
    /// What the line before was.
    before: Before,
    /// The time of the packet that continues in the next line.
    time: When,
    /// Whether the packet is of ICMP: one that is printed in it was sent earlier.
    is_icmp: bool,
}

/// What the line before was, as far as it tells what this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// The first of the two lines that -v makes of a packet.
    Header,
    /// The same for a packet that an ICMP message quotes.
    Quoted,
    /// Something else.
    Other,
}

/// What a TCP packet is, by its flags.
enum Kind {
    Syn,
    Answer,
    Other,
}

impl Lines {
    /// Parses what is wanted.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            before: Before::Other,
            time: When::Unknown,
            is_icmp: false,
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), ParseError> {
        if line.first() == Some(&b'\t') {
            self.after_tab(line);
            return Ok(());
        }
        let Some(pair) = Pair::find(line) else {
            return self.without_pair(line);
        };
        let before = std::mem::replace(&mut self.before, Before::Other);
        let continues = is_continuation(line);
        self.is_icmp &= continues;
        let Some(flags) = pair.after.strip_prefix(b"Flags [") else {
            return self.without_flags(line, &pair);
        };
        if continues && before == Before::Quoted {
            return Ok(());
        }
        let (flags, rest) = split_at_byte(flags, b']').ok_or(CUT)?;
        let kind = kind(flags);
        if matches!(kind, Kind::Other) {
            return Ok(());
        }
        let from = end(pair.from, pair.ports.map(|ports| ports.0)).ok_or(NO_END)?;
        let to = end(pair.to, pair.ports.map(|ports| ports.1)).ok_or(NO_END)?;
        let is_answer = matches!(kind, Kind::Answer);
        let ((remote, remote_port), (local, local_port)) = match is_answer {
            true => (to, from),
            false => (from, to),
        };
        let connection = Connection {
            time: match continues {
                true => self.time.clone(),
                false => self.when(line),
            },
            remote,
            remote_port,
            local,
            local_port,
            // A socket of IPv6 may get packets of IPv4.
            family: None,
            process: None,
            netns: None,
            wait: None,
            source: Source::Record(Record::Tcpdump),
        };
        events.push(match is_answer {
            // Both numbers are absolute, with and without -S.
            true => Event::Answer(
                connection,
                value(rest, b", ack ").ok_or(CUT)?.wrapping_sub(1),
            ),
            false => Event::Syn(connection, value(rest, b", seq ").ok_or(CUT)?),
        });
        Ok(())
    }
}

impl Lines {
    /// A dump, what -v says more of a packet, or one that a packet holds.
    fn after_tab(&mut self, line: &[u8]) {
        if is_header(line) {
            self.before = match self.is_icmp {
                true => Before::Quoted,
                false => Before::Header,
            };
        }
    }

    /// A packet without the flags of TCP.
    fn without_flags(&mut self, line: &[u8], pair: &Pair<'_>) -> Result<(), ParseError> {
        let after = pair.after;
        if after.trim_ascii_start().starts_with(b"[|tcp]") || b"Flags [".starts_with(after) {
            return Err(CUT);
        }
        if after.starts_with(b"tcp ") && after.get(4).is_some_and(u8::is_ascii_digit) {
            return Err(QUIET);
        }
        if after.starts_with(b"S ") {
            return Err(OLD);
        }
        self.is_icmp |= after.starts_with(b"ICMP");
        // A tunnel: the packet in it continues.
        if is_header(line) {
            self.before = Before::Header;
        }
        Ok(())
    }

    /// A line that does not say who sent something to whom.
    fn without_pair(&mut self, line: &[u8]) -> Result<(), ParseError> {
        let before = std::mem::replace(&mut self.before, Before::Other);
        if line.is_empty() {
            return Ok(());
        }
        if is_continuation(line) {
            return match before {
                Before::Header => Err(CUT),
                _ => Ok(()),
            };
        }
        let (time, rest) = prefix(line);
        if is_header(line) {
            self.before = Before::Header;
            self.is_icmp = false;
            self.time = self.when(line);
            return Ok(());
        }
        if is_unreadable(rest) {
            return Err(UNREADABLE);
        }
        if is_cut(rest) {
            return Err(CUT);
        }
        if !time.is_empty() || is_start(rest) {
            return Ok(());
        }
        match is_message(line) {
            true => Ok(()),
            false => Err(NOT_TCPDUMP),
        }
    }

    /// The time at the beginning of a line, if anybody wants it.
    fn when(&self, line: &[u8]) -> When {
        if !self.wanted.times {
            return When::Unknown;
        }
        let (time, _) = prefix(line);
        match time {
            [] => When::Unknown,
            [_, _, _, _, b'-', ..] => recorded(time, Lacks::Zone),
            // With -ttt and -ttttt it is the time since another packet, written the same way.
            _ if memchr(b':', time).is_some() => recorded(time, Lacks::Date),
            _ => seconds(time, Lacks::Before).unwrap_or(When::Unknown),
        }
    }
}

/// The number of the packet is left out, then the time, or nothing; and what follows.
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
    match is_time_of_day(clock) || is_seconds(first) {
        true => (first, rest[end..].trim_ascii_start()),
        false => (b"", rest),
    }
}

/// A SYN asks for a connection unless it resets or ends one too: then Linux throws it away.
/// `E`, `W` and `e` are of ECN.
fn kind(flags: &[u8]) -> Kind {
    match flags {
        b"S" => Kind::Syn,
        b"S." => Kind::Answer,
        _ if !flags.contains(&b'S') => Kind::Other,
        _ if !flags.iter().all(|flag| b"S.PUEWe".contains(flag)) => Kind::Other,
        _ if flags.contains(&b'.') => Kind::Answer,
        _ => Kind::Syn,
    }
}

/// `192.0.2.1.37822`, `2001:db8::1.37822` or `client.example.org.http`, unless the port is
/// elsewhere.
fn end(text: &[u8], port: Option<&[u8]>) -> Option<(Host, Option<u16>)> {
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
        // No name ends with a number; it is an address that is damaged.
        None if digits(host.rsplit(|&byte| byte == b'.').next()?)
            .1
            .is_empty() =>
        {
            return None;
        }
        None => Host::named(host)?,
    };
    match port.first()?.is_ascii_digit() && port.iter().all(u8::is_ascii_digit) {
        true => Some((host, Some(number(port)?))),
        false => Some((host, services::port(port))),
    }
}

/// The number after `label`, unless it may be cut. Each part of the text begins with a comma;
/// those that are looked for are among the first.
fn value(mut text: &[u8], label: &[u8]) -> Option<u32> {
    while !text.starts_with(label) {
        let next = memchr(b',', text.get(1..)?)?;
        text = &text[1 + next..];
    }
    let (value, after) = digits(&text[label.len()..]);
    match after.first() {
        // No sequence number has more digits.
        Some(b',' | b':') if value.len() <= 10 => number(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
