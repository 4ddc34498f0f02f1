//! Parses the text that conn-cli prints, and the lines of the SystemTap script that it resembles.
//!
//! A line stands for itself here; [`crate::read::merge`] puts together what the lines of a summary say. Messages
//! that `2>&1` mixes in are understood and mean nothing.

use std::net::IpAddr;

use super::{
    kernel_log::stamp::Stamp,
    lines::{Form, Line, Wanted},
    scan,
};
use crate::{
    model::{
        connection::{Connection, Host, Lacks, Record, Source, When},
        printed::{
            connection, is_comparison,
            message::{interval, is_count, is_message, is_start},
            over::{is_over, names_key},
            summary,
            time::NO_TIME,
        },
    },
    read::event::{Event, ParseError, Printed},
};

const NOT_OURS: ParseError = "not a line of conn-cli's text";
const CUT: ParseError = "the last line has no end, so that it may be cut";

/// The lines of the text that conn-cli prints.
#[derive(Debug)]
pub(crate) struct Lines {
    times: bool,
    /// The number of lines so far.
    lines: u64,
}

impl Lines {
    /// Creates a parser for what is `wanted`.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            times: wanted.times,
            lines: 0,
        }
    }

    fn when(&self, time: &str) -> When {
        let text = time.as_bytes();
        match text {
            _ if time == NO_TIME => When::Unknown,
            [_, _, _, _, b'-', .., b'+' | b'-', _, _, b':', _, _] | [b'0'..=b'9', .., b'Z'] => {
                Stamp::Iso(text).when()
            }
            _ if scan::is_seconds(text) && scan::may_be_since_1970(text) => {
                scan::seconds(text, Lacks::Before).unwrap_or(When::Unknown)
            }
            _ if !self.times => When::Unknown,
            [_, _, _, b' ', _, _, _, _, b'-', ..] => Stamp::Full(text).when(),
            [_, _, _, b' ', b'A'..=b'Z', ..] | [_, _, _, _, b'-', ..] => {
                scan::recorded(text, Lacks::Zone)
            }
            [_, _, b':', ..] => scan::recorded(text, Lacks::Date),
            [b'A'..=b'Z', ..] => scan::recorded(text, Lacks::Year),
            _ => scan::recorded(text, Lacks::Before),
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        let number = self.lines;
        self.lines += 1;
        let line = str::from_utf8(line).map_err(|_| NOT_OURS)?;
        let trimmed = line.trim_ascii();
        if trimmed.is_empty() {
            return Ok(Form::Shared);
        }
        // Before a connection, since a key may have a name that somebody chose.
        if is_over(trimmed) {
            let is_own = names_key(trimmed);
            return Ok(if is_own { Form::Own } else { Form::Shared });
        }
        if let Some(line) = connection::line(trimmed) {
            let form = form(&line);
            let connection = Connection {
                time: self.when(line.time),
                remote: line.client.host,
                remote_port: line.client.port,
                local: line.server.host,
                local_port: line.server.port,
                ..Connection::unknown(Source::Record(Record::Text))
            };
            events.push(match line.stage {
                None => Event::Connection(connection),
                Some(stage) => Event::Stage(stage, connection),
            });
            return Ok(form);
        }
        let is_total = summary::total(trimmed).is_some();
        let is_own = is_start(trimmed)
            || summary::heading(trimmed).is_some()
            || summary::titles(trimmed).is_some()
            || (is_total && trimmed.contains(" from "))
            || interval(trimmed).is_some()
            || is_comparison(trimmed);
        let is_row = || summary::listed(trimmed).is_some() || summary::may_be_in_table(trimmed);
        if is_own || is_total || is_row() {
            let text = line.into();
            events.push(Event::Printed(Printed { number, text }));
            return Ok(if is_own { Form::Own } else { Form::Shared });
        }
        if is_message(trimmed) || is_count(trimmed) || trimmed.ends_with(": empty") {
            return Ok(Form::Shared);
        }
        Err(NOT_OURS)
    }

    fn cut_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        let before = events.len();
        let form = self.line(line, events)?;
        let is_certain = match events.get_mut(before) {
            Some(Event::Connection(connection) | Event::Stage(_, connection)) => {
                let port = &mut connection.local_port;
                let ends_line = |port: &mut u16| line.ends_with(port.to_string().as_bytes());
                // That of the client is, if something follows.
                let has_server = port.is_some();
                port.take_if(ends_line);
                has_server || connection.remote_port.is_some() || is_whole(&connection.remote)
            }
            Some(_) => false,
            None => true,
        };
        if is_certain {
            return Ok(form);
        }
        events.pop();
        Err(CUT)
    }

    fn time(&mut self, line: &[u8]) -> When {
        let line = str::from_utf8(line).ok().filter(|_| self.times);
        let line = line.and_then(|line| connection::line(line.trim_ascii()));
        line.map_or(When::Unknown, |line| self.when(line.time))
    }
}

/// Whether no more digits can belong to this client.
fn is_whole(client: &Host) -> bool {
    match client {
        Host::Address(address) => format!("{address}0").parse::<IpAddr>().is_err(),
        Host::Name(_) | Host::Unknown => false,
    }
}

/// Other programs, too, write two ends with an arrow between them.
fn form(line: &connection::Line<'_>) -> Form {
    let is_whole = line.server.port.is_some()
        && (line.tail.is_empty() || line.tail.contains("waited ") || line.tail.ends_with(']'));
    if line.is_in_words || is_whole {
        Form::Own
    } else {
        Form::Shared
    }
}
