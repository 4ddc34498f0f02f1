//! Parses Suricata's eve.json, which has a line for each event. Those of the type `flow` are written when a flow
//! has ended:
//!
//! ```text
//! {"timestamp":"2026-11-22T14:26:37.123456+0000","flow_id":17,"event_type":"flow","src_ip":"192.0.2.1",
//!  "src_port":37822,"dest_ip":"192.0.2.9","dest_port":80,"proto":"TCP","flow":{..,
//!  "start":"2026-11-22T14:25:37.123456+0000",..},"tcp":{..,"tcp_flags_ts":"1b","tcp_flags_tc":"1b",..}}
//! ```

#[cfg(test)]
mod tests;

use std::{borrow::Cow, net::IpAddr};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    lines::{Form, Line, Wanted, object},
    scan::date_time,
};
use crate::{
    model::connection::{Connection, Host, Record, Source, When},
    read::event::{Event, PacketId, ParseError},
};

const NOT_SURICATA: ParseError = "not an event of Suricata";
const NO_FLAGS: ParseError =
    "the flow has no TCP flags, because Suricata did not follow its TCP session";

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The events of Suricata.
#[derive(Debug)]
pub(crate) struct Lines {
    times: bool,
}

impl Lines {
    /// Creates a parser for what is `wanted`.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            times: wanted.times,
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        if line.is_empty() {
            return Ok(Form::Shared);
        }
        let any: AnyEvent<'_> = object(line).ok_or(NOT_SURICATA)?;
        date_time(any.timestamp.as_bytes()).ok_or(NOT_SURICATA)?;
        match &*any.event_type {
            "flow" => {
                let flow: FlowEvent<'_> = object(line).ok_or(NOT_SURICATA)?;
                if flow.proto == "TCP" {
                    flow.add_to(events)?;
                }
                Ok(Form::Own)
            }
            // These have the ends of a connection whose flow is another event.
            _ if any.flow_id.is_some() => Ok(Form::Own),
            "stats" => Ok(Form::Own),
            _ => Ok(Form::Shared),
        }
    }

    /// When the event was written.
    fn time(&mut self, line: &[u8]) -> When {
        if !self.times {
            return When::Unknown;
        }
        object(line)
            .and_then(|event: AnyEvent<'_>| date_time(event.timestamp.as_bytes()))
            .unwrap_or(When::Unknown)
    }
}

/// What all events have.
#[derive(Deserialize)]
struct AnyEvent<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    flow_id: Option<IgnoredAny>,
}

/// A flow. Its source is the client, who sent the first packet, or whom Suricata took for the client later.
#[derive(Deserialize)]
struct FlowEvent<'a> {
    src_ip: IpAddr,
    src_port: Option<u16>,
    dest_ip: IpAddr,
    dest_port: Option<u16>,
    #[serde(borrow)]
    proto: Cow<'a, str>,
    #[serde(borrow)]
    flow: Flow<'a>,
    #[serde(borrow)]
    tcp: Option<Tcp<'a>>,
}

#[derive(Deserialize)]
struct Flow<'a> {
    #[serde(borrow)]
    start: Option<Cow<'a, str>>,
}

/// The flags of all packets, of those to the server and of those to the client, hexadecimal; and the state at the end.
#[derive(Deserialize)]
struct Tcp<'a> {
    #[serde(borrow)]
    tcp_flags: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tcp_flags_ts: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tcp_flags_tc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
}

impl FlowEvent<'_> {
    fn add_to(self, events: &mut Vec<Event>) -> Result<(), ParseError> {
        let (Some(remote_port), Some(local_port)) = (self.src_port, self.dest_port) else {
            return Err(NOT_SURICATA);
        };
        let tcp = self.tcp.ok_or(NO_FLAGS)?;
        // Without those of a direction, a SYN is the client's: Suricata does not follow a session that has none.
        let to_server = flags(tcp.tcp_flags_ts.or(tcp.tcp_flags))?;
        let to_client = flags(tcp.tcp_flags_tc)?;
        if to_server | to_client == 0 {
            return Err(NO_FLAGS);
        }
        let has_answer = to_client & (SYN | ACK) == SYN | ACK && to_server & ACK != 0;
        if to_server & SYN == 0 && !has_answer {
            return Ok(());
        }
        let start = self.flow.start;
        let connection = Connection {
            time: match &start {
                Some(text) => date_time(text.as_bytes()).ok_or(NOT_SURICATA)?,
                None => When::Unknown,
            },
            remote: Host::at(self.src_ip),
            remote_port: Some(remote_port),
            local: Host::at(self.dest_ip),
            local_port: Some(local_port),
            ..Connection::unknown(Source::Record(Record::Suricata))
        };
        // Suricata gives up a SYN without an answer after a minute, under load earlier (`flow-timeouts`): when
        // it is sent again, that is another flow.
        let is_answered = tcp.state.as_deref() != Some("syn_sent");
        // Lines are not sorted by these times: whichever has the same ends is of another connection.
        let end = is_answered.then(|| Connection {
            time: When::Unknown,
            ..connection.clone()
        });
        events.push(Event::Syn(connection, PacketId::default()));
        events.extend(end.map(Event::End));
        Ok(())
    }
}

/// Parses two hexadecimal digits, if there are any.
fn flags(text: Option<Cow<'_, str>>) -> Result<u8, ParseError> {
    let Some(text) = text else {
        return Ok(0);
    };
    let is_hex = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let flags = u8::from_str_radix(&text, 16).ok().filter(|_| is_hex);
    flags.ok_or(NOT_SURICATA)
}

/// Whether a line is a flow without TCP flags.
pub(crate) fn has_no_flags(line: &[u8]) -> bool {
    let flow: Option<FlowEvent<'_>> = object(line);
    flow.is_some_and(|flow| flow.proto == "TCP" && flow.add_to(&mut Vec::new()) == Err(NO_FLAGS))
}
