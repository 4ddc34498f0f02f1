//! The prefixes that dmesg, syslog daemons and journalctl print before a kernel message.

use super::stamp::{Stamp, bracketed, ctime, full, iso, kmsg, unix, without_year};
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

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The kernel, or ulogd for it.
    Kernel,
    /// The line does not say.
    Unnamed,
    /// Apparently another program, but its name may also be the prefix of a rule.
    Named,
    /// Another program.
    Process,
}

const LEVELS: &[&[u8]] = &[
    b"emerg", b"alert", b"crit", b"err", b"warn", b"notice", b"info", b"debug",
];

/// How the separator lines of journalctl begin. They contain no message.
const SEPARATORS: &[&[u8]] = &[
    b"-- Boot ",
    b"-- Reboot --",
    b"-- Logs begin at ",
    b"-- Journal begins at ",
    b"-- No entries --",
    b"-- cursor: ",
];

impl<'a> Entry<'a> {
    /// Splits any line into its parts.
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        let entry = |writer, stamp, message| Self {
            stamp,
            writer,
            message,
            is_known: true,
        };
        if line.first().is_none_or(u8::is_ascii_whitespace) {
            // The message of the previous line continues, and any program may have written it.
            return entry(Writer::Named, Stamp::None, line);
        }
        if let Some((stamp, rest)) = without_year(line) {
            return Self::with_host(stamp, rest);
        }
        if SEPARATORS.iter().any(|start| line.starts_with(start)) {
            return entry(Writer::Process, Stamp::None, b"");
        }
        if let Some((is_kernel, rest)) = priority(line).or_else(|| facility(line)) {
            let inner = Self::after_priority(rest);
            let writer = match inner.writer {
                Writer::Unnamed if is_kernel => Writer::Kernel,
                Writer::Unnamed => Writer::Named,
                named => named,
            };
            return entry(writer, inner.stamp, inner.message);
        }
        if let Some((is_kernel, stamp, message)) = kmsg(line) {
            let writer = if is_kernel {
                Writer::Kernel
            } else {
                Writer::Process
            };
            return entry(writer, stamp, message);
        }
        Self::stamped(line)
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

    /// Parses a line that begins with a timestamp other than [`without_year`].
    fn stamped(text: &'a [u8]) -> Self {
        if let Some((stamp, rest)) = bracketed(text) {
            return Self::from_kernel(stamp, rest);
        }
        if let Some((stamp, rest)) = iso(text) {
            // Only dmesg has a comma there, and it prints no host.
            return match text.get(19) {
                Some(b',') => Self::from_kernel(stamp, rest),
                _ => Self::with_host(stamp, rest),
            };
        }
        if let Some((stamp, rest)) = full(text).or_else(|| ctime(text)) {
            return Self::with_host(stamp, rest);
        }
        if let Some((stamp, rest)) = unix(text) {
            let entry = Self::with_host(stamp, rest);
            if !matches!(entry.writer, Writer::Unnamed) {
                return entry;
            }
        }
        Self {
            stamp: Stamp::None,
            writer: Writer::Unnamed,
            message: text,
            is_known: false,
        }
    }

    /// Parses `HOST TAG: MESSAGE`, where the host and the tag are optional.
    fn with_host(stamp: Stamp<'a>, rest: &'a [u8]) -> Self {
        let (writer, message) = match after_host_and_kernel(rest) {
            Some(message) => (Writer::Kernel, message),
            None => after_host_and_tag(rest),
        };
        Self::from_writer(writer, stamp, message)
    }

    /// The kernel's own timestamp may also precede the message. It is less reliable than `stamp`.
    fn from_writer(writer: Writer, stamp: Stamp<'a>, message: &'a [u8]) -> Self {
        let inner = bracketed(message);
        Self {
            stamp: match (stamp, inner) {
                (Stamp::None, Some((inner, _))) => inner,
                _ => stamp,
            },
            writer,
            message: inner.map_or(message, |(_, message)| message),
            is_known: true,
        }
    }

    /// Parses the text after a timestamp of dmesg or `journalctl -o short-monotonic`. Only
    /// journalctl prints a tag, so what looks like a tag may be the prefix of a rule, unless
    /// it has a host and a process id.
    fn from_kernel(stamp: Stamp<'a>, rest: &'a [u8]) -> Self {
        let (writer, message) = match (tag(rest), tag(without_host(rest))) {
            (Some((Writer::Process, message)), _) => (Writer::Named, message),
            (Some((Writer::Kernel, message)), _) => (Writer::Kernel, message),
            (_, Some((Writer::Process, message))) => (Writer::Process, message),
            (_, Some((Writer::Kernel, message))) => (Writer::Kernel, message),
            _ => (Writer::Unnamed, rest),
        };
        Self {
            stamp,
            writer,
            message,
            is_known: true,
        }
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
            _ => writer(name, process != b"-"),
        };
        Some(Self::from_writer(writer, stamp, rest))
    }
}

/// `<4>`: whether its facility is 0, which is the kernel's, and the text after it.
fn priority(text: &[u8]) -> Option<(bool, &[u8])> {
    let (value, rest) = digits(text.strip_prefix(b"<")?);
    let priority: u8 = number(value)?;
    Some((priority < 8, rest.strip_prefix(b">")?))
}

/// `dmesg -x`: `kern  :warn  : `
fn facility(text: &[u8]) -> Option<(bool, &[u8])> {
    let (facility, rest) = split_at_byte(text, b':')?;
    let (level, rest) = split_at_byte(rest, b':')?;
    if !LEVELS.contains(&level.trim_ascii_end()) || facility.len() < 6 {
        return None;
    }
    let is_kernel = facility.trim_ascii_end() == b"kern";
    Some((is_kernel, rest.strip_prefix(b" ")?))
}

/// `kernel: ` or `sshd[1234]: `, and the text after it.
fn tag(text: &[u8]) -> Option<(Writer, &[u8])> {
    if let Some(message) = text.strip_prefix(b"kernel: ") {
        return Some((Writer::Kernel, message));
    }
    let end = text.iter().position(|byte| b" :[=".contains(byte))?;
    let (name, rest) = text.split_at(end);
    let (has_process, rest) = match rest.strip_prefix(b"[") {
        Some(rest) => (true, digits(rest).1.strip_prefix(b"]")?),
        None => (false, rest),
    };
    let message = match rest.strip_prefix(b":")? {
        [b' ', message @ ..] => message,
        message @ ([] | [b'[', ..]) => message,
        // An IPv6 address.
        _ => return None,
    };
    (!name.is_empty()).then(|| (writer(name, has_process), message))
}

/// The writer with this name. ulogd writes kernel records in the same format.
pub(crate) fn writer(name: &[u8], has_process: bool) -> Writer {
    match (name, has_process) {
        (b"kernel", false) | (b"ulogd", _) => Writer::Kernel,
        (_, false) => Writer::Named,
        (_, true) => Writer::Process,
    }
}

/// Who wrote `HOST TAG: MESSAGE`, and the message.
fn after_host_and_tag(text: &[u8]) -> (Writer, &[u8]) {
    if let Some(tagged) = tag(text) {
        return tagged;
    }
    let rest = without_host(text);
    // BusyBox and OpenWrt: `kern.warn kernel: `
    let inner = match split_at_byte(rest, b' ') {
        Some((word, inner)) if is_facility_and_level(word) => inner,
        _ => rest,
    };
    tag(inner).unwrap_or((Writer::Unnamed, rest))
}

/// The text after `HOST kernel: `, with which nearly all kernel lines begin. This is a fast path
/// with the same result as [`after_host_and_tag`], which takes no such host for a tag.
fn after_host_and_kernel(text: &[u8]) -> Option<&[u8]> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let host = text.iter().take_while(|byte| is_part(byte)).count();
    let message = text[host..].strip_prefix(b" kernel: ")?;
    (host > 0).then_some(message)
}

fn without_host(text: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(byte);
    match split_at_byte(text, b' ') {
        Some((host, rest)) if !host.is_empty() && host.iter().all(is_part) => rest,
        _ => text,
    }
}

/// `kern.warn`
fn is_facility_and_level(text: &[u8]) -> bool {
    split_at_byte(text, b'.').is_some_and(|(_, level)| LEVELS.contains(&level))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_path_for_kernel_lines_matches_general_parser() {
        for host in [
            "web1",
            "a-b_c.example.org",
            "kernel",
            "kern.warn",
            "10.0.0.1",
        ] {
            let text = format!("{host} kernel: [1.5] IN=");
            let message = after_host_and_kernel(text.as_bytes()).unwrap();
            let expected = (Writer::Kernel, message);
            assert_eq!(after_host_and_tag(text.as_bytes()), expected, "{text}");
        }
        // The fast path does not handle these.
        for text in [
            "",
            "kernel: IN=",
            " kernel: IN=",
            "web1",
            "web1 kernel:",
            "web1 sshd: x",
            "web1: kernel: x",
            "web1[1] kernel: x",
            "web1=x kernel: x",
        ] {
            assert_eq!(after_host_and_kernel(text.as_bytes()), None, "{text}");
        }
    }
}
