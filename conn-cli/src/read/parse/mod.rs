//! Parses bytes into events. Each format has a module that parses one record at a time. The
//! parsers are total: any bytes are an event, something known that is ignored, or a parse error.

pub(crate) mod clock;
mod columns;
pub(crate) mod conntrack;
pub(crate) mod formats;
pub(crate) mod json;
pub(crate) mod kernel_log;
pub mod lines;
pub(crate) mod packet;
pub(crate) mod scan;
mod second;
pub(crate) mod strace;
pub(crate) mod suricata;
pub(crate) mod tcpaccept;
pub(crate) mod tcpdump;
pub(crate) mod text;
pub(crate) mod ulogd;
pub(crate) mod vpc_flow;
pub(crate) mod zeek;

use self::{
    columns::may_be_heading,
    lines::{Form, Line, Wanted, lines},
};
use super::{
    batch::{Batch, Room},
    encoding::Encoding,
    event::{Event, ParseError},
    peeled::parser,
    piece::Piece,
};
use crate::model::{connection::When, format::Format, machine::Machine};

/// How many lines at each end may be without a time, like the first ones of `journalctl`.
const LINES_WITHOUT_TIME: usize = 8;

/// About the length of a short record.
const RECORD_LEN: usize = 128;

/// The most lines that are held back where they have something around them. A packet or a call has fewer.
const MAX_HELD_BACK: usize = 32;

const NOT_RECOGNISED: ParseError = "no format has such lines";
const TOO_LONG: ParseError = "the line is too long";

/// The longest line that is parsed, in bytes.
#[must_use]
pub fn longest_line(format: Format) -> usize {
    match format {
        // A summary lists all clients in one line.
        Format::Json => 16 * 1024 * 1024,
        _ => 1024 * 1024,
    }
}

/// How many bytes of `lines`, which are complete, can be parsed without the lines that follow.
#[must_use]
pub fn hold_back(encoding: Encoding, lines: &[u8]) -> usize {
    match encoding.format {
        Format::Tcpdump | Format::Strace | Format::Tcpaccept if !encoding.wrappers.is_empty() => {
            hold_back_wrapped(encoding, lines)
        }
        Format::Tcpdump => tcpdump::hold_back(lines),
        Format::Strace => strace::hold_back(lines),
        Format::Tcpaccept => tcpaccept::hold_back(lines),
        _ => lines.len(),
    }
}

/// The same for lines that have something around them: judges the last ones without it.
fn hold_back_wrapped(encoding: Encoding, bytes: &[u8]) -> usize {
    let mut start = bytes.len();
    for _ in 0..MAX_HELD_BACK {
        let Some(before) = start.checked_sub(1) else {
            break;
        };
        start = memchr::memrchr(b'\n', &bytes[..before]).map_or(0, |at| at + 1);
    }
    let mut inner = Vec::new();
    let mut ends = Vec::new();
    for line in lines(&bytes[start..]) {
        if let Some(peeled) = encoding.wrappers.peel(line, false) {
            inner.extend_from_slice(&peeled.line);
        }
        inner.push(b'\n');
        ends.push(inner.len());
    }
    let unwrapped = Encoding::plain(encoding.format);
    let end = hold_back(unwrapped, &inner);
    let held_back = ends.iter().filter(|line| **line > end).count();
    let without = memchr::memrchr_iter(b'\n', bytes.strip_suffix(b"\n").unwrap_or(bytes));
    match held_back {
        0 => bytes.len(),
        held_back => { without }.nth(held_back - 1).map_or(0, |at| at + 1),
    }
}

/// The last line that names the columns of the table in `lines`: pieces that follow need it.
#[must_use]
pub(crate) fn heading(encoding: Encoding, lines: &[u8]) -> Option<&[u8]> {
    let (word, is_heading): (_, fn(&[u8]) -> bool) = match encoding.format {
        Format::Tcpaccept if encoding.wrappers.is_empty() => return tcpaccept::heading(lines),
        Format::Zeek => (zeek::HEADING, zeek::is_heading),
        Format::VpcFlow => (vpc_flow::HEADING, vpc_flow::is_heading),
        _ => return None,
    };
    columns::last_heading(lines, word, |line| {
        let peeled = encoding.wrappers.peel(line, false);
        may_be_heading(line) && peeled.is_some_and(|peeled| is_heading(&peeled.line))
    })
}

/// Parses one piece.
#[must_use]
pub fn parse(piece: &Piece, wanted: &Wanted) -> Batch {
    parse_into(piece, wanted, Room::default())
}

/// The same in this memory.
#[must_use]
pub(crate) fn parse_into(piece: &Piece, wanted: &Wanted, room: Room) -> Batch {
    match piece {
        &Piece::Lines(encoding, ref bytes) => {
            let format = encoding.format;
            match format {
                _ if !encoding.wrappers.is_empty() => any_lines(encoding, bytes, wanted, room),
                // Each with code of its own, which is faster than a call through a table for each line.
                Format::KernelLog => {
                    let mut parser = kernel_log::Lines::new(wanted);
                    parse_lines(format, bytes, &mut parser, wanted, room)
                }
                Format::Tcpdump => {
                    let mut parser = tcpdump::Lines::new(wanted);
                    parse_lines(format, bytes, &mut parser, wanted, room)
                }
                Format::Strace => {
                    let mut parser = strace::Lines::new(wanted);
                    parse_lines(format, bytes, &mut parser, wanted, room)
                }
                Format::Json => {
                    let mut parser = json::Lines::new(wanted);
                    parse_lines(format, bytes, &mut parser, wanted, room)
                }
                _ => any_lines(encoding, bytes, wanted, room),
            }
        }
        &Piece::LongLine(encoding) => {
            let mut batch = Batch::new(encoding.format);
            batch.count_line(b"", Err(TOO_LONG));
            batch
        }
        Piece::Recognised(recognised) => {
            let mut batch = Batch::new(recognised.encoding.format);
            batch.recognised = Some(*recognised);
            for _ in 0..recognised.skipped {
                batch.count_line(b"", Err(NOT_RECOGNISED));
            }
            batch
        }
        &Piece::Headed(encoding, ref heading, ref bytes) => {
            let mut parser = parser(encoding, wanted).expect("a capture has no lines");
            // It counts in the piece that it is from.
            let _ = parser.line(heading, &mut Vec::new());
            parse_lines(encoding.format, bytes, &mut *parser, wanted, room)
        }
        Piece::Packets(packets) => packet::parse(packets, wanted, room),
    }
}

fn any_lines(encoding: Encoding, bytes: &[u8], wanted: &Wanted, room: Room) -> Batch {
    let mut parser = parser(encoding, wanted).expect("a capture has no lines");
    parse_lines(encoding.format, bytes, &mut *parser, wanted, room)
}

fn parse_lines(
    format: Format,
    bytes: &[u8],
    parser: &mut (impl Line + ?Sized),
    wanted: &Wanted,
    room: Room,
) -> Batch {
    let mut batch = Batch::within(format, room);
    batch.ends = ends(bytes, parser);
    // What a connection of a run means depends on the summary after it.
    let only_counts = wanted.only_counts && !format.is_own();
    // Growing would move what is in them.
    let records = bytes.len() / RECORD_LEN;
    let mut machine = None;
    if only_counts {
        batch.counted.ends.reserve(records);
    } else {
        batch.events.reserve(records);
    }
    let longest = longest_line(format);
    let end = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
    let (whole, cut) = bytes.split_at(end);
    // A line is cut only at the end of an input.
    for (part, is_cut) in [(whole, false), (cut, true)] {
        for line in lines(part) {
            let before = batch.events.len();
            let parsed = if line.len() > longest {
                Err(TOO_LONG)
            } else if is_cut {
                parser.cut_line(line, &mut batch.events)
            } else if let Some(connection) = parser.usual(line) {
                batch.add(connection, only_counts);
                Ok(Form::Own)
            } else {
                parser.line(line, &mut batch.events)
            };
            batch.count_line(line, parsed);
            if wanted.machines {
                name_machine(parser, line, &mut batch.events[before..], &mut machine);
            }
            if only_counts {
                batch.count_only_event();
            }
        }
    }
    batch
}

/// Adds the machine that a line names to what the line shows. `last`: the one that was named last, by the same
/// name.
fn name_machine(
    parser: &mut (impl Line + ?Sized),
    line: &[u8],
    events: &mut [Event],
    last: &mut Option<(Vec<u8>, Machine)>,
) {
    // JSON of conn-cli has named it already.
    let unnamed = { events.iter_mut() }.filter_map(Event::connection_mut);
    let mut unnamed = unnamed.filter(|connection| connection.machine.is_none());
    let Some(first) = unnamed.next() else {
        return;
    };
    let Some(host) = parser.host(line) else {
        return;
    };
    if last.as_ref().is_none_or(|(name, _)| **name != *host) {
        *last = Machine::named(&host).map(|machine| (host.into_owned(), machine));
    }
    let machine = last.as_ref().map(|(_, machine)| machine);
    first.machine = machine.cloned();
    unnamed.for_each(|connection| connection.machine = machine.cloned());
}

/// The times of the first and the last line.
fn ends(bytes: &[u8], parser: &mut (impl Line + ?Sized)) -> [When; 2] {
    let mut time = |line: &[u8]| Some(parser.time(line)).filter(|time| *time != When::Unknown);
    let first = lines(bytes).take(LINES_WITHOUT_TIME).find_map(&mut time);
    let backwards = bytes.rsplit(|byte| *byte == b'\n');
    let last = backwards.take(LINES_WITHOUT_TIME).find_map(time);
    [first, last].map(|time| time.unwrap_or(When::Unknown))
}
