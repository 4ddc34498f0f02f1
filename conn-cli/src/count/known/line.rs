//! The shapes of the lines in a file of known clients: what conn-cli prints, and what people write.
//!
//! Each shape is tied to the beginning of the line, and an address counts only at its place in the shape:
//! output contains names that others chose, such as those of processes, and a name must not make an
//! address known.

use std::net::{IpAddr, SocketAddr};

use super::time::after_time;
use crate::model::{connection::Host, filter::Network};

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
const MESSAGES: [&str; 29] = [
    "Tracing ",
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
        parsed
            .or_else(|| listed(line))
            .unwrap_or(Err(Wrong::NotPrinted))
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
}

/// Whether this is the row of an interval: `14:25:30     123 connections     17 addresses ...`.
fn is_interval(line: &str) -> bool {
    let Some(rest) = after_time(line) else {
        return false;
    };
    let rest = rest.trim_start();
    let (number, rest) = first_word(rest.strip_prefix('(').unwrap_or(rest));
    let (word, _) = first_word(rest);
    is_number(number) && ["connection", "connections", "interval", "intervals"].contains(&word)
}

/// The titles of a table: where it has its clients, and what it counts by.
fn titles(line: &str) -> Option<(Column, &str)> {
    let (first, rest) = first_word(line);
    let second = first_word(rest).0;
    let last = line.rsplit(is_blank).next()?;
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
        None if tail.is_empty() || tail.starts_with("waited ") => {
            // A word alone may be anything.
            let is_end = client.contains(':') || client == "unknown" || network(client).is_some();
            end(client).filter(|_| is_end)
        }
        Some(_) | None => None,
    }
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
    let (first, rest) = first_word(line);
    let key = match column {
        Column::First if rest.starts_with(|char: char| char.is_ascii_digit()) => first,
        Column::Last if is_number(first) => line.rsplit(is_blank).next()?,
        Column::First | Column::Last => return None,
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
    let first = first.split('#').next().unwrap_or_default();
    let entry = network(first).map(|entry| Ok(Some(entry)));
    entry.or_else(|| key.map(|_| Err(Wrong::NotByAddress)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Parsed {
        Lines::default().parse(line)
    }

    fn at(address: &str) -> Entry {
        Entry::Host(Host::at(address.parse::<IpAddr>().unwrap()))
    }

    fn named(name: &str) -> Entry {
        Entry::Host(Host::named(name.as_bytes()).unwrap())
    }

    #[test]
    fn lists_of_people_have_comments() {
        for line in [
            "192.0.2.1",
            "  192.0.2.1\t",
            "192.0.2.1 # the office",
            "192.0.2.1# the office",
            "192.0.2.1 the office: 5",
            "192.0.2.1\tseen at 14:25",
            "192.0.2.1: 5",
            "192.0.2.1  :  5",
            "     13 192.0.2.1",
            "1\t192.0.2.1",
            "::ffff:192.0.2.1",
        ] {
            assert_eq!(parse(line), Ok(Some(at("192.0.2.1"))), "{line}");
        }
        for line in [
            "2001:db8::1",
            "2001:db8::1: 5",
            "2001:db8::1 x",
            "5 2001:db8::1",
        ] {
            assert_eq!(parse(line), Ok(Some(at("2001:db8::1"))), "{line}");
        }
        let network = || Some(Entry::Network("192.0.2.0/24".parse().unwrap()));
        for line in ["192.0.2.0/24", "192.0.2.0/24 office", "192.0.2.0/24: 7"] {
            assert_eq!(parse(line), Ok(network()), "{line}");
        }
    }

    #[test]
    fn lines_of_connections_have_one_client() {
        for time in [
            "Sun Nov 22 14:25:37 2026",
            "2026-11-22T14:25:37.482000+00:00",
            "0.000000",
            "14:25:37.5 (no date)",
            "(no time)",
        ] {
            for rest in [
                "New connection from 192.0.2.1",
                "New connection from 192.0.2.1 to port 443",
                "SYN from 192.0.2.1",
                "Established from 192.0.2.1 to port 80",
                "Accepted from 192.0.2.1 after 96 µs",
                "192.0.2.1:39465 -> 192.0.2.9:8081 httpd[99] waited 96 µs",
                "192.0.2.1:39465 -> 192.0.2.9:8081 10.0.0.1 -> [99]",
                "Accepted 192.0.2.1:39465 -> [2001:db8::9]:8081",
                "192.0.2.1 -> port 443",
                "192.0.2.1:39465",
                "192.0.2.1 waited 96 µs",
            ] {
                let line = format!("{time} {rest}");
                assert_eq!(parse(&line), Ok(Some(at("192.0.2.1"))), "{line}");
                let other = line.replace("192.0.2.1:39465", "192.0.2.1");
                let ipv6 = other.replace("192.0.2.1", "2001:db8::1");
                assert_eq!(parse(&ipv6), Ok(Some(at("2001:db8::1"))), "{ipv6}");
                let name = line.replace("192.0.2.1", "web-1.example");
                let is_bare = name.ends_with(" waited 96 µs") && !name.contains("->");
                if !is_bare || name.contains("from") {
                    assert_eq!(parse(&name), Ok(Some(named("web-1.example"))), "{name}");
                }
                let unknown = other.replace("192.0.2.1", "unknown");
                assert_eq!(parse(&unknown), Ok(None), "{unknown}");
            }
            let ipv6 = format!("{time} [2001:db8::1]:443 -> [::1]:80");
            assert_eq!(parse(&ipv6), Ok(Some(at("2001:db8::1"))), "{ipv6}");
        }
    }

    #[test]
    fn what_is_no_client_is_passed_over() {
        for line in [
            "",
            "# 192.0.2.1",
            "=== Summary ===",
            "=== So far ===",
            "3 connections from 2 addresses to port 80, 14:25:35 to 14:25:40 (4.9 s), not from 10.0.0.0/8",
            "at least 1 connection from 1 address, only from 192.0.2.1",
            "no connections to port 80, 14:25:35 to 14:25:40 (4.9 s), not from 192.0.2.1",
            "3 connections from 2 new addresses",
            "2 connection attempts (SYNs) from 1 address",
            "2 handshakes from 1 address",
            "3 connections in 4.9 s",
            "3 connections in 5 lines and 1 packet",
            "from 2 addresses; 0 lines not shown; 1 seen only by security_sock_graft",
            "1 line not shown",
            "2 new addresses: 192.0.2.8 (2), 192.0.2.12 (1)",
            "no new addresses",
            "5 more: 7",
            "34 other addresses: 104",
            "1 other network: 104",
            "unknown: 4",
            "other: 2",
            "14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (45)   ██▌",
            "2026-11-22 14:25:30       1 connection       1 address      12.3/s   192.168.122.1 (1)",
            "1795357530.000000       0 connections      0 addresses       0.0/s",
            "14:25:40  (31000 intervals without a connection)",
            "Tracing TCP connections to port 80, not from 10.0.0.0/8",
            "listening: 10.0.0.1:80 httpd (pid 812), 8 threads waiting in accept, accept queue 0/511",
            "10.0.0.1:80 httpd[812]: accept queue 0/511, 0 packets dropped",
            "[::]:8083 python3[22884] has stopped listening",
            "note: 192.0.2.1",
            "warning: the count is at least 3: 192.0.2.1",
            "accept wait: median 41 µs, p90 77 µs, p99 77 µs, max 80 µs",
            "conn-cli: cannot read 192.0.2.1: there is no such file",
            "httpd (pid 7) has ended, so the run ends",
        ] {
            assert_eq!(parse(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn tables_have_clients_in_the_first_or_the_last_column() {
        let table = |text: &str| {
            let mut lines = Lines::default();
            let parsed = text.lines().map(|line| lines.parse(line).unwrap());
            parsed.flatten().collect::<Vec<_>>()
        };
        let clients = [at("192.0.2.1"), at("2001:db8::1"), named("web.example")];
        let first = "=== Summary ===\n\
             address        connections   share                first seen  peak/s\n\
             192.0.2.1              289  48.2 %  Thu Nov 26 18:33:24 2026     104\n\
             2001:db8::1              0       -                         -       -\n\
             web.example             12     2 %                         -       -\n\
             5 more                   7\n\
             unknown                  4\n\
             other                    2\n\
             total                  603\n\
             3 connections from 2 addresses, not from 10.0.0.0/8\n";
        assert_eq!(table(first), clients);
        let last = "=== Summary ===\n\
             count  share  peak/s  mean wait  max wait  first     last      address\n\
             \u{20} 289   48 %     104     1.2 ms    2.7 ms  18:33:24  18:33:27  192.0.2.1\n\
             \u{20}   0      -       -          -         -  -         -         2001:db8::1\n\
             \u{20}  12    2 %       -          -         -  -         -         web.example\n\
             \u{20}   7    1 %                                                   34 other addresses\n\
             \u{20}   4    1 %                                                   unknown\n\
             \u{20}   2  < 1 %                                                   other\n\
             \u{20} 603                                                          total\n\
             3 connections from 2 addresses, not from 10.0.0.0/8\n";
        assert_eq!(table(last), clients);
        let funnel = "syn  refused  established  accepted  address\n\
             \u{20} 9        0            3         2  192.0.2.1\n\
             \u{20} 9        0            3         2  34 other addresses\n\
             \u{20}18        0            6         4  total\n\
             \n\
             5 web.example";
        let mut lines = Lines::default();
        let parsed: Vec<_> = funnel.lines().map(|line| lines.parse(line)).collect();
        assert_eq!(parsed[1], Ok(Some(at("192.0.2.1"))));
        assert_eq!(parsed[2..5], [const { Ok(None) }; 3]);
        // The table is over: this may be anything.
        assert_eq!(parsed[5], Err(Wrong::NotPrinted));
    }

    #[test]
    fn counts_by_others_are_no_lists_of_addresses() {
        for line in [
            "port 80: 5",
            "unknown port: 5",
            "httpd[812]: 3",
            "httpd (pid 812): 3",
            "nfsd (kernel thread 7): 3",
            "kernel threads: 3",
            "processes of other PID namespaces: 3",
            "uid 1000: 3",
            "www (uid 33): 3",
            "/system.slice/nginx.service: 5",
            "process    connections   share",
            "count  share  user",
            "syn  accepted  port",
            "3 connections accepted by 2 processes, 14:25:35",
            "3 connections from 2 processes",
            "3 connections to port 80 accepted in 2 cgroups, 14:25:35",
            "from 2 users; 0 lines not shown",
            "34 other processes: 5",
        ] {
            assert_eq!(parse(line), Err(Wrong::NotByAddress), "{line}");
        }
    }

    /// The names of processes and cgroups are from anybody, and at the beginning of a line or in it.
    #[test]
    fn names_do_not_make_addresses_known() {
        for name in [
            "10.0.0.1",
            "10.0.0.1 x",
            "10.0.0.1 #x",
            "10.0.0.1: 5",
            "1 10.0.0.1",
            "0.1 10.0.0.1",
            "0.1 10.0.0.1:1",
            "0.1 1.1.1.1 ->",
            "0.1 1.1.1.1 -> ",
            "=== x ===",
            "address count",
            "{\"type\":\"x\"}",
            "x New connection from 10.0.0.1",
            "Sun Nov 22 14:25:37 2026 New connection from 10.0.0.1",
        ] {
            for line in [
                format!("{name}[7]: 5"),
                format!("{name} (pid 7): 5"),
                format!("{name} (uid 7): 5"),
                format!("listening: 0.0.0.0:80 {name}[7], accept queue 0/5"),
                format!("0.0.0.0:80 {name}[7]: accept queue 0/5, 0 packets dropped"),
                format!("0.0.0.0:80 {name}[7] has stopped listening"),
                format!("/x/{name}: 5"),
                format!("{name}[7] has ended, so the run ends"),
            ] {
                let mut lines = Lines::default();
                let parsed = lines.parse(&line);
                assert!(!matches!(parsed, Ok(Some(_))), "{line}: {parsed:?}");
                assert_eq!(lines.table, None, "{line}");
            }
            let line = format!("14:25:37.482 192.0.2.1:39465 -> 192.0.2.9:80 {name}[7] waited 1 s");
            assert_eq!(parse(&line), Ok(Some(at("192.0.2.1"))), "{line}");
        }
    }

    #[test]
    fn anything_else_is_wrong() {
        for line in [
            "192.0.2.300",
            "192.0.2.1:80",
            "192.0.2.1:",
            "192.0.2.0/33",
            "2001:db8::/129",
            "fe80::1%eth0",
            "web.example",
            "13 web.example",
            "13 192.0.2.1 x",
            "root:$6$salt$hash:19000:0:99999:7:::",
            "x New connection from 192.0.2.1",
            "Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1 and more",
            "Sun Nov 22 14:25:37 2026 Old connection from 192.0.2.1",
            "14:25:37.482496 IP 192.0.2.3.41455 > 192.0.2.1.80: Flags [S]",
            "14:25:37 something",
        ] {
            assert_eq!(parse(line), Err(Wrong::NotPrinted), "{line}");
        }
    }
}
