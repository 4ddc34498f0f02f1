//! The prefixes that dmesg, syslog daemons and journalctl print before a kernel message.

use super::{
    routeros,
    stamp::{Stamp, bracketed, ctime, full, iso, kmsg, unix, without_year},
    tag::{LEVELS, Writer, after_host, after_level, host_and_tag, named, unnamed},
    untagged,
};
use crate::read::parse::scan::{digits, number, split_at_byte};

/// A line of a log.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// When it was written.
    pub stamp: Stamp<'a>,
    /// Who wrote it.
    pub writer: Writer,
    /// The text after the prefix.
    pub message: &'a [u8],
    /// Whether a known prefix precedes the message.
    pub is_known: bool,
}

/// How the separator lines of journalctl begin. They contain no message.
const SEPARATORS: &[&[u8]] = &[
    b"-- Boot ",
    b"-- Reboot --",
    b"-- Logs begin at ",
    b"-- Journal begins at ",
    b"-- No entries --",
    b"-- cursor: ",
];

/// How deep journalctl and dmesg indent the second line of a message at least: by the width of what they
/// print before the first.
const MIN_INDENT: usize = 15;

/// How many headers a line can have: a relay writes its own before that of the sender.
pub(super) const MAX_HEADERS: usize = 3;

impl<'a> Entry<'a> {
    /// Splits any line into its parts.
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        if let Some((stamp, rest)) = without_year(line) {
            return Self::with_host(stamp, rest);
        }
        // None of the others begins like that.
        if let Some(entry) = Self::after_iso(line) {
            return entry;
        }
        if line.first().is_none_or(u8::is_ascii_whitespace) {
            // RouterOS prints one blank first, and others print more where a message continues.
            if let Some((stamp, rest)) = line.strip_prefix(b" ").and_then(routeros::stamp) {
                return Self::known(Writer::RouterOs, stamp, rest);
            }
            // The message of the previous line continues, and any program may have written it.
            return Self {
                is_known: is_continuation(line),
                ..Self::known(Writer::Foreign, Stamp::None, line)
            };
        }
        if SEPARATORS.iter().any(|start| line.starts_with(start)) {
            return Self::known(Writer::Foreign, Stamp::None, b"");
        }
        if let Some((is_kernel, rest)) = priority(line).or_else(|| facility(line)) {
            let inner = Self::after_priority(rest);
            let writer = match inner.writer {
                Writer::Unnamed | Writer::Dmesg if is_kernel => Writer::Kernel,
                Writer::Unnamed | Writer::Dmesg => Writer::Foreign,
                named => named,
            };
            return Self::known(writer, inner.stamp, inner.message);
        }
        if let Some((is_kernel, stamp, message)) = kmsg(line) {
            let writer = if is_kernel {
                Writer::Kernel
            } else {
                Writer::Foreign
            };
            return Self::known(writer, stamp, message);
        }
        Self::stamped(line)
    }

    fn known(writer: Writer, stamp: Stamp<'a>, message: &'a [u8]) -> Self {
        Self {
            stamp,
            writer,
            message,
            is_known: true,
        }
    }

    fn after_priority(text: &'a [u8]) -> Self {
        if let Some(entry) = text.strip_prefix(b"1 ").and_then(Self::rfc5424) {
            return entry;
        }
        match without_year(text) {
            Some((stamp, rest)) => Self::with_host(stamp, rest),
            None => Self::stamped(text),
        }
    }

    /// `2026-11-22T14:25:37.123456+00:00 host kernel: `
    #[inline]
    fn after_iso(text: &'a [u8]) -> Option<Self> {
        let (stamp, rest) = iso(text, b'T')?;
        // Only dmesg has a comma there, and it prints no host.
        Some(match text.get(19) {
            Some(b',') => Self::from_kernel(stamp, rest),
            _ => Self::with_host(stamp, rest),
        })
    }

    /// Parses a line that begins with a timestamp other than [`without_year`].
    fn stamped(text: &'a [u8]) -> Self {
        if let Some((stamp, rest)) = bracketed(text) {
            return Self::from_kernel(stamp, rest);
        }
        if let Some(entry) = Self::after_iso(text) {
            return entry;
        }
        if let Some((stamp, rest)) = full(text).or_else(|| ctime(text)) {
            return Self::with_host(stamp, rest);
        }
        // Other programs write these, too.
        if let Some((stamp, rest)) = unix(text).or_else(|| iso(text, b' ')) {
            let entry = Self::with_host(stamp, rest);
            if entry.writer != Writer::Foreign || host_and_tag(rest).is_some() {
                return entry;
            }
        }
        if let Some((stamp, rest)) = routeros::stamp(text) {
            return Self::known(Writer::RouterOs, stamp, rest);
        }
        let (writer, message) = unnamed(text);
        Self {
            is_known: writer != Writer::Unnamed,
            ..Self::from_writer(writer, Stamp::None, message)
        }
    }

    /// Parses `HOST TAG: MESSAGE`, where the host is optional.
    fn with_host(stamp: Stamp<'a>, rest: &'a [u8]) -> Self {
        let mut rest = after_level(rest);
        for _ in 0..MAX_HEADERS {
            let (writer, message) = named(rest);
            let relayed = match writer {
                Writer::Foreign => relayed(rest),
                _ => None,
            };
            let Some(inner) = relayed else {
                return Self::from_writer(writer, stamp, message);
            };
            rest = inner;
        }
        Self::known(Writer::Foreign, stamp, rest)
    }

    /// The kernel's own timestamp may also precede the message. It is less reliable than `stamp`.
    fn from_writer(writer: Writer, stamp: Stamp<'a>, message: &'a [u8]) -> Self {
        let inner = bracketed(message);
        let stamp = match (stamp, inner) {
            (Stamp::None, Some((inner, _))) => inner,
            (Stamp::None, None) => untagged::pvefw(message).map_or(stamp, |(inner, _)| inner),
            _ => stamp,
        };
        Self::known(writer, stamp, inner.map_or(message, |(_, message)| message))
    }

    /// Parses the text after a timestamp of dmesg or `journalctl -o short-monotonic`. Only
    /// journalctl prints a tag, so what looks like a tag may be the prefix of a rule, unless
    /// it has a process id.
    fn from_kernel(stamp: Stamp<'a>, rest: &'a [u8]) -> Self {
        let (writer, message) = match unnamed(rest) {
            (Writer::Unnamed, message) => (Writer::Dmesg, message),
            named => named,
        };
        Self::known(writer, stamp, message)
    }

    /// Parses `TIME HOST APP PROCESS ID [DATA] MESSAGE`, where `-` stands for a missing part.
    fn rfc5424(text: &'a [u8]) -> Option<Self> {
        let (time, rest) = split_at_byte(text, b' ')?;
        let stamp = match time {
            b"-" => Stamp::None,
            _ => Stamp::Iso(time),
        };
        let (_, rest) = split_at_byte(rest, b' ')?;
        let (name, rest) = split_at_byte(rest, b' ')?;
        let (process, rest) = split_at_byte(rest, b' ')?;
        let (_, rest) = split_at_byte(rest, b' ')?;
        let data = structured_data(rest)?;
        let rest = rest[data..].strip_prefix(b" ").unwrap_or(&rest[data..]);
        let rest = rest.strip_prefix("\u{feff}".as_bytes()).unwrap_or(rest);
        let writer = match name {
            b"-" => Writer::Unnamed,
            _ => Writer::with_name(name, process != b"-"),
        };
        Some(Self::from_writer(writer, stamp, rest))
    }
}

/// The rest of a line after the header of a relay: `relay Nov 22 14:25:37 `, and what it passes on.
pub(super) fn relayed(rest: &[u8]) -> Option<&[u8]> {
    let rest = after_host(rest)?;
    let rest = priority(rest).map_or(rest, |(_, rest)| rest);
    let (_, inner) = without_year(rest).or_else(|| iso(rest, b'T'))?;
    Some(inner)
}

/// Whether this can be the second line of a message: of journalctl and dmesg, or a property in
/// /dev/kmsg.
fn is_continuation(line: &[u8]) -> bool {
    let indent = line.iter().take_while(|byte| **byte == b' ').count();
    let is_property = || {
        let name = line[indent..]
            .iter()
            .take_while(|byte| byte.is_ascii_uppercase());
        let name = name.count();
        name > 0 && line.get(indent + name) == Some(&b'=')
    };
    line.is_empty() || indent >= MIN_INDENT || indent == 1 && is_property()
}

/// `<4>`: whether its facility is 0, which is the kernel's, and the text after it.
pub(super) fn priority(text: &[u8]) -> Option<(bool, &[u8])> {
    let (value, rest) = digits(text.strip_prefix(b"<")?);
    let priority: u8 = number(value)?;
    let rest = rest.strip_prefix(b">")?;
    Some((priority < 8, rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// `dmesg -x`: `kern  :warn  : `
pub(super) fn facility(text: &[u8]) -> Option<(bool, &[u8])> {
    let (facility, rest) = split_at_byte(text, b':')?;
    let (level, rest) = split_at_byte(rest, b':')?;
    if !LEVELS.contains(&level.trim_ascii_end()) || facility.len() < 6 {
        return None;
    }
    let is_kernel = facility.trim_ascii_end() == b"kern";
    Some((is_kernel, rest.strip_prefix(b" ")?))
}

/// The length of the structured data of RFC 5424: `-` or `[id name="value"][id ..]`.
fn structured_data(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"-") {
        return Some(1);
    }
    let mut is_inside = false;
    let mut is_quoted = false;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if is_quoted => _ = bytes.next(),
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => (),
            b'[' if !is_inside => is_inside = true,
            b']' => is_inside = false,
            _ if is_inside => (),
            _ => return (at > 0).then_some(at),
        }
    }
    (!text.is_empty() && !is_inside).then_some(text.len())
}
