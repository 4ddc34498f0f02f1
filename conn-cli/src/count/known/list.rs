//! Reads the file of known clients.

use std::{
    io::{BufRead, Read as _},
    net::IpAddr,
};

use anyhow::{Context as _, anyhow, bail};
use ipnet::IpNet;

use super::Known;
use crate::{
    model::{connection::Host, filter::Network},
    system::text::escaped,
};

/// The longest line, in bytes: twice the longest name, with room for a comment. A file without
/// line ends is not a list of addresses.
const MAX_LINE_LEN: u64 = 1024;

/// How many bytes of an invalid line are shown.
const MAX_SHOWN_LEN: usize = 80;

/// Keys in a summary that are not clients.
const NON_CLIENTS: [&str; 2] = ["unknown", "other"];

/// The title of a text summary.
const TITLE: &str = "=== Summary ===";

/// A parsed line.
enum Entry {
    Nothing,
    Host(Host),
    Network(IpNet),
}

/// Reads the known clients. `name` is the name of the file.
pub(super) fn read(mut reader: impl BufRead, name: &str) -> anyhow::Result<Known> {
    let mut known = Known::default();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let limited = &mut reader.by_ref().take(MAX_LINE_LEN + 1);
        let length = limited
            .read_until(b'\n', &mut line)
            .with_context(|| format!("cannot read {name}"))?;
        if length == 0 {
            break;
        }
        let entry = if length as u64 > MAX_LINE_LEN {
            Err(anyhow!("the line is longer than {MAX_LINE_LEN} bytes"))
        } else {
            entry(&line, number == 1)
        };
        match entry.with_context(|| format!("{name}, line {number}"))? {
            Entry::Nothing => {}
            Entry::Network(network) => known.networks.insert(network),
            Entry::Host(host) => {
                known.remember(&host);
            }
        }
    }
    Ok(known)
}

fn entry(line: &[u8], is_first: bool) -> anyhow::Result<Entry> {
    let Ok(text) = str::from_utf8(line) else {
        bail!("the line is not UTF-8: '{}'", shown(line));
    };
    // Some Windows editors start a UTF-8 file with a byte order mark.
    let text = if is_first {
        text.strip_prefix('\u{feff}').unwrap_or(text)
    } else {
        text
    };
    let text = text.split('#').next().unwrap_or_default().trim_ascii();
    if text.is_empty() || text == TITLE || is_total(text) {
        return Ok(Entry::Nothing);
    }
    // An address may contain colons itself, but no blanks.
    let key = match text.rsplit_once(':') {
        Some((key, count)) if count.starts_with(is_blank) => {
            let count = count.trim_ascii();
            let is_count = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            is_count.then(|| without_port(key.trim_ascii_end()))
        }
        _ => None,
    };
    let is_not_a_client = |key: &str| NON_CLIENTS.contains(&key) || is_remainder(key);
    if key.is_some_and(is_not_a_client) {
        return Ok(Entry::Nothing);
    }
    if let Ok(address) = key.unwrap_or(text).parse::<IpAddr>() {
        return Ok(Entry::Host(Host::at(address)));
    }
    if let Some(name) = key.and_then(|key| Host::named(key.as_bytes())) {
        return Ok(Entry::Host(name));
    }
    if let Ok(Network(network)) = key.unwrap_or(text).parse() {
        return Ok(Entry::Network(network));
    }
    bail!(
        "'{}' is not an address, a network such as 192.0.2.0/24, or a line of a summary",
        shown(text.as_bytes())
    );
}

/// Whether this is the last line of a summary: `5 connections from 2 addresses`.
fn is_total(text: &str) -> bool {
    let text = text.strip_prefix("at least ").unwrap_or(text);
    let Some((number, rest)) = text.split_once(' ') else {
        return false;
    };
    let is_number = number == "no" || number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (rest.starts_with("connection") || rest.starts_with("handshake"))
}

/// Whether this stands for the rows that `--top` leaves out: `5 other addresses`, or `5 more` as an older
/// conn-cli wrote it.
fn is_remainder(key: &str) -> bool {
    key.split_once(' ').is_some_and(|(number, rest)| {
        number.bytes().all(|byte| byte.is_ascii_digit())
            && (rest == "more" || rest.starts_with("other "))
    })
}

/// The client of a pair with the port: `192.0.2.1 port 80`.
fn without_port(key: &str) -> &str {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match key.rsplit_once(" port ") {
        Some((client, port)) if is_port(port) => client,
        _ => key.strip_suffix(" unknown port").unwrap_or(key),
    }
}

fn is_blank(char: char) -> bool {
    char == ' ' || char == '\t'
}

/// The start of a line, safe to show.
fn shown(line: &[u8]) -> String {
    let line = line.trim_ascii();
    match line.get(..MAX_SHOWN_LEN) {
        Some(beginning) if line.len() > MAX_SHOWN_LEN => format!("{}...", escaped(beginning)),
        _ => escaped(line),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader};

    use super::*;

    fn known(content: impl AsRef<[u8]>) -> anyhow::Result<Known> {
        read(content.as_ref(), "list")
    }

    fn is_new(known: &mut Known, host: &str) -> bool {
        known.is_new(&match host.parse::<IpAddr>() {
            Ok(address) => Host::at(address),
            Err(_) => Host::named(host.as_bytes()).unwrap(),
        })
    }

    #[test]
    fn summaries_and_handwritten_lists_are_read() {
        let mut known = known(
            "\u{feff}\r\n=== Summary ===\r\n192.0.2.1: 5\r\n2001:db8::1: 1\r\n\
             web.example: 3\n192.0.2.5 port 80: 3\nfd00::5 unknown port: 1\n5 more: 7\n5 other addresses: 7\nunknown: 4\nother: 2\n\
             # the office\n  192.0.2.2\t# and its printer\n\n\
             ::ffff:192.0.2.3\n  2001:db8::2  :  7  \n::: 1\n10.1.2.3/8\n2001:db8:1::/48",
        )
        .unwrap();
        for host in [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "192.0.2.5",
            "fd00::5",
            "2001:db8::1",
            "2001:db8::2",
            "::",
            "web.example",
            "10.0.0.0",
            "10.255.255.255",
            "2001:db8:1:ffff::1",
        ] {
            assert!(!is_new(&mut known, host), "{host}");
        }
        // The totals in a summary are not clients.
        for host in ["192.0.2.4", "11.0.0.0", "2001:db8:2::", "unknown", "other"] {
            assert!(is_new(&mut known, host), "{host}");
        }
        assert!(known.is_new(&Host::Unknown));
    }

    #[test]
    fn own_summary_is_read() {
        use crate::{
            model::options::TimeFormat,
            output::{Clock, Look, Text},
            report::{Origin, Report},
        };
        let hosts = [
            Host::at([192, 0, 2, 1]),
            Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]),
            Host::named(b"web-1.example").unwrap(),
        ];
        let mut tally = crate::count::tally::Tally::default();
        for host in &hosts {
            tally.add(host, Some(80), 3);
        }
        tally.add(&Host::Unknown, None, 2);
        tally.add_other(1);
        let origin = Origin::Records(crate::model::read_stats::ReadStats::default());
        let clock = Clock::new(jiff::tz::TimeZone::UTC, TimeFormat::default());
        let report = Report::sample(&tally, origin);
        let mut printer = Text::new(clock, Look::default());
        let text: String = printer.report(&report, "Summary").collect();
        let mut known = known(text.into_bytes()).unwrap();
        for host in &hosts {
            assert!(!known.is_new(host), "{host}");
        }
    }

    #[test]
    fn invalid_line_is_an_error_with_its_number() {
        for line in [
            "192.0.2.300",
            "192.0.2.1:80",
            "192.0.2.1: many",
            "192.0.2.1: -1",
            "192.0.2.1:",
            "192.0.2.1 192.0.2.2",
            "192.0.2.0/33",
            "2001:db8::/129",
            "fe80::1%eth0",
            "web.example",
            "a b: 3",
            "Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1",
            "{\"type\":\"summary\"}",
        ] {
            let error = known(format!("192.0.2.1\r\n\r\n{line}\r\n")).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.starts_with("list, line 3: '"), "{line}: {error}");
            assert!(error.contains(&escaped(line.as_bytes())), "{line}: {error}");
        }
    }

    #[test]
    fn control_characters_in_errors_are_escaped() {
        for line in [&b"\x1b[2J"[..], b"\xff\xfe1\0", b"\0\0\0", b"a\x9b: 1"] {
            let error = format!("{:#}", known(line).unwrap_err());
            assert!(error.starts_with("list, line 1"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        let utf16 = b"\xff\xfe1\x009\x002\0";
        let error = format!("{:#}", known(utf16).unwrap_err());
        assert!(error.contains("not UTF-8"), "{error}");
    }

    #[test]
    fn endless_line_is_refused() {
        let error = read(BufReader::new(io::repeat(b'1')), "list").unwrap_err();
        let error = format!("{error:#}");
        assert_eq!(error, "list, line 1: the line is longer than 1024 bytes");
        let comment = format!("{}\n192.0.2.1", "#".repeat(1023));
        assert!(!is_new(&mut known(comment).unwrap(), "192.0.2.1"));
        let error = format!("{:#}", known("a".repeat(1000)).unwrap_err());
        assert!(error.len() < 250, "{error}");
    }
}
