//! Parses the VPC flow logs of AWS, which have a record for each direction of each flow in each interval, at most ten
//! minutes, on each network interface:
//!
//! ```text
//! version srcaddr dstaddr srcport dstport protocol start action tcp-flags log-status
//! 3 192.0.2.1 192.0.2.9 37822 80 6 1700000000 ACCEPT 2 OK
//! ```
//!
//! The format is as one likes. Files of S3 have it in the first line; where it is missing, it can be put there, also
//! as AWS takes it (`${version} ${srcaddr} ..`). Neither AWS's default format nor the records of Google Cloud have
//! flags that tell a new connection.

#[cfg(test)]
mod tests;

use super::{
    columns::{Columns, may_be_heading},
    lines::{Form, Line, Wanted},
    scan::{address, number, seconds},
};
use crate::{
    model::connection::{Connection, Host, Lacks, Record, Source, When},
    read::event::{Event, PacketId, ParseError},
};

const NOT_VPC: ParseError = "not a record of a VPC flow log";
const NO_FLAGS: ParseError =
    "this AWS VPC flow log has no TCP flags: add ${tcp-flags} to its format";
const NO_ENDS: ParseError =
    "this AWS VPC flow log lacks addresses, ports or the protocol: add them to its format";
const NO_HEADING: ParseError =
    "nothing names the columns of this AWS VPC flow log: put its format into the first line";
const NOT_AS_HEADING: ParseError = "not the columns that the first line of the VPC flow log names";
const NO_FLAGS_HERE: ParseError = "this record of a VPC flow log has no TCP flags";
const SKIPPED: ParseError = "AWS skipped records here (SKIPDATA)";
const GOOGLE: ParseError =
    "the VPC flow logs of Google Cloud have no TCP flags, so new connections cannot be recognised";

/// A word of every heading.
pub(crate) const HEADING: &[u8] = b"srcaddr";

/// The wanted fields:
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html#flow-logs-fields>.
const WANTED: [&str; 10] = [
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "tcp-flags",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "start",
    "log-status",
];

const TCP: &[u8] = b"6";
/// The only flag that AWS records of a client's first packet.
const SYN: u16 = 2;
/// With a SYN; AWS does not record an ACK without it.
const ACK: u16 = 16;

/// The records of a VPC flow log.
#[derive(Debug)]
pub(crate) struct Lines {
    /// The columns of the rows that follow, or why these are not read.
    columns: Result<Columns<{ WANTED.len() }>, ParseError>,
}

impl Lines {
    /// Creates a parser for what is `wanted`.
    #[must_use]
    pub(crate) fn new(_wanted: &Wanted) -> Self {
        Self {
            columns: Err(NOT_VPC),
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        if line.is_empty() {
            return Ok(Form::Shared);
        }
        if is_heading(line) {
            self.columns = columns(line);
            return self.columns.as_ref().map(|_| Form::Own).map_err(|why| *why);
        }
        let columns = match &self.columns {
            Ok(columns) => columns,
            Err(NOT_VPC) => return Err(why_not(line)),
            Err(why) => return Err(why),
        };
        let values = columns.values(words(line)).ok_or(NOT_AS_HEADING)?;
        if let Some(connection) = connection(values)? {
            // Both ends can be in the VPC, and have a record of the same SYN.
            events.push(Event::Syn(connection, PacketId::default()));
        }
        Ok(Form::Own)
    }

    /// Where it is, only the heading tells.
    fn time(&mut self, _line: &[u8]) -> When {
        When::Unknown
    }
}

/// Whether a line names the columns of the log.
pub(crate) fn is_heading(line: &[u8]) -> bool {
    let is_in_name = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
    let has = |end: &[u8]| names(line).any(|name| name.ends_with(end));
    may_be_heading(line)
        && names(line).all(|name| name.iter().all(is_in_name))
        && has(b"srcaddr")
        && has(b"dstaddr")
}

/// Whether a line is of a log that does not tell new connections, since it has no TCP flags.
pub(crate) fn has_no_flags(line: &[u8]) -> bool {
    let of_heading = || is_heading(line) && columns(line).is_err_and(|why| why == NO_FLAGS);
    why_not(line) == NO_FLAGS || of_heading()
}

/// Whether it is a record of Google Cloud, which never has any.
pub(crate) fn is_of_google(line: &[u8]) -> bool {
    why_not(line) == GOOGLE
}

/// Whether it is a record with columns that only a heading could name.
pub(crate) fn needs_heading(line: &[u8]) -> bool {
    why_not(line) == NO_HEADING
}

fn columns(heading: &[u8]) -> Result<Columns<{ WANTED.len() }>, ParseError> {
    let columns = Columns::find(names(heading), &WANTED).ok_or(NO_ENDS)?;
    let has = |indices: &[usize]| indices.iter().all(|index| columns.has(*index));
    let has_ends = has(&[2, 3, 4]) && (has(&[0, 1]) || has(&[6, 7]));
    if !has(&[5]) {
        Err(NO_FLAGS)
    } else if !has_ends {
        Err(NO_ENDS)
    } else {
        Ok(columns)
    }
}

/// The names in a heading, `srcaddr` or `${srcaddr}`.
fn names(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    words(line).map(|word| {
        let name = word.strip_prefix(b"${");
        name.and_then(|name| name.strip_suffix(b"}"))
            .unwrap_or(word)
    })
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
}

/// The new connection that a record shows, if it does.
fn connection(values: [Option<&[u8]>; WANTED.len()]) -> Result<Option<Connection>, ParseError> {
    let values = values.map(|value| value.filter(|value| *value != b"-"));
    let [
        source,
        destination,
        source_port,
        destination_port,
        protocol,
        flags,
        packet_source,
        packet_destination,
        start,
        status,
    ] = values;
    match status {
        Some(b"OK") | None => (),
        Some(b"NODATA") => return Ok(None),
        Some(b"SKIPDATA") => return Err(SKIPPED),
        Some(_) => return Err(NOT_VPC),
    }
    let start = match start {
        Some(text) => seconds(text, Lacks::Boot).ok_or(NOT_VPC)?,
        None => When::Unknown,
    };
    let protocol = protocol.ok_or(NOT_VPC)?;
    if protocol != TCP {
        return number::<u8>(protocol).map(|_| None).ok_or(NOT_VPC);
    }
    // The addresses that the packets have: the others can be those of an interface that passes them on, such as
    // that of a NAT gateway.
    let (source, destination) = match (packet_source, packet_destination) {
        (Some(source), Some(destination)) => (Some(source), Some(destination)),
        _ => (source, destination),
    };
    let host = |text: Option<&[u8]>| -> Option<Host> { address(text?) };
    let port = |text: Option<&[u8]>| -> Option<u16> { number(text?) };
    let connection = Connection {
        time: start,
        remote: host(source).ok_or(NOT_VPC)?,
        remote_port: Some(port(source_port).ok_or(NOT_VPC)?),
        local: host(destination).ok_or(NOT_VPC)?,
        local_port: Some(port(destination_port).ok_or(NOT_VPC)?),
        ..Connection::unknown(Source::Record(Record::VpcFlow))
    };
    // Those of all packets in the interval.
    let flags: u16 = number(flags.ok_or(NO_FLAGS_HERE)?).ok_or(NOT_VPC)?;
    Ok((flags & (SYN | ACK) == SYN).then_some(connection))
}

/// Why a line is not understood without a heading before it.
fn why_not(line: &[u8]) -> ParseError {
    let has = |text: &[u8]| memchr::memmem::find(line, text).is_some();
    if has(b"%2Fvpc_flows\"")
        || line.starts_with(b"{") && has(b"\"reporter\"") && has(b"\"src_ip\"")
    {
        return GOOGLE;
    }
    // `aws logs tail` and exports of CloudWatch write a time and a name before it.
    let Some(interface) = memchr::memmem::rfind(line, b" eni-") else {
        return NOT_VPC;
    };
    let fields = || words(&line[interface..]);
    let is_action = |word: &[u8]| matches!(word, b"ACCEPT" | b"REJECT");
    match fields().nth(10) {
        // In the default format the interface is the third of fourteen fields, and these are the last ones.
        Some(b"ACCEPT" | b"REJECT" | b"-") if fields().count() == 12 => NO_FLAGS,
        _ if fields().any(is_action) => NO_HEADING,
        _ => NOT_VPC,
    }
}
