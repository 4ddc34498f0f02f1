//! The messages on standard error, which may be among the lines, and the rows of intervals.

use std::net::SocketAddr;

use super::{first_word, is_number, number, time::split_time};
use crate::model::format::Format;

/// How messages begin.
const MESSAGES: [&str; 26] = [
    "Tracing ",
    "hooks: ",
    "not used: ",
    "listening: ",
    "note: ",
    "warning: ",
    "accept wait: ",
    "time in the accept queue: ",
    "no listener",
    "no new connection for ",
    "no new addresses",
    "some wait to be accepted: ",
    "all listeners in ",
    "not every process was searched ",
    "not self-tested any more: ",
    "no totals so far: ",
    "cannot watch the cgroup ",
    "cannot count in the new cgroup ",
    "the cgroup ",
    "the new cgroup ",
    "reading from the terminal; ",
    "stopped before the end of the records",
    "waiting for the reader of standard output; ",
    "conn-cli: ",
    "error: ",
    "^C",
];

/// The levels of diagnostics.
const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// What follows the number with which other messages begin, and the total of a summary.
pub(crate) const COUNTED: [&str; 20] = [
    "connection",
    "connections",
    "handshake",
    "handshakes",
    "SYN",
    "SYNs",
    "line",
    "lines",
    "retransmitted",
    "more",
    "other",
    "new",
    "record",
    "records",
    "JSON",
    "packet",
    "packets",
    "network",
    "socket",
    "sockets",
];

/// Whether this is a message in which nothing is counted.
pub(crate) fn is_message(line: &str) -> bool {
    let is_about_listener = || {
        let is_listener = first_word(line).0.parse::<SocketAddr>().is_ok();
        is_listener
            && (line.contains(": accept queue ") || line.ends_with(" has stopped listening"))
    };
    MESSAGES.iter().any(|start| line.starts_with(start))
        || line.ends_with(" has ended, so the run ends")
        || is_about_listener()
        || is_diagnostic(line)
        || is_about_input(line)
}

/// Whether this is a line of --verbose: `DEBUG aya::bpf: ...`.
fn is_diagnostic(line: &str) -> bool {
    let (level, rest) = first_word(line);
    let target = first_word(rest).0.strip_suffix(':').unwrap_or_default();
    let is_path =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_:".contains(&byte);
    LEVELS.contains(&level) && !target.is_empty() && target.bytes().all(is_path)
}

/// Whether this begins with a number and what is counted: `2 lines not shown`.
pub(crate) fn is_count(line: &str) -> bool {
    let line = line.strip_prefix("at least ").unwrap_or(line);
    let (number, rest) = first_word(line);
    let word = first_word(rest).0.trim_end_matches(':');
    (number == "no" || is_number(number)) && COUNTED.contains(&word)
}

/// Whether a live run says with this that it begins.
pub(crate) fn is_start(line: &str) -> bool {
    line.starts_with("Tracing TCP connections")
}

/// Whether this says what an input was read as: `web.pcap: pcap, 39 packets`.
fn is_about_input(line: &str) -> bool {
    let is_size = |size: &str| {
        let (number, what) = first_word(size);
        is_number(number) && ["line", "lines", "packet", "packets"].contains(&what)
    };
    let read_as = |format: &Format| line.contains(&format!(": {}, ", format.name()));
    let last = line.rsplit(", ").next();
    (last.is_some_and(is_size) && Format::ALL.iter().any(read_as))
        || (line.starts_with("and ") && line.ends_with(" more inputs"))
}

/// How many connections the row of an interval, or of several, has:
/// `14:25:30     123 connections     17 addresses ...`.
pub(crate) fn interval(line: &str) -> Option<u64> {
    let (_, rest) = split_time(line)?;
    let rest = rest.trim_start();
    if rest == "(not measured)" {
        return Some(0);
    }
    if let Some(several) = rest.strip_prefix('(') {
        let (number, rest) = first_word(several);
        let is_interval = rest.starts_with("interval ") || rest.starts_with("intervals ");
        return (is_number(number) && is_interval).then_some(0);
    }
    let (connections, rest) = first_word(rest);
    let (noun, rest) = first_word(rest);
    let (addresses, rest) = first_word(rest);
    let fits = ["connection", "connections"].contains(&noun)
        && is_number(addresses)
        && rest.starts_with("address");
    fits.then(|| number(connections)).flatten()
}
