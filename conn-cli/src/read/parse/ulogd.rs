//! What ulogd writes to a file of its own, with its plugins LOGEMU and JSON:
//!
//! ```text
//! Nov 22 14:25:37 fw NEW:  IN=eth0 OUT= MAC=.. SRC=192.0.2.1 DST=192.0.2.9 .. SYN URGP=0 MARK=0x0
//! {"timestamp": "2026-11-22T14:25:37.123456", "dvc": "Netfilter", "oob.prefix": "NEW: ", ..}
//! ```
//!
//! The first is also what any user can write to syslog. So the kernel's log has no such records, and a file is
//! ulogd's only if every line of it is one.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    kernel_log::{
        self,
        netfilter::{self, Syn},
        stamp::{Stamp, without_year},
    },
    lines::{Form, Line, Wanted, object},
    scan::{address, word},
};
use crate::{
    model::connection::When,
    read::event::{Event, ParseError},
};

const NOT_ULOGD: ParseError = "not a packet record of ulogd";

/// The lines of what ulogd writes to a file of its own.
#[derive(Debug)]
pub(crate) struct Lines {
    wanted: Wanted,
}

/// A packet, and when it was seen.
struct Packet {
    time: When,
    syn: Option<Syn>,
}

impl Lines {
    /// Creates a parser for what is `wanted`.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            wanted: wanted.clone(),
        }
    }

    fn packet(&self, line: &[u8]) -> Result<Packet, ParseError> {
        if line.first() == Some(&b'{') {
            let json: Json<'_> = object(line).ok_or(NOT_ULOGD)?;
            return json.packet(&self.wanted).ok_or(NOT_ULOGD);
        }
        let (stamp, rest) = without_year(line).ok_or(NOT_ULOGD)?;
        let (_host, record) = word(rest)
            .filter(|(host, _)| !host.is_empty() && !host.ends_with(b":"))
            .ok_or(NOT_ULOGD)?;
        if kernel_log::has_writer(rest) {
            return Err("the kernel's log has this record, not a file of ulogd");
        }
        let found = netfilter::find(record, false).ok_or(NOT_ULOGD)?;
        // ulogd writes a space after the prefix of the rule.
        let prefix = found.prefix.strip_suffix(b" ").unwrap_or(found.prefix);
        if kernel_log::prefix::is_of_program(prefix) {
            return Err(NOT_ULOGD);
        }
        let syn = found.syn?;
        Ok(Packet {
            time: stamp.wanted(self.wanted.times),
            syn: syn.filter(|_| is_wanted(prefix, &self.wanted)),
        })
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        if line.is_empty() {
            return Ok(Form::Shared);
        }
        let packet = self.packet(line)?;
        let Some(syn) = packet.syn else {
            return Ok(Form::Own);
        };
        events.push(syn.event(packet.time));
        Ok(Form::Own)
    }

    fn time(&mut self, line: &[u8]) -> When {
        if line.first() == Some(&b'{') {
            let json = object::<Json<'_>>(line);
            return json.map_or(When::Unknown, |json| json.time(&self.wanted));
        }
        without_year(line).map_or(When::Unknown, |(stamp, _)| stamp.wanted(self.wanted.times))
    }

    fn host<'a>(&mut self, line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let (_, rest) = without_year(line)?;
        Some(Cow::Borrowed(word(rest)?.0))
    }
}

fn is_wanted(prefix: &[u8], wanted: &Wanted) -> bool {
    let exactly = wanted.prefix.as_deref();
    exactly.is_none_or(|exactly| prefix == exactly.as_bytes())
}

/// A packet in JSON, as far as it is used. ulogd leaves out the fields of other protocols.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(rename = "oob.time.sec")]
    second: Option<i64>,
    #[serde(rename = "oob.time.usec")]
    microsecond: Option<u32>,
    #[serde(rename = "oob.prefix", borrow)]
    prefix: Option<Cow<'a, str>>,
    /// Every packet has a length, but no flow of conntrack.
    #[serde(rename = "raw.pktlen")]
    length: Option<u32>,
    #[serde(rename = "ip.protocol")]
    protocol: Option<u8>,
    #[serde(rename = "ip.id")]
    ip_id: Option<u16>,
    #[serde(rename = "src_ip", alias = "ip.saddr.str", borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(rename = "dest_ip", alias = "ip.daddr.str", borrow)]
    server: Option<Cow<'a, str>>,
    #[serde(rename = "src_port", alias = "tcp.sport")]
    from: Option<u16>,
    #[serde(rename = "dest_port", alias = "tcp.dport")]
    to: Option<u16>,
    #[serde(rename = "tcp.seq")]
    sequence: Option<u32>,
    #[serde(rename = "tcp.syn")]
    syn: Option<Flag>,
    #[serde(rename = "tcp.ack")]
    ack: Option<Flag>,
    #[serde(rename = "tcp.rst")]
    rst: Option<Flag>,
    #[serde(rename = "tcp.fin")]
    fin: Option<Flag>,
}

/// Versions before 2.0.8 write `true`, later ones 1.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u8),
}

impl Json<'_> {
    /// The packet; None if this is no packet of ulogd, or lacks an address or a port.
    fn packet(&self, wanted: &Wanted) -> Option<Packet> {
        let prefix = self.prefix.as_deref();
        if prefix.is_none() && self.length.is_none() {
            return None;
        }
        let is_set = |flag: Option<Flag>| match flag {
            Some(Flag::Bool(is_set)) => is_set,
            Some(Flag::Number(number)) => number != 0,
            None => false,
        };
        let is_syn = self.protocol == Some(6)
            && is_set(self.syn)
            && ![self.ack, self.rst, self.fin].into_iter().any(is_set);
        let host = |text: &Option<Cow<'_, str>>| address(text.as_deref()?.as_bytes());
        let syn = if is_syn && is_wanted(prefix.unwrap_or_default().as_bytes(), wanted) {
            Some(Syn {
                client: (host(&self.client)?, self.from?),
                server: (host(&self.server)?, self.to?),
                sequence: self.sequence,
                ip_id: self.ip_id,
                is_end: false,
            })
        } else {
            None
        };
        Some(Packet {
            time: self.time(wanted),
            syn,
        })
    }

    /// The kernel's own time, or when ulogd wrote the line.
    fn time(&self, wanted: &Wanted) -> When {
        let nanosecond = self.microsecond.unwrap_or(0).saturating_mul(1000);
        let seen = { self.second.zip(i32::try_from(nanosecond).ok()) }
            .and_then(|(second, nanosecond)| Timestamp::new(second, nanosecond).ok());
        match (seen, &self.timestamp) {
            (Some(seen), _) => When::At(seen),
            (None, Some(text)) if is_time(text) => Stamp::Iso(text.as_bytes()).wanted(wanted.times),
            (None, _) => When::Unknown,
        }
    }
}

/// Whether the text has only what a time has: it may be shown as it is.
fn is_time(text: &str) -> bool {
    text.len() <= 40 && { text.bytes() }
        .all(|byte| byte.is_ascii_alphanumeric() || b"-+:.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::connection::Lacks;
    use crate::{model::connection::Connection, read::event::PacketId};

    const RECORD: &str = "IN=lo OUT= MAC=00:00:00:00:00:00:00:00:00:00:00:00:08:00 SRC=192.0.2.1 DST=192.0.2.9 LEN=60 TOS=00 PREC=0x00 TTL=64 ID=1786 DF PROTO=TCP SPT=41157 DPT=80 SEQ=796278815 ACK=0 WINDOW=65495 SYN URGP=0 MARK=0x0 ";
    const JSON: &str = r#"{"timestamp": "2026-11-27T13:47:13.213118", "dvc": "Netfilter", "raw.pktlen": 60, "oob.prefix": "NEW: ", "oob.time.sec": 1795787233, "oob.time.usec": 213118, "oob.mark": 0, "oob.hook": 1, "oob.family": 2, "oob.protocol": 2048, "ip.protocol": 6, "ip.id": 1786, "src_port": 41157, "dest_port": 80, "tcp.seq": 796278815, "tcp.ackseq": 0, "tcp.urg": 0, "tcp.ack": 0, "tcp.psh": 0, "tcp.rst": 0, "tcp.syn": 1, "tcp.fin": 0, "oob.in": "lo", "src_ip": "192.0.2.1", "dest_ip": "192.0.2.9"}"#;

    fn parsed(
        line: &str,
        prefix: Option<&str>,
    ) -> Result<Option<(Connection, PacketId)>, ParseError> {
        let wanted = Wanted {
            prefix: prefix.map(Into::into),
            ..Wanted::with_times()
        };
        let mut events = Vec::new();
        assert_eq!(
            Lines::new(&wanted).line(line.as_bytes(), &mut events)?,
            Form::Own
        );
        Ok(events.pop().map(|event| match event {
            Event::Syn(connection, id) => (connection, id),
            other => panic!("{other:?}"),
        }))
    }

    #[test]
    fn records_with_and_without_a_prefix_are_parsed() {
        for (line, time) in [
            (
                format!("Apr  2 19:54:54 box IN-work:  {RECORD}"),
                Some("Apr  2 19:54:54"),
            ),
            (
                format!("Apr  2 19:54:54 box IN-work: {RECORD}"),
                Some("Apr  2 19:54:54"),
            ),
            (
                format!("Apr  2 19:54:54 box  {RECORD}"),
                Some("Apr  2 19:54:54"),
            ),
            (
                format!("Apr  2 19:54:54 box {RECORD}"),
                Some("Apr  2 19:54:54"),
            ),
            (
                format!("Apr  2 19:54:54 UDM [WAN_LOCAL-D-30005] DESCR=\"x\" {RECORD}"),
                Some("Apr  2 19:54:54"),
            ),
            (JSON.to_owned(), None),
            (JSON.replace("\"tcp.syn\": 1", "\"tcp.syn\": true"), None),
        ] {
            let (connection, id) = parsed(&line, None).unwrap().unwrap();
            assert_eq!(connection.remote.to_string(), "192.0.2.1", "{line}");
            assert_eq!(connection.remote_port, Some(41157), "{line}");
            assert_eq!(connection.local.to_string(), "192.0.2.9", "{line}");
            assert_eq!(connection.local_port, Some(80), "{line}");
            assert_eq!(id.sequence, Some(796278815), "{line}");
            let expected = match time {
                Some(text) => super::super::scan::recorded(text.as_bytes(), Lacks::Year),
                None => When::At("2026-11-27T13:47:13.213118Z".parse().unwrap()),
            };
            assert_eq!(connection.time, expected, "{line}");
        }
        let local = JSON.replace("\"oob.time.sec\": 1795787233, ", "");
        let (connection, _) = parsed(&local, None).unwrap().unwrap();
        let text = b"2026-11-27T13:47:13.213118";
        assert_eq!(
            connection.time,
            super::super::scan::recorded(text, Lacks::Zone)
        );
    }

    #[test]
    fn other_packets_are_ignored() {
        for line in [
            "Apr  2 19:54:54 box  IN=lo OUT= MAC= SRC=192.0.2.9 DST=192.0.2.9 LEN=29 TOS=00 PREC=0x00 TTL=64 ID=3610 DF PROTO=UDP SPT=49259 DPT=53 LEN=9 MARK=0x0 ".to_owned(),
            format!("Apr  2 19:54:54 box  {}", RECORD.replace("SYN", "ACK SYN")),
            JSON.replace("\"tcp.ack\": 0", "\"tcp.ack\": 1"),
            JSON.replace("\"ip.protocol\": 6", "\"ip.protocol\": 17"),
        ] {
            assert_eq!(parsed(&line, None).map(|found| found.is_some()), Ok(false), "{line}");
        }
    }

    #[test]
    fn what_others_write_is_not_understood() {
        for line in [
            format!("Apr  2 19:54:54 box kernel: {RECORD}"),
            format!("Apr  2 19:54:54 box ulogd[12]: {RECORD}"),
            format!("Apr  2 19:54:54 box sshd[12]: Invalid user {RECORD}"),
            format!("Apr  2 19:54:54 sshd: {RECORD}"),
            format!("Apr  2 19:54:54 box {RECORD}x"),
            format!("Apr  2 19:54:54 box {} {RECORD}", "x".repeat(128)),
            format!("[12.3] {RECORD}"),
            RECORD.to_owned(),
            "Apr  2 19:54:54 box sshd[12]: Accepted publickey".to_owned(),
            JSON.replace("oob.", "").replace("raw.", ""),
            JSON.replace("\"src_ip\": \"192.0.2.1\"", "\"src_ip\": \"192.0.2.\""),
            JSON.replace("\"src_port\": 41157, ", ""),
            "{}".to_owned(),
            "{".to_owned(),
        ] {
            assert!(parsed(&line, None).is_err(), "{line}");
        }
    }

    #[test]
    fn only_records_with_the_wanted_prefix_count() {
        for (line, prefix, counts) in [
            (format!("Apr  2 19:54:54 box NEW:  {RECORD}"), "NEW: ", true),
            (format!("Apr  2 19:54:54 box NEW:  {RECORD}"), "NEW:", false),
            (format!("Apr  2 19:54:54 box  {RECORD}"), "NEW: ", false),
            (JSON.to_owned(), "NEW: ", true),
            (JSON.to_owned(), "OLD: ", false),
        ] {
            let found = parsed(&line, Some(prefix));
            assert_eq!(
                found.map(|found| found.is_some()),
                Ok(counts),
                "{line} {prefix}"
            );
        }
    }
}
