//! The line of a connection.

use std::net::{IpAddr, SocketAddr};

use super::{first_word, is_number, number, time::split_time};
use crate::model::{connection::Host, stage::Stage};

/// What the line of a connection says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// When, as it is written.
    pub time: &'a str,
    /// The stage, if it is named.
    pub stage: Option<Stage>,
    pub client: End,
    pub server: End,
    /// What follows: who accepted, and how long the connection waited.
    pub tail: &'a str,
    /// Whether the line says in words that there is a connection.
    pub is_in_words: bool,
}

/// One end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub host: Host,
    pub port: Option<u16>,
}

const UNKNOWN: End = End {
    host: Host::Unknown,
    port: None,
};

/// What a line says before the client.
const NEWS: [(&str, Option<Stage>); 4] = [
    ("New connection", None),
    ("SYN", Some(Stage::Syn)),
    ("Established", Some(Stage::Established)),
    ("Accepted", Some(Stage::Accepted)),
];

/// The most characters of a thread's name, unless some are escaped.
const MAX_NAME_LEN: usize = 15;

/// Parses `Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1 to port 80`, or
/// `14:25:37.482000 192.0.2.1:37822 -> 192.0.2.9:80 httpd[99] waited 96 µs`.
pub(crate) fn line(line: &str) -> Option<Line<'_>> {
    let (time, rest) = split_time(line)?;
    let news = NEWS.iter().find_map(|(news, stage)| {
        let rest = rest.strip_prefix(news)?.strip_prefix(' ')?;
        Some((*stage, rest))
    });
    let (stage, rest) = news.unwrap_or((None, rest));
    if let (Some(_), Some(rest)) = (news, rest.strip_prefix("from ")) {
        let (client, server, tail) = in_words(rest)?;
        return Some(Line {
            time,
            stage,
            client,
            server,
            tail,
            is_in_words: true,
        });
    }
    // Lines with both ends have no other word.
    if news.is_some() && stage.is_none() {
        return None;
    }
    let (client, server, tail) = both_ends(rest)?;
    Some(Line {
        time,
        stage,
        client,
        server,
        tail,
        is_in_words: false,
    })
}

/// `192.0.2.1`, `192.0.2.1 to port 80`; of conn-cli 0.1, `192.0.2.1 to port 80 after 96 µs`.
fn in_words(text: &str) -> Option<(End, End, &str)> {
    let (client, tail) = first_word(text);
    let (port, tail) = match tail.strip_prefix("to port ") {
        Some(tail) => {
            let (port, tail) = first_word(tail);
            (Some(number(port)?), tail)
        }
        None => (None, tail),
    };
    let client = End {
        host: host(client)?,
        port: None,
    };
    let fits = tail.is_empty() || tail.starts_with("after ");
    fits.then_some((client, End { port, ..UNKNOWN }, tail))
}

/// `192.0.2.1:37822 -> 192.0.2.9:80`, `192.0.2.1:37822 (office) -> port 80`, or without the server.
fn both_ends(text: &str) -> Option<(End, End, &str)> {
    let (client, tail) = first_word(text);
    let tail = without_name(tail);
    if let Some(tail) = tail.strip_prefix("-> ") {
        let (server, rest) = first_word(tail);
        let (server, tail) = if server == "port" {
            let (port, rest) = first_word(rest);
            let port = Some(number(port)?);
            (End { port, ..UNKNOWN }, rest)
        } else {
            (end(server)?, rest)
        };
        let fits = server.port.is_some() && is_process_and_wait(tail);
        return fits.then_some((end(client)?, server, tail));
    }
    let client = end(client)?;
    // A word alone may be anything.
    let is_end = match client.host {
        _ if client.port.is_some() => true,
        Host::Name(_) => false,
        Host::Address(_) | Host::Unknown => {
            tail.is_empty()
                || ["waited ", "thread ", "pid "]
                    .iter()
                    .any(|word| tail.starts_with(word))
        }
    };
    (is_end && is_process_and_wait(tail)).then_some((client, UNKNOWN, tail))
}

/// What follows the name of a network, if there is one: `(office) -> 192.0.2.9:80`.
fn without_name(tail: &str) -> &str {
    let (name, rest) = first_word(tail);
    let is_name = name.starts_with('(') && name.ends_with(')');
    if is_name { rest } else { tail }
}

/// Whether this may follow the ends: `httpd[99] waited 96 µs`, `thread 99`.
fn is_process_and_wait(tail: &str) -> bool {
    let process = match tail.strip_prefix("waited ") {
        Some(wait) if is_duration(wait) => return true,
        _ => match tail.rsplit_once(" waited ") {
            Some((process, wait)) if is_duration(wait) => process,
            _ => tail,
        },
    };
    let id = (process.strip_prefix("thread ")).or_else(|| process.strip_prefix("pid "));
    let of_name = process.strip_suffix(']');
    let of_name = of_name.and_then(|process| process.rsplit_once('['));
    id.is_some_and(is_number)
        || of_name.is_some_and(|(_, pid)| is_number(pid))
        || process.chars().count() <= MAX_NAME_LEN
        || process.contains('\\')
}

/// `640 µs`, `1.2 s`
fn is_duration(text: &str) -> bool {
    let (number, unit) = first_word(text);
    let is_decimal = number.split('.').all(is_number);
    is_decimal && ["µs", "ms", "s"].contains(&unit)
}

/// One end of a connection: `192.0.2.1:37822`, `[2001:db8::1]:37822`, or without a port.
fn end(text: &str) -> Option<End> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(End {
            host: Host::at(address.ip()),
            port: Some(address.port()),
        });
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, Some(number(port)?)),
        _ => (text, None),
    };
    let host = host(name)?;
    Some(End { host, port })
}

/// A client as a line names it. What looks like a part of an address is no name.
pub(crate) fn host(text: &str) -> Option<Host> {
    if text == "unknown" {
        return Some(Host::Unknown);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Host::at(address));
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let may_be_name = !last.bytes().all(|byte| byte.is_ascii_digit());
    may_be_name.then(|| Host::named(text.as_bytes())).flatten()
}
