//! Parses the tables that tcpaccept and tcptracer of bcc, of its libbpf-tools and of bpftrace print:
//!
//! ```text
//! PID     COMM         IP RADDR            RPORT LADDR            LPORT
//! 907     sshd         4  192.0.2.1        32324 198.51.100.102   22
//!
//! Tracing TCP accepts. Hit Ctrl-C to end.
//! TIME     PID    COMM           RADDR      RPORT LADDR           LPORT BL
//! 14:25:37 907    sshd           192.0.2.1  32324 198.51.100.102  22    0/128
//!
//! Tracing TCP established connections. Ctrl-C to end.
//! T  PID    COMM             IP SADDR            DADDR            SPORT  DPORT
//! A  907    sshd             4  198.51.100.102   192.0.2.1        22     32324
//! ```
//!
//! The name of a process can be anything, also what looks like columns. So the columns after it are taken
//! from the end of the row, and those before it from the beginning. A name can even break the row: then
//! the lines up to its end are not believed, because the process wrote their beginning.

mod columns;

use memchr::memmem;

use self::columns::{Heading, Left, Row, guess, is_unclear};
use super::{
    lines::{Form, Line, Wanted, lines},
    scan::{recorded, seconds},
};
use crate::{
    model::connection::{Connection, Lacks, Process, Record, Source, When},
    read::event::{Event, ParseError},
};

const NOT_A_ROW: ParseError = "not a row of tcpaccept or tcptracer";
const OTHER_TABLE: ParseError =
    "the table is not of tcpaccept or tcptracer: these columns do not show accepted connections";
const NO_HEADING: ParseError = "without the heading these columns may be those of tcpconnect, which shows outgoing connections";
const BROKEN: ParseError = "the name of a process breaks the row";
const LOST: ParseError = "the tracer lost events, so connections are missing";

/// The longest name of a process, `TASK_COMM_LEN` without its NUL.
const MAX_NAME_LEN: usize = 15;

/// The lines of tcpaccept and tcptracer.
#[derive(Debug)]
pub(crate) struct Lines {
    wanted: Wanted,
    heading: Option<Heading>,
    name: BrokenName,
}

impl Lines {
    /// Creates a parser for the `wanted` fields.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            wanted: wanted.clone(),
            heading: None,
            name: BrokenName::default(),
        }
    }

    fn row<'a>(&self, line: &'a [u8]) -> Result<Row<'a>, ParseError> {
        match &self.heading {
            None if is_unclear(line) => Err(NO_HEADING),
            None => guess(line).ok_or(NOT_A_ROW),
            Some(Heading::Known(columns)) => columns.row(line).ok_or(NOT_A_ROW),
            Some(Heading::Other) => Err(OTHER_TABLE),
        }
    }

    fn connection(&self, row: Row<'_>) -> Connection {
        Connection {
            time: self.when(&row.left),
            remote: row.remote,
            remote_port: row.remote_port,
            local: row.local,
            local_port: row.local_port,
            family: row.family,
            process: Some(Process {
                pid: Some(row.left.pid),
                tid: None,
                uid: row.left.uid,
                cgroup: None,
                comm: comm(row.left.comm),
                is_kernel_thread: false,
            }),
            netns: row.netns,
            ..Connection::unknown(Source::Record(Record::Tcpaccept))
        }
    }

    fn when(&self, left: &Left<'_>) -> When {
        if !self.wanted.times {
            When::Unknown
        } else if let Some(clock) = left.clock {
            recorded(clock, Lacks::Date)
        } else {
            let when = left.seconds.and_then(|text| seconds(text, Lacks::Before));
            when.unwrap_or(When::Unknown)
        }
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        let row = self.row(line);
        let may_be_forged = self.name.next(line, row.is_ok());
        let row = match row {
            Err(error) => match Heading::parse(line) {
                Some(_) if may_be_forged => return Err(BROKEN),
                Some(heading) => return self.begin(heading),
                None => return message(line).ok_or(error).flatten(),
            },
            Ok(_) if may_be_forged => return Err(BROKEN),
            Ok(row) => row,
        };
        if row.left.is_accept {
            events.push(Event::Connection(self.connection(row)));
        }
        Ok(Form::Own)
    }

    fn time(&mut self, line: &[u8]) -> When {
        Left::of_line(line).map_or(When::Unknown, |left| self.when(&left))
    }
}

impl Lines {
    /// Starts a table.
    fn begin(&mut self, heading: Heading) -> Result<Form, ParseError> {
        let is_known = matches!(heading, Heading::Known(_));
        self.heading = Some(heading);
        if is_known {
            Ok(Form::Own)
        } else {
            Err(OTHER_TABLE)
        }
    }
}

/// Finds the lines that a name with line breaks makes of a row.
#[derive(Clone, Copy, Debug, Default)]
struct BrokenName {
    /// How many more lines may have been begun by the process.
    lines: usize,
}

impl BrokenName {
    /// Takes the next line, and returns whether a process may have written its beginning.
    fn next(&mut self, line: &[u8], is_row: bool) -> bool {
        let is_after = self.lines > 0;
        self.lines = if !is_row && is_broken_row(line) {
            MAX_NAME_LEN
        } else if line.len() <= MAX_NAME_LEN {
            self.lines.saturating_sub(1)
        } else {
            0
        };
        is_after
    }
}

/// Whether this is the beginning of a row up to a line break in the name of the process.
fn is_broken_row(line: &[u8]) -> bool {
    Left::of_line(line).is_some_and(|left| left.comm.len() <= MAX_NAME_LEN) && guess(line).is_none()
}

/// How many bytes of `lines` can be parsed without the lines that follow: a row that the name of a process
/// breaks stays with the lines up to its end.
pub(crate) fn hold_back(bytes: &[u8]) -> usize {
    let mut start = bytes.len();
    for line in backwards(bytes).take(MAX_NAME_LEN + 1) {
        start -= line.len() + 1;
        if is_broken_row(line) {
            return start;
        }
        if line.strip_suffix(b"\r").unwrap_or(line).len() > MAX_NAME_LEN {
            break;
        }
    }
    bytes.len()
}

/// The last line of `bytes` that names columns: those of the lines after it, too.
pub(crate) fn heading(bytes: &[u8]) -> Option<&[u8]> {
    memmem::find(bytes, b"PID")?;
    let mut name = BrokenName::default();
    let mut last = None;
    for line in lines(bytes) {
        let may_be_forged = name.next(line, false);
        if !may_be_forged && Heading::parse(line).is_some() {
            last = Some(line);
        }
    }
    last
}

/// The lines of `bytes`, which ends with a line feed, from the last one on.
fn backwards(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.rsplit(|byte| *byte == b'\n')
}

/// A line that is part of no table; None if it is something else.
fn message(line: &[u8]) -> Option<Result<Form, ParseError>> {
    let has = |text: &[u8]| memmem::find(line, text).is_some();
    let begins = |text: &[u8]| line.starts_with(text);
    if line.trim_ascii().is_empty() || line == b"^C" {
        Some(Ok(Form::Shared))
    } else if has(b"Tracing ")
        && (has(b"Tracing TCP accepts. Hit Ctrl-C to end.")
            || has(b"Tracing tcp accepts. Hit Ctrl-C to end.")
            || has(b"Tracing TCP established connections. Ctrl-C to end."))
    {
        Some(Ok(Form::Own))
    } else if begins(b"Attaching ") && has(b" probe") || begins(b"Attached ") && has(b" probe") {
        Some(Ok(Form::Shared))
    } else if begins(b"Possibly lost ") || begins(b"Lost ") && has(b" events") {
        Some(Err(LOST))
    } else {
        None
    }
}

/// The name of a process, as the kernel has it.
fn comm(name: &[u8]) -> Option<[u8; 16]> {
    let mut comm = [0; 16];
    let length = name.len().min(MAX_NAME_LEN);
    comm[..length].copy_from_slice(&name[..length]);
    (length > 0).then_some(comm)
}

#[cfg(test)]
mod tests;
