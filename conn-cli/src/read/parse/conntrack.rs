//! Parses the events that `conntrack -E` prints, with any of its options but `-o xml` and `-o save`:
//!
//! ```text
//!     [NEW] tcp      6 120 SYN_SENT src=192.0.2.1 dst=192.0.2.9 sport=40000 dport=80 [UNREPLIED] src=192.0.2.9 ..
//!  [UPDATE] tcp      6 432000 ESTABLISHED src=192.0.2.1 dst=192.0.2.9 sport=40000 dport=80 src=192.0.2.9 ..
//! [1732285537.123456]\t[DESTROY] ipv4     2 tcp      6 src=192.0.2.1 dst=192.0.2.9 sport=40000 dport=80 ..
//! ```
//!
//! The first addresses and ports are those of the first packet, the others those of an answer to it.
//! The state is printed when it changes.

use memchr::memmem;

use super::{
    lines::{Form, Line, Wanted},
    scan::{address, between, digits, number, recorded, seconds, split_at_byte},
};
use crate::{
    model::connection::{Connection, Lacks, Record, Source, When},
    read::event::{Event, PacketId, ParseError},
};

const NOT_AN_EVENT: ParseError = "not an event of conntrack";
const CUT: ParseError = "the event of conntrack is cut, or has no valid addresses and ports";
const LIST: ParseError = "conntrack -L and /proc list the connections that exist, not new ones, which conntrack -E prints";
const XML: ParseError = "conntrack's XML is not read: leave out -o xml";
const LOST: ParseError = "conntrack lost events, so connections are missing";

/// The lines of the events that `conntrack -E` prints.
#[derive(Debug)]
pub(crate) struct Lines {
    wanted: Wanted,
}

/// What happened to the entry of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    New,
    Update,
    Destroy,
}

const CHANGES: [(&[u8], Change); 3] = [
    (b"[NEW] ", Change::New),
    (b"[UPDATE] ", Change::Update),
    (b"[DESTROY] ", Change::Destroy),
];

impl Lines {
    /// Creates a parser for the `wanted` fields.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            wanted: wanted.clone(),
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        let (_, text) = stamp(line);
        let change = |(tag, change): (&[u8], Change)| Some((change, text.strip_prefix(tag)?));
        let Some((change, text)) = CHANGES.into_iter().find_map(change) else {
            return other(text);
        };
        let flow = match Flow::parse(text)? {
            Some(flow) => flow,
            None => return Ok(Form::Own),
        };
        let connection = |time| flow.connection(time);
        match (change, flow.state) {
            // What a program puts into the table is no packet. Nor is a connection new of which the first
            // packet that the kernel sees is in the middle: nf_conntrack_tcp_loose.
            (Change::New, b"" | b"SYN_SENT" | b"SYN_SENT2" | b"SYN_RECV")
                if !flow.is_of_program() =>
            {
                if !flow.has_zone() {
                    // A SYN that is sent again has an entry, so this one is not. With zones, the same SYN
                    // can have an entry in each.
                    events.push(Event::End(connection(When::Unknown)));
                }
                events.push(Event::Syn(connection(self.time(line)), PacketId::default()));
            }
            (Change::Update, b"ESTABLISHED") => {
                events.push(Event::Answer(
                    connection(self.time(line)),
                    PacketId::default(),
                ));
            }
            (Change::Destroy, _)
            | (
                Change::Update,
                b"FIN_WAIT" | b"CLOSE_WAIT" | b"LAST_ACK" | b"TIME_WAIT" | b"CLOSE",
            ) => events.push(Event::End(connection(When::Unknown))),
            (Change::New | Change::Update, _) => (),
        }
        Ok(Form::Own)
    }

    fn time(&mut self, line: &[u8]) -> When {
        let (stamp, _) = stamp(line);
        if !stamp.is_empty() {
            return when(stamp).unwrap_or(When::Unknown);
        }
        // With -o ktimestamp: in local time, when the entry was made.
        match between(line, b"[start=", b']') {
            Some(start) if self.wanted.times && is_ctime(start) => recorded(start, Lacks::Zone),
            _ => When::Unknown,
        }
    }
}

/// What an event says of a TCP connection.
struct Flow<'a> {
    /// Empty if it did not change.
    state: &'a [u8],
    ends: Connection,
    /// What follows.
    rest: &'a [u8],
}

impl<'a> Flow<'a> {
    /// Parses the text after the change; None if it is not of TCP.
    fn parse(text: &'a [u8]) -> Result<Option<Self>, ParseError> {
        let (mut name, mut rest) = word(text);
        if matches!(name, b"ipv4" | b"ipv6") {
            // With -o extended.
            let (family, after) = word(rest);
            number::<u8>(family).ok_or(NOT_AN_EVENT)?;
            (name, rest) = word(after);
        }
        let (protocol, rest) = word(rest);
        let is_expectation = number::<u32>(name).is_some() && protocol.starts_with(b"proto=");
        if is_expectation {
            return Ok(None);
        }
        let is_name =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let is_protocol = !name.is_empty() && name.iter().all(is_name);
        match (name == b"tcp", number::<u8>(protocol)) {
            (true, Some(6)) => Self::parse_tcp(rest).ok_or(CUT).map(Some),
            (true, _) | (_, Some(6) | None) => Err(NOT_AN_EVENT),
            (false, Some(_)) if is_protocol => Ok(None),
            (false, Some(_)) => Err(NOT_AN_EVENT),
        }
    }

    fn parse_tcp(text: &'a [u8]) -> Option<Self> {
        let (timeout, mut rest) = word(text);
        if number::<u32>(timeout).is_none() {
            rest = text;
        }
        let (mut state, mut after) = word(rest);
        let is_state =
            |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        if !state.iter().all(is_state) {
            (state, after) = (b"", rest);
        }
        let mut next = |name: &[u8]| {
            let value;
            (value, after) = word(after);
            value.strip_prefix(name)
        };
        let ends = Connection {
            remote: address(next(b"src=")?)?,
            local: address(next(b"dst=")?)?,
            remote_port: Some(number(next(b"sport=")?)?),
            local_port: Some(number(next(b"dport=")?)?),
            ..Connection::unknown(Source::Record(Record::Conntrack))
        };
        // Those of an answer follow, so the port is not cut.
        memmem::find(after, b"src=")?;
        Some(Self {
            state,
            ends,
            rest: after,
        })
    }

    fn connection(&self, time: When) -> Connection {
        Connection {
            time,
            ..self.ends.clone()
        }
    }

    fn has_zone(&self) -> bool {
        let has = |name: &[u8]| memmem::find(self.rest, name).is_some();
        has(b" zone=") || has(b"zone-orig=") || has(b"zone-reply=")
    }

    /// Whether a program made the change, as -o userspace says.
    fn is_of_program(&self) -> bool {
        memmem::find(self.rest, b"[USERSPACE]").is_some()
    }
}

/// A line that is no event.
fn other(text: &[u8]) -> Result<Form, ParseError> {
    let has = |part: &[u8]| memmem::find(text, part).is_some();
    if text.is_empty() || text == b"^C" {
        Ok(Form::Shared)
    } else if has(b"(conntrack-tools): ") && has(b" events have been shown.") {
        Ok(Form::Own)
    } else if has(b"We have hit ENOBUFS! We are losing events.") {
        Err(LOST)
    } else if text.starts_with(b"<conntrack>") || text.starts_with(b"<flow ") {
        Err(XML)
    } else if has(b"(conntrack-tools): ") && has(b" entries have been shown.")
        || Flow::parse(text).is_ok() && has(b"src=") && has(b"dst=")
    {
        Err(LIST)
    } else {
        Err(NOT_AN_EVENT)
    }
}

/// Splits off what `-o timestamp` prints before an event, without the brackets, and blanks.
fn stamp(line: &[u8]) -> (&[u8], &[u8]) {
    let text = line.trim_ascii();
    let inner = text
        .strip_prefix(b"[")
        .filter(|text| text.first().is_some_and(u8::is_ascii_digit))
        .and_then(|text| split_at_byte(text, b']'));
    match inner {
        Some((stamp, rest)) => (stamp, rest.trim_ascii_start()),
        None => (b"", text),
    }
}

/// `1732285537.123456`, or in old versions `1732285537.5     ` for five microseconds.
fn when(stamp: &[u8]) -> Option<When> {
    let text = stamp.trim_ascii_end();
    let (whole, fraction) = digits(text);
    if text.len() < stamp.len()
        && let Some(microseconds) = number::<u32>(fraction.strip_prefix(b".")?)
    {
        let text = format!("{}.{microseconds:06}", number::<u64>(whole)?);
        return seconds(text.as_bytes(), Lacks::Boot);
    }
    seconds(text, Lacks::Boot)
}

/// `Sun Nov 22 14:25:37 2026`
fn is_ctime(text: &[u8]) -> bool {
    let is_right = |byte: &u8| byte.is_ascii_alphanumeric() || b" :".contains(byte);
    matches!(text.len(), 23 | 24) && text.iter().all(is_right)
}

/// The first word, and the text after it and the blanks that follow.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b' ');
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (word, rest.trim_ascii_start())
}

#[cfg(test)]
mod tests;
