//! Parses the calls of accept that strace prints, with any of its options:
//!
//! ```text
//! [pid    12] 14:25:37.1 accept4(3<TCP:[0.0.0.0:80]>, {sa_family=AF_INET, sin_port=htons(37822), sin_addr=inet_addr("192.0.2.1")}, [16], 0) = 4<TCP:[192.0.2.9:80->192.0.2.1:37822]> <0.000012>
//! 12    accept(3, NULL, NULL)             = 4
//! 12    accept(3,  <unfinished ...>
//! 12    <... accept resumed>{sa_family=AF_INET6, sin6_port=htons(37822), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, [28]) = 4
//! ```

mod call;
mod ends;
#[cfg(test)]
mod tests;
mod usual;

use self::{
    call::{
        Call, UNFINISHED, after_brackets, call, is_address, is_interrupted, prefix, result, thread,
        time,
    },
    ends::{Descriptor, Endpoints, accepted, descriptor},
    usual::Usual,
};
use super::{
    lines::{Form, Line, Wanted},
    scan::{is_time_of_day, may_be_since_1970, recorded, seconds},
    second::{Second, Stamps},
};
use crate::{
    model::connection::{Connection, Host, Lacks, When},
    read::event::{Accept, Event, ParseError},
};

const NO_RESULT: ParseError = "the call has no result";

/// The lines of strace.
///
/// strace prints the start of a call when it is entered. So output of the traced program to the
/// same terminal or pipe, and messages of strace, may be in the middle of a line:
///
/// ```text
/// [pid    12] accept4(3, strace: Process 13 attached
///  <unfinished ...>
/// ```
#[derive(Debug)]
pub(crate) struct Lines {
    wanted: Wanted,
    second: Second<8, 99>,
    stamps: Stamps,
    usual: Usual,
    /// The thread and the time of a call that began on the previous line and was interrupted.
    interrupted: Option<(Option<u32>, When)>,
}

impl Lines {
    /// Creates a parser for the `wanted` fields.
    #[must_use]
    pub(crate) fn new(wanted: &Wanted) -> Self {
        Self {
            wanted: wanted.clone(),
            second: Second::new(),
            stamps: Stamps::default(),
            usual: Usual::default(),
            interrupted: None,
        }
    }

    #[inline]
    fn when(&mut self, time: &[u8]) -> When {
        let is_wanted = self.wanted.times;
        self.second.when(time, |time| {
            if is_wanted || may_be_since_1970(time) {
                when(time)
            } else {
                When::Unknown
            }
        })
    }
}

/// How many bytes of `lines`, which are complete, can be parsed without the lines that follow.
#[must_use]
pub(crate) fn hold_back(lines: &[u8]) -> usize {
    let without_end = lines.strip_suffix(b"\n").unwrap_or(lines);
    let without_end = without_end.strip_suffix(b"\r").unwrap_or(without_end);
    let last = memchr::memrchr(b'\n', without_end).map_or(0, |at| at + 1);
    match call(prefix(&without_end[last..]).2) {
        Ok(Call::Accept(arguments)) if is_interrupted(descriptor(arguments).1) => last,
        _ => lines.len(),
    }
}

impl Line for Lines {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        if let Some((tid, time)) = self.interrupted.take() {
            if line.ends_with(UNFINISHED) && line.trim_ascii_start() == UNFINISHED {
                return Ok(Form::Own);
            }
            if is_address(line) {
                let (arguments, result) = result(line).ok_or(NO_RESULT)?;
                if let Some(ends) = accepted(&Descriptor::Plain, arguments, result)? {
                    events.push(Event::Connection(ends.connection(tid, time)));
                }
                return Ok(Form::Own);
            }
            // The rest of the call, if any, follows other output on its line, which is a parse
            // error.
        }
        self.complete_line(line, events)
    }

    // Inlined, because of a connection that only counts most is then not even made.
    #[inline(always)]
    fn usual(&mut self, line: &[u8]) -> Option<Connection> {
        let call = self.usual.without_end(line)?;
        if self.interrupted.is_some() {
            return None;
        }
        let (tid, rest) = thread(call);
        let (time, call) = match self.second.leading(rest.trim_ascii_start()) {
            Some((time, after)) => (time, after_brackets(after)),
            None => {
                let (_, time, call) = self.prefix(call);
                (self.when(time), call)
            }
        };
        let ends = Endpoints::ipv4_client(self.usual.client(call)?);
        Some(ends.connection(tid, time))
    }

    fn time(&mut self, line: &[u8]) -> When {
        self.when(prefix(line).1)
    }
}

impl Lines {
    /// Splits a line into the thread, the time, and the text after them.
    #[inline]
    fn prefix<'a>(&mut self, line: &'a [u8]) -> (Option<u32>, &'a [u8], &'a [u8]) {
        let (tid, rest) = thread(line);
        let rest = rest.trim_ascii_start();
        if let Some(length) = self.stamps.length(rest) {
            let (time, after) = rest.split_at(length);
            return (tid, time, after_brackets(after));
        }
        let (time, after) = time(rest);
        self.stamps.keep(time);
        (tid, time, after_brackets(after))
    }

    fn complete_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        let (tid, time, rest) = self.prefix(line);
        let ((listener, arguments), resumed) = match call(rest)? {
            Call::Accept(arguments) => (descriptor(arguments), false),
            Call::Resumed(arguments) => ((Descriptor::Plain, arguments), true),
            Call::Other(form) => return Ok(form),
        };
        if arguments.ends_with(UNFINISHED) {
            let (local, local_port) = match listener {
                Descriptor::Tcp(end, _) => end,
                _ => (Host::Unknown, None),
            };
            events.push(Event::Unfinished(Accept {
                tid: tid.unwrap_or(0),
                local,
                local_port,
            }));
            return Ok(Form::Own);
        }
        if !resumed && is_interrupted(arguments) {
            self.interrupted = Some((tid, self.when(time)));
            return Ok(Form::Shared);
        }
        let tail = arguments;
        let (arguments, result) = result(arguments).ok_or(NO_RESULT)?;
        let arguments = if resumed {
            // Older versions of strace print a space here.
            arguments.trim_ascii_start()
        } else {
            arguments.strip_prefix(b", ").ok_or(NO_RESULT)?
        };
        // Each pushed by itself: moving a connection takes as long as parsing an address.
        match accepted(&listener, arguments, result)? {
            Some(ends) if resumed => {
                events.push(Event::Resumed(ends.connection(tid, self.when(time))));
            }
            Some(ends) => {
                if let Descriptor::Plain = listener {
                    self.usual.keep(rest, tail, result);
                }
                events.push(Event::Connection(ends.connection(tid, self.when(time))));
            }
            None if resumed => events.push(Event::Failed(tid.unwrap_or(0))),
            None => (),
        }
        Ok(Form::Own)
    }
}

/// Parses `14:25:37`, `14:25:37.123456`, `1732285537.123456` or, since the previous line,
/// `0.000123`.
fn when(text: &[u8]) -> When {
    if is_time_of_day(text) {
        recorded(text, Lacks::Date)
    } else {
        seconds(text, Lacks::Before).unwrap_or(When::Unknown)
    }
}
