//! A parser of lines that have something around them.

use std::borrow::Cow;

use super::{
    encoding::Encoding,
    wrap::{Inner, Wrappers, is_believed},
};
use crate::{
    model::{connection::When, format::Format},
    read::{
        event::{Event, ParseError},
        parse::{
            formats,
            lines::{Form, Line, Wanted},
        },
    },
};

const NOT_WRAPPED: ParseError = "the line is not in what the other lines are in";
const OTHER_PROGRAM: ParseError =
    "this looks like a record, but another program wrote it (--any-program believes it)";

/// The parser for these lines; None for a format without lines.
pub(crate) fn parser(encoding: Encoding, wanted: &Wanted) -> Option<Box<dyn Line>> {
    let Encoding { format, wrappers } = encoding;
    if wrappers.is_empty() {
        return formats::parser(format, wanted);
    }
    Some(Box::new(Peeled::new(format, wrappers, wanted)?))
}

/// Takes the layers off, and parses what is inside.
struct Peeled {
    format: Format,
    wrappers: Wrappers,
    wanted: Wanted,
    parser: Box<dyn Line>,
    /// The number of lines so far, also of those that the parser does not see.
    lines: u64,
}

impl Peeled {
    /// A parser for lines of this format in these layers.
    fn new(format: Format, wrappers: Wrappers, wanted: &Wanted) -> Option<Self> {
        Some(Self {
            format,
            wrappers,
            wanted: wanted.clone(),
            parser: formats::parser(format, wanted)?,
            lines: 0,
        })
    }

    fn peel(
        &mut self,
        line: &[u8],
        is_cut: bool,
        events: &mut Vec<Event>,
    ) -> Result<Form, ParseError> {
        let number = self.lines;
        self.lines += 1;
        if line.trim_ascii().is_empty() {
            return Ok(Form::Shared);
        }
        let inner = self.wrappers.peel(line, self.wanted.times);
        let Inner {
            line, time, tags, ..
        } = inner.ok_or(NOT_WRAPPED)?;
        let before = events.len();
        if !is_believed(self.format, &tags, &self.wanted) {
            // A parser of its own: this line must not complete what another one began.
            let mut parser = formats::parser(self.format, &self.wanted).ok_or(NOT_WRAPPED)?;
            let _ = parser.line(&line, events);
            let is_record = events.len() > before;
            events.truncate(before);
            return if is_record {
                Err(OTHER_PROGRAM)
            } else {
                Ok(Form::Shared)
            };
        }
        let form = if is_cut {
            self.parser.cut_line(&line, events)?
        } else {
            self.parser.line(&line, events)?
        };
        for event in &mut events[before..] {
            if let Event::Printed(printed) = event {
                printed.number = number;
            }
            if let Some(connection) = event.connection_mut()
                && connection.time == When::Unknown
            {
                connection.time = time.clone();
            }
        }
        Ok(form)
    }
}

impl Line for Peeled {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        self.peel(line, false, events)
    }

    fn cut_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<Form, ParseError> {
        self.peel(line, true, events)
    }

    fn time(&mut self, line: &[u8]) -> When {
        let Some(inner) = self.wrappers.peel(line, self.wanted.times) else {
            return When::Unknown;
        };
        match self.parser.time(&inner.line) {
            When::Unknown => inner.time,
            time => time,
        }
    }

    fn host<'a>(&mut self, line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let inner = self.wrappers.peel(line, false)?;
        let host = self.parser.host(&inner.line).or(inner.host)?;
        Some(Cow::Owned(host.into_owned()))
    }
}
