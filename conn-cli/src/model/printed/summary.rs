//! The summary: its heading, its rows and its total.

#[cfg(test)]
mod tests;

use super::{BY_ADDRESS, BY_OTHERS, connection::host, first_word, is_number, number, words};
use crate::model::{connection::Host, filter::Network};

/// The heading before rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heading {
    /// That of the counts at the end of a run.
    Summary,
    /// That of those so far.
    SoFar,
}

/// What the columns of a table are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Titles {
    /// How many of the first columns are counts, of which the last is that of the connections.
    counts: usize,
    /// The character at which keys begin.
    key: usize,
    /// Whether the keys are clients.
    pub is_by_address: bool,
    /// Whether the column before the keys has ports.
    with_port: bool,
}

/// A row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub key: Key,
    pub connections: u64,
    /// Whether they are marked as a lower bound. What is above it is in another row.
    pub at_least: bool,
}

/// What a row is of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A client, and the port, if the row has one. Its name may be that of a user: the total tells.
    Client(Host, Option<u16>),
    /// Another group, such as a network or a process, and the port likewise.
    Group(Option<u16>),
    /// Those of the rows that are left off.
    LeftOff,
    /// Those of clients for which there was no room.
    Other,
    /// All.
    Total,
}

/// The last line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Total {
    pub connections: u64,
    pub at_least: bool,
    /// Whether it is of clients, as far as it says what the rows are of.
    pub is_by_address: bool,
    /// Whether the clients in a list are left out.
    pub only_new: bool,
    /// The port, if all connections are to one.
    pub port: Option<u16>,
}

/// The titles of columns with counts.
pub(crate) const COUNTS: [&str; 6] = [
    "count",
    "connections",
    "syn",
    "refused",
    "established",
    "accepted",
];

/// What connections of each stage are called in the total.
const NOUNS: [&str; 6] = [
    "connection attempts (SYNs)",
    "connection attempt (SYN)",
    "connections",
    "connection",
    "handshakes",
    "handshake",
];

/// What is said if a screen has no room for all rows.
const FOR_ALL: &str = " (--top 0 for all)";

/// The heading `=== Summary ===`, or that of the counts so far.
pub(crate) fn heading(line: &str) -> Option<Heading> {
    match line.trim_ascii() {
        "=== Summary ===" => Some(Heading::Summary),
        "=== So far ===" => Some(Heading::SoFar),
        _ => None,
    }
}

/// The titles of a table: `count  share  peak/s  first  last  address`.
pub(crate) fn titles(line: &str) -> Option<Titles> {
    let line = line.trim_ascii_end();
    let counts = words(line).take_while(|word| COUNTS.contains(word)).count();
    let key = words(line).next_back()?;
    let before = &line[..line.len() - key.len()];
    let is_by_address = BY_ADDRESS.contains(&key);
    let is_table = counts > 1 || words(line).any(|word| word == "share");
    let is_titles = counts > 0 && is_table && (is_by_address || BY_OTHERS.contains(&key));
    is_titles.then(|| Titles {
        counts,
        key: before.chars().count(),
        is_by_address,
        with_port: words(before).next_back() == Some("port"),
    })
}

/// A row of a list: `192.0.2.1: 5`, `192.0.2.1 port 80: 5`, `34 other addresses: 104`.
pub(crate) fn listed(line: &str) -> Option<Row> {
    let (key, count) = line.rsplit_once(": ")?;
    let (count, noun) = first_word(count);
    let fits = match noun.strip_suffix(FOR_ALL) {
        Some(noun) => NOUNS.contains(&noun.trim_ascii_end()),
        None => noun.is_empty(),
    };
    if !fits {
        return None;
    }
    let (connections, at_least) = counted(count)?;
    let key = match rest(key) {
        Some(key) => key,
        None => key_of_list(key)?,
    };
    Some(Row {
        key,
        connections,
        at_least,
    })
}

/// Whether this is the key of a row, with its port if it has one.
pub(crate) fn is_key(key: &str) -> bool {
    key_of_list(key).is_some()
}

fn key_of_list(key: &str) -> Option<Key> {
    if let Some(key) = key.strip_suffix(" unknown port") {
        return client_or_group(key, None);
    }
    match key.rsplit_once(" port ") {
        Some((key, port)) if is_number(port) => client_or_group(key, Some(number(port)?)),
        _ => client_or_group(key, None),
    }
}

/// Whether a line can be a row of a table with some titles.
pub(crate) fn may_be_in_table(line: &str) -> bool {
    let mut cells = words(line);
    let (first, second) = (cells.next(), cells.next());
    let is_share = |cell: &str| is_number(cell) || cell == "<" || cell == "-";
    first.and_then(counted).is_some()
        && second.is_some_and(|second| match cells.next() {
            Some(_) => is_share(second),
            None => second == "total",
        })
}

/// A count, and whether it is marked as a lower bound.
fn counted(count: &str) -> Option<(u64, bool)> {
    match count.strip_prefix('~') {
        Some(count) => Some((number(count)?, true)),
        None => Some((number(count)?, false)),
    }
}

/// A row of a table with these titles.
pub(crate) fn in_table(titles: &Titles, line: &str) -> Option<Row> {
    let mut cells = words(line);
    let (mut connections, mut at_least) = (0, false);
    for _ in 0..titles.counts {
        (connections, at_least) = counted(cells.next()?)?;
    }
    let cells: Vec<_> = cells.collect();
    let row = |key| {
        Some(Row {
            key,
            connections,
            at_least,
        })
    };
    let (&last, before) = cells.split_last()?;
    if cells == ["total"] {
        return row(Key::Total);
    }
    let noun = line.trim_ascii_end();
    let noun = noun.strip_suffix(FOR_ALL).unwrap_or(noun);
    let left_off = noun.rsplit_once(" other ");
    if left_off.is_some_and(|(_, noun)| is_noun(noun.trim_ascii_end())) {
        return row(Key::LeftOff);
    }
    if titles.is_by_address {
        // Blanks at the beginning of lines may be lost on the way.
        let port = before.last().filter(|_| titles.with_port);
        let port = port.and_then(|port| number(port));
        return match rest(last) {
            Some(key) => row(key),
            None => row(client_or_group(last, port)?),
        };
    }
    let key = line.char_indices().nth(titles.key);
    let (before, key) = line.split_at(key.map_or(line.len(), |(at, _)| at));
    if let Some(key) = rest(key.trim_ascii_end()) {
        return row(key);
    }
    let port = match key.strip_prefix("port ") {
        Some(port) => number(port.trim_ascii_end()),
        None => (words(before).next_back().filter(|_| titles.with_port)).and_then(number),
    };
    row(Key::Group(port))
}

/// What has no row of its own.
fn rest(key: &str) -> Option<Key> {
    let (number, noun) = first_word(key);
    match (key, noun.strip_prefix("other ")) {
        ("unknown", _) => Some(Key::Client(Host::Unknown, None)),
        ("other", _) => Some(Key::Other),
        (_, Some(noun)) => (is_number(number) && is_noun(noun)).then_some(Key::LeftOff),
        (_, None) => None,
    }
}

/// Whether rows can be called so: `addresses`, `pairs of user and port`.
fn is_noun(text: &str) -> bool {
    let pair = text.strip_prefix("pairs of ");
    let pair = pair.or_else(|| text.strip_prefix("pair of "));
    let noun = pair.map_or(Some(text), |pair| pair.strip_suffix(" and port"));
    noun.is_some_and(|noun| BY_ADDRESS.contains(&noun) || BY_OTHERS.contains(&noun))
}

/// A client, or what else has a row. The name of a process, a cgroup or a user can be anything, but not its end
/// or its beginning.
fn client_or_group(key: &str, port: Option<u16>) -> Option<Key> {
    if let Some(port) = key.strip_prefix("port ") {
        return Some(Key::Group(Some(number(port)?)));
    }
    let id = ["pid ", "kernel thread ", "cgroup ", "uid "];
    let is_group = key.starts_with('/')
        || key.ends_with([']', ')'])
        || id
            .iter()
            .any(|id| key.strip_prefix(id).is_some_and(is_number))
        || [
            "kernel threads",
            "processes of other PID namespaces",
            "unknown port",
        ]
        .contains(&key)
        || key.contains('/') && key.parse::<Network>().is_ok();
    if is_group {
        return Some(Key::Group(port));
    }
    host(key).map(|client| Key::Client(client, port))
}

/// The last line: `3 connections from 2 addresses to port 80, 14:25:35 to 14:25:40 (4.9 s)`.
pub(crate) fn total(line: &str) -> Option<Total> {
    let rest = line.strip_prefix("at least ");
    let (connections, rest) = first_word(rest.unwrap_or(line));
    let noun = NOUNS.iter().find_map(|noun| rest.strip_prefix(noun));
    let rest = noun.filter(|rest| rest.is_empty() || rest.starts_with([' ', ',', ';']))?;
    // What follows are times and filters.
    let ends = rest.split(", ").next().unwrap_or_default();
    let ends = ends.split("; ").next().unwrap_or_default();
    let words: Vec<_> = words(ends).collect();
    let mut total = Total {
        connections: match connections {
            "no" => 0,
            connections => number(connections)?,
        },
        at_least: line.starts_with("at least "),
        is_by_address: true,
        only_new: false,
        port: None,
    };
    let mut words = &words[..];
    while let [word, more @ ..] = words {
        words = match (*word, more) {
            ("from", [groups, "new", "address" | "addresses", more @ ..]) if is_number(groups) => {
                total.only_new = true;
                more
            }
            ("from" | "to", [groups, noun, more @ ..])
                if is_number(groups) && (BY_ADDRESS.contains(noun) || BY_OTHERS.contains(noun)) =>
            {
                total.is_by_address = BY_ADDRESS.contains(noun);
                more
            }
            ("to", ["port", port, more @ ..]) => {
                total.port = number(port);
                more
            }
            (
                "to",
                ["ports", _, more @ ..]
                | ["every", "port", more @ ..]
                | ["all", "ports", "but", _, more @ ..],
            ) => more,
            (
                "to",
                [groups, "of", "ports", _, more @ ..]
                | [groups, "of", "all", "ports", "but", _, more @ ..],
            ) if is_number(groups) => {
                total.is_by_address = false;
                more
            }
            ("accepted", ["by" | "in", groups, noun, more @ ..])
                if is_number(groups) && BY_OTHERS.contains(noun) =>
            {
                total.is_by_address = false;
                more
            }
            (
                "in",
                [
                    pairs,
                    "pair" | "pairs",
                    "of",
                    noun,
                    "and",
                    "port",
                    more @ ..,
                ],
            ) if is_number(pairs) => {
                total.is_by_address = BY_ADDRESS.contains(noun);
                more
            }
            ("in", [_, "line" | "lines" | "packet" | "packets" | "s", more @ ..]) => more,
            ("and", [_, "packet" | "packets" | "more", more @ ..]) => more,
            _ => return None,
        };
    }
    Some(total)
}
