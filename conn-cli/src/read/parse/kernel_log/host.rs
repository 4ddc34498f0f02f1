//! Which host a line of a log names in its header.

use super::{
    stamp::{bracketed, ctime, full, iso, unix, without_year},
    syslog::{MAX_HEADERS, facility, priority, relayed},
    tag::{after_host, after_host_and_kernel, after_level, is_believed, is_facility_and_level},
};
use crate::read::parse::scan::word;

/// The host in the header of a line: of several headers that in the innermost one, which the sender wrote. None if it
/// names none, as those of dmesg.
pub(crate) fn host(line: &[u8]) -> Option<&[u8]> {
    let after_priority = priority(line).or_else(|| facility(line));
    if let Some(rest) = after_priority.and_then(|(_, rest)| rest.strip_prefix(b"1 ")) {
        // RFC 5424: `TIME HOST APP ..`
        let (_, rest) = word(rest)?;
        return Some(word(rest)?.0);
    }
    let text = after_priority.map_or(line, |(_, rest)| rest);
    if let Some((_, rest)) = bracketed(text) {
        // Only journalctl prints a host there, and a tag behind it.
        return before_kernel(rest);
    }
    let stamped = without_year(text)
        // Only dmesg has a comma there, and it prints no host.
        .or_else(|| iso(text, b'T').filter(|_| text.get(19) != Some(&b',')))
        .or_else(|| full(text))
        .or_else(|| ctime(text))
        .or_else(|| unix(text))
        .or_else(|| iso(text, b' '));
    let (_, rest) = stamped?;
    let mut rest = after_level(rest);
    for _ in 0..MAX_HEADERS {
        // Nearly all records: a fast path.
        if let Some(host) = before_kernel(rest) {
            return Some(host);
        }
        if is_believed(rest) {
            return None;
        }
        match relayed(rest) {
            Some(inner) => rest = inner,
            None => break,
        }
    }
    let message = after_host(rest)?;
    Some(&rest[..rest.len() - message.len() - 1])
}

/// The host of `HOST kernel: `.
fn before_kernel(text: &[u8]) -> Option<&[u8]> {
    let message = after_host_and_kernel(text)?;
    let host = text[..text.len() - message.len()].strip_suffix(b" kernel: ")?;
    // BusyBox and OpenWrt write `kern.warn` there.
    (!is_facility_and_level(host)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_that_of_the_header() {
        for (line, expected) in [
            ("Nov 22 14:25:37 web1 kernel: [1.5] IN=eth0", Some("web1")),
            (
                "2026-11-22T14:25:37.5+00:00 web-1.example kernel: IN=eth0",
                Some("web-1.example"),
            ),
            (
                "Sun 2026-11-22 14:25:37 CET web1 kernel: IN=eth0",
                Some("web1"),
            ),
            ("1795357537.5 web1 kernel: IN=eth0", Some("web1")),
            (
                "<4>Nov 22 14:25:37 fe80::1%eth0 kernel: IN=",
                Some("fe80::1%eth0"),
            ),
            (
                "<4>1 2026-11-22T14:25:37Z web1 kernel - - - IN=",
                Some("web1"),
            ),
            (
                "Nov 22 14:25:38 relay Nov 22 14:25:37 web1 kernel: IN=",
                Some("web1"),
            ),
            ("Nov 22 14:25:37 web1 ulogd[12]: IN=eth0", Some("web1")),
            ("Nov 22 14:25:37 a\x1b[2J kernel: IN=eth0", Some("a\x1b[2J")),
            ("[    1.500000] web1 kernel: IN=eth0", Some("web1")),
            // These name none.
            ("Nov 22 14:25:37 kernel: [1.5] IN=eth0", None),
            ("Nov 22 14:25:37 kern.warn kernel: IN=eth0", None),
            ("[    1.500000] web1 IN=eth0", None),
            ("2026-11-22T14:25:37,123456+00:00 DROP IN=eth0", None),
            (" 14:25:37 firewall,info input: in:ether1", None),
            ("<4>[    1.500000] IN=eth0", None),
            ("", None),
        ] {
            let host = host(line.as_bytes());
            assert_eq!(host, expected.map(str::as_bytes), "{line}");
        }
    }
}
