//! Parses the conn.log of Zeek, a table or JSON, with a line for each connection that has ended:
//!
//! ```text
//! #fields  ts  uid  id.orig_h  id.orig_p  id.resp_h  id.resp_p  proto  ..  conn_state  ..  history  ..
//! 1700000000.123456  CHhAvVGS1DHFjwGM9  192.0.2.1  37822  192.0.2.9  80  tcp  ..  SF  ..  ShADadFf  ..
//! {"ts":1700000000.123456,"uid":"CHhAvVGS1DHFjwGM9","id.orig_h":"192.0.2.1","id.orig_p":37822,..}
//! ```
//!
//! Without a heading, the columns of a table are those that Zeek writes unless told otherwise. Tabs and line
//! ends in values are escaped.

mod json;
#[cfg(test)]
mod tests;

use self::json::Json;
use super::{
    columns::{Columns, may_be_heading},
    lines::{Form, Line, Wanted, object},
    scan::{address, date_time, number, seconds},
};
use crate::{
    model::connection::{Connection, Host, Lacks, Record, Source, When},
    read::event::{Event, PacketId, ParseError},
};

const NOT_ZEEK: ParseError = "not a line of Zeek's conn.log";
const OTHER_LOG: ParseError = "a log of Zeek that does not have the columns of conn.log";
const NOT_AS_HEADING: ParseError = "not the columns that the heading of Zeek's conn.log names";
const UNKNOWN_STATE: ParseError = "a conn_state that Zeek does not document";

/// What the heading of a table begins with.
pub(crate) const HEADING: &[u8] = b"#fields";

/// The other lines before and after the rows. All logs of Zeek have them.
const DIRECTIVES: [&[u8]; 8] = [
    b"#separator",
    b"#set_separator",
    b"#empty_field",
    b"#unset_field",
    b"#path",
    b"#open",
    b"#types",
    b"#close",
];

const WANTED: [&str; 8] = [
    "ts",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "proto",
    "conn_state",
    "history",
];

/// What a `conn_state` says of a TCP connection whose history is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// The SYN, but not that it was answered with a SYN-ACK.
    Syn,
    /// The connection was established.
    Established,
    /// Neither.
    Neither,
}

/// The values of `conn_state`:
/// <https://docs.zeek.org/en/master/scripts/base/protocols/conn/main.zeek.html#type-Conn::Info>.
const STATES: [(&str, Seen); 13] = [
    // Not answered, refused, or given up by the client.
    ("S0", Seen::Syn),
    ("REJ", Seen::Syn),
    ("RSTOS0", Seen::Syn),
    ("SH", Seen::Syn),
    // Not ended; ended by both, the client, the server; aborted by the client, the server.
    ("S1", Seen::Established),
    ("SF", Seen::Established),
    ("S2", Seen::Established),
    ("S3", Seen::Established),
    ("RSTO", Seen::Established),
    ("RSTR", Seen::Established),
    // A SYN-ACK that nobody is seen to have asked for, and then a RST or FIN; other packets.
    ("RSTRH", Seen::Neither),
    ("SHR", Seen::Neither),
    ("OTH", Seen::Neither),
];

/// The lines of conn.log.
#[derive(Debug)]
pub(crate) struct Lines {
    times: bool,
    table: Table,
}

/// The columns of the rows that follow.
#[derive(Debug)]
enum Table {
    /// There was no heading: those of a conn.log as Zeek writes it.
    Usual,
    /// Those of the heading, and what separates them.
    Named(Columns<{ WANTED.len() }>, u8),
    /// Those of another log.
    Other,
}

/// What a line says of a connection.
struct Row<'a> {
    time: When,
    client: (Host, u16),
    server: (Host, u16),
    is_tcp: bool,
    state: Option<&'a [u8]>,
    history: Option<&'a [u8]>,
}

impl Lines {
    /// Creates a parser for what is `wanted`.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            times: wanted.times,
            table: Table::Usual,
        }
    }

    fn heading(&mut self, line: &[u8]) -> Result<Form, ParseError> {
        let separator = line[HEADING.len()];
        let names = line[HEADING.len() + 1..].split(|byte| *byte == separator);
        // `Log::default_scope_sep` can be an underscore.
        let names = names.map(|name| match name {
            b"id_orig_h" => b"id.orig_h",
            b"id_orig_p" => b"id.orig_p",
            b"id_resp_h" => b"id.resp_h",
            b"id_resp_p" => b"id.resp_p",
            name => name,
        });
        match Columns::find(names, &WANTED) {
            Some(columns)
                if (1..=5).all(|index| columns.has(index))
                    && (columns.has(6) || columns.has(7)) =>
            {
                self.table = Table::Named(columns, separator);
                Ok(Form::Own)
            }
            _ => {
                self.table = Table::Other;
                Err(OTHER_LOG)
            }
        }
    }

    fn row<'a>(&self, line: &'a [u8]) -> Result<Row<'a>, ParseError> {
        let values = match &self.table {
            Table::Usual => usual(line).ok_or(NOT_ZEEK)?,
            Table::Named(columns, separator) => columns
                .values(line.split(|byte| byte == separator))
                .ok_or(NOT_AS_HEADING)?,
            Table::Other => return Err(OTHER_LOG),
        };
        Row::new(values).ok_or(NOT_ZEEK)
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        match line {
            [] => Ok(Form::Shared),
            [b'{', ..] => match object::<Json<'_>>(line) {
                Some(json) if json.is_other_log() => Ok(Form::Shared),
                Some(json) => json.row().ok_or(NOT_ZEEK)?.add_to(events),
                None => Err(NOT_ZEEK),
            },
            [b'#', ..] if is_heading(line) => self.heading(line),
            [b'#', ..] => is_directive(line).then_some(Form::Shared).ok_or(NOT_ZEEK),
            _ => self.row(line)?.add_to(events),
        }
    }

    fn time(&mut self, line: &[u8]) -> When {
        let time = match line {
            _ if !self.times => None,
            [b'{', ..] => object::<Json<'_>>(line).and_then(|json| json.ts?.when()),
            // The first column, unless Zeek was told otherwise.
            _ => line.split(|byte| *byte == b'\t').next().and_then(time),
        };
        time.unwrap_or(When::Unknown)
    }
}

/// Whether a line names the columns of a table.
pub(crate) fn is_heading(line: &[u8]) -> bool {
    let separator = line.strip_prefix(HEADING).and_then(|rest| rest.first());
    separator.is_some_and(|byte| !is_in_word(*byte)) && may_be_heading(line)
}

/// Whether a line is one of the others around the rows.
fn is_directive(line: &[u8]) -> bool {
    let word = line.split(|byte| !is_in_word(*byte)).nth(1);
    word.is_some_and(|word| DIRECTIVES.contains(&&line[..=word.len()]))
}

fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_uid(text: &[u8]) -> bool {
    text.len() > 1 && text[0] == b'C' && text.iter().all(u8::is_ascii_alphanumeric)
}

/// Whether a line is of one of Zeek's logs, if it is not of conn.log.
pub(crate) fn is_of_other_log(line: &[u8]) -> bool {
    if line.starts_with(b"{") {
        let has = |text: &[u8]| memchr::memmem::find(line, text).is_some();
        return has(b"\"ts\":") && (has(b"\"uid\":\"C") || has(b"\"_path\":"));
    }
    let mut fields = line.split(|byte| *byte == b'\t');
    let is_row = matches!(fields.next().and_then(time), Some(When::At(_)))
        && fields.next().is_some_and(is_uid);
    is_row
        || is_directive(line) && (line.contains(&b'\t') || line.starts_with(b"#separator \\x"))
        || is_heading(line)
}

/// The values of the wanted columns in a row of a conn.log as Zeek writes it.
fn usual(line: &[u8]) -> Option<[Option<&[u8]>; WANTED.len()]> {
    let mut fields = [&b""[..]; 16];
    let mut found = 0;
    for (to, field) in fields.iter_mut().zip(line.split(|byte| *byte == b'\t')) {
        *to = field;
        found += 1;
    }
    let [
        ts,
        uid,
        orig_h,
        orig_p,
        resp_h,
        resp_p,
        proto,
        _,
        _,
        _,
        _,
        state,
        _,
        a,
        b,
        c,
    ] = fields;
    if found < 12 || !is_uid(uid) || seen(state).is_none() {
        return None;
    }
    // Before the history are the missed bytes, and since Zeek 2.4 `local_resp` before these.
    let history = match [a, b].map(number::<u64>) {
        [Some(_), _] if found > 14 => b,
        [None, Some(_)] if found > 15 => c,
        _ if found == 12 => b"-",
        _ => return None,
    };
    Some([ts, orig_h, orig_p, resp_h, resp_p, proto, state, history].map(Some))
}

impl<'a> Row<'a> {
    fn new(values: [Option<&'a [u8]>; WANTED.len()]) -> Option<Self> {
        let values = values.map(|value| value.filter(|value| *value != b"-"));
        let [ts, orig_h, orig_p, resp_h, resp_p, proto, state, history] = values;
        Some(Self {
            time: match ts {
                Some(text) => time(text)?,
                None => When::Unknown,
            },
            client: (address(orig_h?)?, number(orig_p?)?),
            server: (address(resp_h?)?, number(resp_p?)?),
            is_tcp: is_tcp(proto?)?,
            state,
            history,
        })
    }

    fn add_to(self, events: &mut Vec<Event>) -> Result<Form, ParseError> {
        let seen = match self.state {
            Some(state) => seen(state).ok_or(UNKNOWN_STATE)?,
            None => Seen::Neither,
        };
        // The history has an upper-case letter for what the client sent: `S` for a SYN, and `h` for a SYN-ACK.
        // Connections that Zeek saw only later can be established or ended, too.
        let counts = match self.history {
            Some(history) if !matches!(history, b"" | b"(empty)") => {
                let has = |letter| memchr::memchr(letter, history).is_some();
                has(b'S') || (seen == Seen::Established && (has(b'h') || has(b'H')))
            }
            _ => seen != Seen::Neither,
        };
        if !self.is_tcp || !counts {
            return Ok(Form::Own);
        }
        let ((remote, remote_port), (local, local_port)) = (self.client, self.server);
        let connection = Connection {
            time: self.time,
            remote,
            remote_port: Some(remote_port),
            local,
            local_port: Some(local_port),
            ..Connection::unknown(Source::Record(Record::Zeek))
        };
        // Zeek gives up a SYN without an answer after 5 s (`tcp_attempt_delay`): when it is sent again, that is
        // another line.
        let is_answered = self.state != Some(b"S0");
        // Lines are not sorted by these times: whichever has the same ends is of another connection.
        let end = is_answered.then(|| Connection {
            time: When::Unknown,
            ..connection.clone()
        });
        events.push(Event::Syn(connection, PacketId::default()));
        events.extend(end.map(Event::End));
        Ok(Form::Own)
    }
}

fn seen(state: &[u8]) -> Option<Seen> {
    let is_state = |(name, _): &&(&str, _)| name.as_bytes() == state;
    STATES.iter().find(is_state).map(|(_, seen)| *seen)
}

/// Whether the transport protocol is TCP; None if it is not one of Zeek's.
fn is_tcp(proto: &[u8]) -> Option<bool> {
    match proto {
        b"tcp" => Some(true),
        b"udp" | b"icmp" | b"unknown_transport" => Some(false),
        _ => None,
    }
}

/// Seconds since 1970, or what `zeek-cut -d` writes.
fn time(text: &[u8]) -> Option<When> {
    seconds(text, Lacks::Boot).or_else(|| date_time(text))
}
