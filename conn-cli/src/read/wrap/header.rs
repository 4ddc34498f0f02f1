//! The layers that are text before each line.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::Inner;
use crate::read::parse::{
    kernel_log::{
        stamp::{Stamped, bracketed, ctime, full, iso, unix, without_year},
        tag::after_level,
    },
    scan::{digits, is_date, is_time_of_day, split_at_byte},
};

/// Six digits are microseconds.
const MICROSECOND_DIGITS: usize = 6;

/// The length of `14:25:37`.
const CLOCK_LEN: usize = 8;

/// The length of `2026-11-22`.
const DATE_LEN: usize = 10;

/// `Nov 22 14:25:37 host tag[12]: LINE`: what journalctl prints by default and with -o short-..., and
/// what a syslog daemon writes.
pub(super) fn syslog(line: &[u8], wants_time: bool) -> Option<Inner<'_>> {
    let (stamp, rest) = stamp(after_priority(line))?;
    let (stamp, rest) = relayed(rest).unwrap_or((stamp, rest));
    let Tagged { host, tag, message } = tagged(after_level(rest))?;
    Some(Inner {
        line: Cow::Borrowed(message),
        time: stamp.wanted(wants_time),
        host: host.map(Cow::Borrowed),
        tags: [Some(Cow::Borrowed(tag)), None, None],
    })
}

/// The header that a relay passes on behind its own, which has a host and no tag: `relay Nov 22 14:25:37 ..`.
fn relayed(rest: &[u8]) -> Option<Stamped<'_>> {
    let (host, rest) = split_at_byte(rest, b' ')?;
    let has_colon = host.is_empty() || host.ends_with(b":");
    let header = without_year(after_priority(rest)).or_else(|| with_t(after_priority(rest)));
    header.filter(|_| !has_colon)
}

/// The text after `<14>`, and after the version of RFC 5424.
fn after_priority(line: &[u8]) -> &[u8] {
    let Some(rest) = line.strip_prefix(b"<") else {
        return line;
    };
    let (priority, rest) = digits(rest);
    match rest.strip_prefix(b">") {
        Some(rest) if !priority.is_empty() => rest.strip_prefix(b"1 ").unwrap_or(rest),
        _ => line,
    }
}

fn stamp(line: &[u8]) -> Option<Stamped<'_>> {
    let any = [without_year, with_t, full, ctime, unix, bracketed];
    any.into_iter().find_map(|stamp| stamp(line))
}

/// `2026-11-22T14:25:37`
fn with_t(line: &[u8]) -> Option<Stamped<'_>> {
    iso(line, b'T')
}

/// The parts of `HOST TAG[12]: MESSAGE`.
struct Tagged<'a> {
    host: Option<&'a [u8]>,
    /// Without the number of the process.
    tag: &'a [u8],
    message: &'a [u8],
}

/// Splits `HOST TAG[12]: MESSAGE`. The tag has no blank, and neither has the host, which may be missing.
fn tagged(rest: &[u8]) -> Option<Tagged<'_>> {
    let end = memmem::find(rest, b": ")?;
    let (before, message) = (&rest[..end], &rest[end + 2..]);
    let mut words = before.split(|byte| *byte == b' ');
    let last = words.next_back()?;
    let host = words.next();
    // A host at most: otherwise the colon is in the message of a line without a tag.
    let is_header = words.next().is_none();
    let tag = match memchr(b'[', last) {
        Some(at) if is_number(last[at + 1..].strip_suffix(b"]")?) => &last[..at],
        Some(_) => return None,
        None => last,
    };
    (is_header && !tag.is_empty()).then_some(Tagged { host, tag, message })
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// `2026-11-22T14:25:37.123456789Z stdout F LINE`. P in place of F: the line continues in the next one.
pub(super) fn cri(line: &[u8], wants_time: bool) -> Option<Inner<'_>> {
    let (stamp, rest) = with_t(line)?;
    let rest = [&b"stdout "[..], b"stderr "]
        .iter()
        .find_map(|stream| rest.strip_prefix(*stream))?;
    let line = [&b"F "[..], b"P "]
        .iter()
        .find_map(|part| rest.strip_prefix(*part))?;
    Some(Inner {
        line: Cow::Borrowed(line),
        time: stamp.wanted(wants_time),
        host: None,
        tags: Default::default(),
    })
}

/// `2026-11-22T14:25:37.123456789Z LINE`
pub(super) fn time(line: &[u8], wants_time: bool) -> Option<Inner<'_>> {
    let (stamp, rest) = with_t(line)?;
    Some(Inner {
        line: Cow::Borrowed(rest),
        time: stamp.wanted(wants_time),
        host: None,
        tags: Default::default(),
    })
}

/// Whether a line begins with a time in nanoseconds.
pub(super) fn has_nanoseconds(line: &[u8]) -> bool {
    let fraction = line.get(19..).and_then(|rest| rest.strip_prefix(b"."));
    with_t(line).is_some()
        && fraction.is_some_and(|fraction| digits(fraction).0.len() > MICROSECOND_DIGITS)
}

/// `web-1  | LINE`, `[pod/web-5d4f/nginx] LINE`
pub(super) fn container(line: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = line.strip_prefix(b"[pod/") {
        let end = memmem::find(rest, b"] ")?;
        return rest[..end].iter().all(is_name).then(|| &rest[end + 2..]);
    }
    let name = line.iter().take_while(|byte| is_name(byte)).count();
    let rest = line[name..].trim_ascii_start().strip_prefix(b"|")?;
    // After an empty line compose prints no blank.
    (name > 0).then(|| rest.strip_prefix(b" ").unwrap_or(rest))
}

fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./".contains(byte)
}

/// `17:LINE`, `17-LINE`, `kern.log:17:LINE`, `kern.log-17-LINE`, `kern.log:LINE`, `kern.log-LINE`
pub(super) fn grep(line: &[u8]) -> Option<&[u8]> {
    // Between groups of lines that do not follow each other.
    if line == b"--" {
        return Some(b"");
    }
    // The line of a log has numbers, too, and its header must not be taken for those of grep.
    if begins_with_time(line) {
        return None;
    }
    if let Some(rest) = after_number(line) {
        return Some(rest);
    }
    let is_path = |byte: &u8| !byte.is_ascii_whitespace() && !b":[]\"'=".contains(byte);
    let colon = line.iter().take_while(|byte| is_path(byte)).count();
    // A line around a match.
    let mut around = memchr::memchr_iter(b'-', &line[..colon])
        .map(|at| &line[at + 1..])
        .take_while(|rest| !begins_with_time(rest))
        .filter_map(after_number);
    if let Some(rest) = around.clone().find(|rest| begins_with_time(rest)) {
        return Some(rest);
    }
    // The same without a number.
    let is_after_path = |at: &usize| {
        let (path, rest) = (&line[..*at], &line[*at + 1..]);
        let has_clock = || rest.get(..CLOCK_LEN).is_some_and(is_time_of_day);
        path.iter().any(|byte| b"./".contains(byte)) && (stamp(rest).is_some() || has_clock())
    };
    if let Some(at) = memchr::memchr_iter(b'-', &line[..colon]).find(is_after_path) {
        return Some(&line[at + 1..]);
    }
    if line.get(colon) == Some(&b':') {
        let (path, rest) = (&line[..colon], &line[colon + 1..]);
        return match after_number(rest) {
            Some(line) if !path.is_empty() && !begins_with_time(rest) => Some(line),
            _ => is_file(path, rest).then_some(rest),
        };
    }
    around.next()
}

/// Whether this can be the name of a file, or a line of a log follows it.
fn is_file(path: &[u8], rest: &[u8]) -> bool {
    let is_log = || begins_with_time(rest) || stamp(rest).is_some();
    !path.is_empty() && (path.iter().any(|byte| b"./".contains(byte)) || is_log())
}

/// Whether the text begins with `2026-11-22` or with `14:25:37`, which is no number of a line and another time.
fn begins_with_time(text: &[u8]) -> bool {
    let has_clock = text.get(..CLOCK_LEN).is_some_and(is_time_of_day);
    has_clock && text.get(CLOCK_LEN) != Some(&b':') || text.get(..DATE_LEN).is_some_and(is_date)
}

/// The text after `17:` or `17-`, or that of `cat -n`, `    17\t`.
fn after_number(line: &[u8]) -> Option<&[u8]> {
    match digits(line.trim_ascii_start()) {
        ([_, ..], [b'\t', rest @ ..]) => Some(rest),
        ([_, ..], [b':' | b'-', rest @ ..]) if !line.starts_with(b" ") => Some(rest),
        _ => None,
    }
}

/// `> LINE`
pub(super) fn quote(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b">")?;
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}
