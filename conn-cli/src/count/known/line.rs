//! The shapes of the lines in a file of known clients: what conn-cli prints, and what people write.
//!
//! Each shape is tied to the beginning of the line, and an address counts only at its place in the shape:
//! output contains names that others chose, such as those of processes, and a name must not make an
//! address known.

mod comparison;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use super::time::after_time;
use crate::model::{connection::Host, filter::Network, format::Format};

/// A known client, or many.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Host(Host),
    Network(Network),
}

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    NotPrinted,
    NotByAddress,
}

/// The lines of text, one after the other.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// In a table: where its clients are.
    table: Option<Column>,
}

/// Where a table has its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    First,
    Last,
    /// Of a comparison, after three numbers; rows may end with `  new` or `  gone`.
    Fourth,
}

type Parsed = Result<Option<Entry>, Wrong>;

/// What connections are counted by; see [`crate::model::group::GroupBy::nouns`].
const BY_ADDRESS: [&str; 4] = ["address", "addresses", "network", "networks"];
const BY_OTHERS: [&str; 8] = [
    "port",
    "ports",
    "process",
    "processes",
    "cgroup",
    "cgroups",
    "user",
    "users",
];

/// The titles of columns with counts.
const COUNTS: [&str; 6] = [
    "count",
    "connections",
    "syn",
    "refused",
    "established",
    "accepted",
];

/// The keys of rows that are no clients.
const NO_CLIENTS: [&str; 3] = ["unknown", "other", "total"];

/// What a line of a connection says before the client.
const NEWS: [&str; 4] = ["New connection", "SYN", "Established", "Accepted"];

/// How messages begin.
const MESSAGES: [&str; 31] = [
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
    "ERROR ",
    "WARN ",
    "INFO ",
    "DEBUG ",
    "TRACE ",
    "^C",
];

/// What follows the number with which other messages begin, and the total of a summary.
const COUNTED: [&str; 20] = [
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

impl Lines {
    /// What the next line says.
    pub(super) fn parse(&mut self, line: &str) -> Parsed {
        let line = line.trim_ascii();
        if line.is_empty() || (line.starts_with("=== ") && line.ends_with(" ===")) {
            self.table = None;
            return Ok(None);
        }
        if self.table == Some(Column::Fourth) && comparison::is_total(line) {
            self.table = None;
            return Ok(None);
        }
        if line.starts_with('#') || is_message(line) || is_interval(line) {
            return Ok(None);
        }
        if is_of_process_or_user(line) {
            return Err(Wrong::NotByAddress);
        }
        if let Some((column, by)) = titles(line) {
            self.table = Some(column);
            return only_by_address(by);
        }
        let total = counted(line);
        let parsed = total.or_else(|| connection(line).map(Ok));
        let parsed = parsed.or_else(|| self.table.and_then(|column| row(column, line).map(Ok)));
        let parsed = parsed.or_else(|| listed(line));
        // Not before a list, which may call an address so.
        let is_empty_input = line.ends_with(": empty");
        parsed.unwrap_or(if is_empty_input {
            Ok(None)
        } else {
            Err(Wrong::NotPrinted)
        })
    }
}

/// Whether this is a message in which nothing is counted.
fn is_message(line: &str) -> bool {
    let is_about_listener = || {
        let is_listener = first_word(line).0.parse::<SocketAddr>().is_ok();
        is_listener
            && (line.contains(": accept queue ") || line.ends_with(" has stopped listening"))
    };
    MESSAGES.iter().any(|start| line.starts_with(start))
        || line.ends_with(" has ended, so the run ends")
        || is_about_listener()
        || is_about_input(line)
}

/// Whether this says what an input was read as: `web.pcap: pcap, 39 packets`.
fn is_about_input(line: &str) -> bool {
    let is_size = |size: &str| {
        let (number, what) = first_word(size);
        is_number(number) && ["line", "lines", "packet", "packets"].contains(&what)
    };
    let is_of_format = Format::ALL.iter().any(|format| {
        let read_as = format!(": {}, ", format.name());
        let last = line.rsplit(", ").next();
        line.contains(&read_as) && last.is_some_and(is_size)
    });
    is_of_format || (line.starts_with("and ") && line.ends_with(" more inputs"))
}

/// Whether this is the row of an interval: `14:25:30     123 connections     17 addresses ...`.
fn is_interval(line: &str) -> bool {
    let Some(rest) = after_time(line) else {
        return false;
    };
    let rest = rest.trim_start();
    if rest == "(not measured)" {
        return true;
    }
    let (number, rest) = first_word(rest.strip_prefix('(').unwrap_or(rest));
    let (word, _) = first_word(rest);
    is_number(number) && ["connection", "connections", "interval", "intervals"].contains(&word)
}

/// The titles of a table: where it has its clients, and what it counts by.
fn titles(line: &str) -> Option<(Column, &str)> {
    let (first, rest) = first_word(line);
    let second = first_word(rest).0;
    let last = line.rsplit(is_blank).next()?;
    if comparison::is_titles(line) {
        return Some((Column::Fourth, last));
    }
    let is_key = |word| BY_ADDRESS.contains(&word) || BY_OTHERS.contains(&word);
    if is_key(first) && COUNTS.contains(&second) {
        Some((Column::First, first))
    } else if is_key(last) && COUNTS.contains(&first) {
        Some((Column::Last, last))
    } else {
        None
    }
}

/// A total, or another line that begins with a number and what is counted: `3 connections from 2
/// addresses`, `34 other addresses: 104`. It may name filters and new clients, but no known ones.
fn counted(line: &str) -> Option<Parsed> {
    if let Some(groups) = line.strip_prefix("from ") {
        // `from 2 addresses; 0 lines not shown`, of conn-cli 0.1.
        let (number, rest) = first_word(groups);
        let by = rest.split(';').next()?;
        return is_number(number).then(|| only_by_address(by));
    }
    let line = line.strip_prefix("at least ").unwrap_or(line);
    let (number, rest) = first_word(line);
    let (word, rest) = first_word(rest);
    let word = word.trim_end_matches(':');
    if !(number == "no" || is_number(number)) || !COUNTED.contains(&word) {
        return None;
    }
    let groups = rest.split([',', ':']).next().unwrap_or_default();
    let mut words = groups.split(is_blank);
    let is_by_others = match word {
        "other" => words.next().is_some_and(|by| BY_OTHERS.contains(&by)),
        "connection" | "connections" => {
            groups.contains(" accepted by ")
                || groups.starts_with("accepted ")
                || groups.contains(" accepted in ")
                || (words.next() == Some("from")
                    && words.nth(1).is_some_and(|by| BY_OTHERS.contains(&by)))
        }
        _ => false,
    };
    Some(if is_by_others {
        Err(Wrong::NotByAddress)
    } else {
        Ok(None)
    })
}

/// A connection: `Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1 to port 80`, or
/// `14:25:37.482000 192.0.2.1:37822 -> 192.0.2.9:80 httpd[99] waited 96 µs`.
fn connection(line: &str) -> Option<Option<Entry>> {
    let rest = after_time(line)?;
    let news = NEWS.iter().find_map(|news| rest.strip_prefix(news));
    let rest = match news.map(|rest| rest.strip_prefix(" from ").ok_or(rest)) {
        Some(Ok(client)) => {
            let (client, tail) = first_word(client);
            let fits =
                tail.is_empty() || tail.starts_with("to port ") || tail.starts_with("after ");
            return host(client).filter(|_| fits);
        }
        Some(Err(rest)) => rest.strip_prefix(' ')?,
        None => rest,
    };
    let (client, tail) = first_word(rest);
    let is_server = |server: &str| server == "port" || end(server).is_some();
    match tail.strip_prefix("-> ") {
        Some(server) if is_server(first_word(server).0) => end(client),
        None if is_without_server(tail) => {
            // A word alone may be anything.
            let is_end = client.contains(':') || client == "unknown" || network(client).is_some();
            end(client).filter(|_| is_end)
        }
        Some(_) | None => None,
    }
}

/// Whether this may follow the client if the server is not known: `thread 99 waited 96 µs`.
fn is_without_server(tail: &str) -> bool {
    let id = tail.strip_prefix("thread ").or(tail.strip_prefix("pid "));
    let (number, rest) = id.map_or(("0", tail), first_word);
    is_number(number) && (rest.is_empty() || rest.starts_with("waited "))
}

/// One end of a connection: `192.0.2.1:37822`, `[2001:db8::1]:37822`, or without a port.
fn end(text: &str) -> Option<Option<Entry>> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Some(Entry::Host(Host::at(address.ip()))));
    }
    match text.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.contains(':') => host(name),
        _ => host(text),
    }
}

/// A row of a table.
fn row(column: Column, line: &str) -> Option<Option<Entry>> {
    if column == Column::Fourth {
        return comparison::row(line);
    }
    let (first, rest) = first_word(line);
    let key = match column {
        Column::First if rest.starts_with(|char: char| char.is_ascii_digit()) => first,
        Column::Last if is_number(first) => line.rsplit(is_blank).next()?,
        Column::First | Column::Last | Column::Fourth => return None,
    };
    let is_left_off = || {
        let words: Vec<_> = line.rsplitn(3, is_blank).collect();
        matches!(words[..], [by, "other", _] if BY_ADDRESS.contains(&by))
    };
    match network(key) {
        Some(entry) => Some(Some(entry)),
        None if column == Column::Last && is_left_off() => Some(None),
        None => host(key),
    }
}

/// A line of a list: `192.0.2.1: 5`, `192.0.2.0/24 the office`, or `5 192.0.2.1` as `uniq -c` prints it.
fn listed(line: &str) -> Option<Parsed> {
    let whole = line;
    let line = line.split('#').next().unwrap_or_default().trim_ascii_end();
    let key = key_of_row(line);
    if let Some(key) = key {
        if let Some(entry) = network(key) {
            return Some(Ok(Some(entry)));
        }
        if let Some(entry) = host(key) {
            return Some(Ok(entry));
        }
    }
    let (first, rest) = first_word(line);
    if is_number(first) {
        return network(rest).map(|entry| Ok(Some(entry)));
    }
    let entry = network(first).map(|entry| Ok(Some(entry)));
    entry.or_else(|| { key.or_else(|| key_of_row(whole)) }.map(|_| Err(Wrong::NotByAddress)))
}

/// The key of a row such as `192.0.2.1: 5`.
fn key_of_row(line: &str) -> Option<&str> {
    let (key, count) = line.rsplit_once(':')?;
    let is_count = count.starts_with(is_blank) && is_number(count.trim_start_matches(is_blank));
    is_count.then(|| key.trim_ascii_end())
}

/// Whether this is a row such as `httpd[812]: 3` or `www (uid 33): 3`, whose name may be like any of the
/// shapes.
fn is_of_process_or_user(line: &str) -> bool {
    key_of_row(line).is_some_and(|key| key.ends_with([']', ')']))
}

fn only_by_address(by: &str) -> Parsed {
    if BY_OTHERS.contains(&by) {
        Err(Wrong::NotByAddress)
    } else {
        Ok(None)
    }
}

/// An address or a network.
fn network(text: &str) -> Option<Entry> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(Entry::Host(Host::at(address))),
        Err(_) => text.parse().ok().map(Entry::Network),
    }
}

/// A client as a line names it, or nobody.
fn host(text: &str) -> Option<Option<Entry>> {
    if NO_CLIENTS.contains(&text) {
        return Some(None);
    }
    let host = match text.parse::<IpAddr>() {
        Ok(address) => Some(Host::at(address)),
        Err(_) => Host::named(text.as_bytes()),
    };
    host.map(|host| Some(Entry::Host(host)))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// The first word, and the text after the blanks behind it.
fn first_word(text: &str) -> (&str, &str) {
    match text.split_once(is_blank) {
        Some((word, rest)) => (word, rest.trim_start_matches(is_blank)),
        None => (text, ""),
    }
}

fn is_blank(char: char) -> bool {
    char == ' ' || char == '\t'
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
