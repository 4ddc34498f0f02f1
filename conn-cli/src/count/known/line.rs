//! The lines in a file of known clients: what conn-cli prints, and what people write.

mod comparison;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::model::{
    connection::Host,
    filter::Network,
    printed::{
        BY_ADDRESS, BY_OTHERS, connection, first_word, is_blank, is_comparison, is_number,
        message::{COUNTED, interval, is_message},
        over::is_over,
        summary::COUNTS,
    },
};

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

/// The keys of rows that are no clients.
const NO_CLIENTS: [&str; 3] = ["unknown", "other", "total"];

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
        if line.starts_with('#') || is_message(line) || interval(line).is_some() || is_over(line) {
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
        let parsed = total.or_else(|| client(line).map(Ok));
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

/// The titles of a table: where it has its clients, and what it counts by.
fn titles(line: &str) -> Option<(Column, &str)> {
    let (first, rest) = first_word(line);
    let second = first_word(rest).0;
    let last = line.rsplit(is_blank).next()?;
    if is_comparison(line) {
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

/// The client in the line of a connection.
fn client(line: &str) -> Option<Option<Entry>> {
    let client = connection::line(line)?.client.host;
    Some((client != Host::Unknown).then_some(Entry::Host(client)))
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
