//! The output: text or JSON on standard output, diagnostics on standard error.

mod brief;
mod clock;
mod diagnostics;
mod interval;
mod json;
mod quick;
mod stdout;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _, Write as _},
};

use jiff::tz::TimeZone;

pub use self::{
    clock::Clock,
    diagnostics::{diagnostics, listening},
    interval::{RowStyle, Rows},
    json::Json,
    stdout::Stdout,
    text::{Look, Text},
};
use crate::{
    cli::ShowArgs,
    count::interval::Interval,
    model::connection::{Connection, Stage},
    report::Summary,
};
pub use crate::{model::options::TimeFormat, system::stderr::say};

/// The format of standard output.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a run")]
pub enum Printer {
    /// Lines for people.
    Text(Text),
    /// Lines for programs.
    Json(Json),
}

impl Printer {
    /// A printer for `args`. `stages`: the watched ones, if each connection arrives once for each.
    #[must_use]
    pub fn new(args: &ShowArgs, stages: Option<&BTreeSet<Stage>>, zone: &TimeZone) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let colour =
            is_terminal && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let clock = Clock::new(zone.clone(), args.time());
        let several = stages.filter(|stages| stages.len() > 1);
        if args.json {
            let json = Json::new(clock);
            return Self::Json(match several.and_then(|stages| stages.last()) {
                Some(counted) => json.with_stages(*counted),
                None => json,
            });
        }
        let only_syns = stages.is_some_and(|stages| stages.last() == Some(&Stage::Syn));
        let text = Text::new(
            clock,
            Look {
                names_port: !args.port_set().is_single(),
                names_stage: several.is_some() || only_syns,
                long: args.long,
                colour,
            },
        );
        Self::Text(match args.interval {
            None => text,
            Some(length) => text.with_rows(Rows::new(RowStyle {
                zone: zone.clone(),
                format: args.time(),
                length,
                dated: stages.is_none(),
                bar: is_terminal,
                colour,
            })),
        })
    }

    /// Appends one connection's line.
    pub fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        match self {
            Self::Text(text) => text.connection(out, connection),
            Self::Json(json) => json.connection(out, connection),
        }
    }

    /// Appends an interval's row.
    pub fn interval(&mut self, out: &mut Vec<u8>, interval: &Interval) {
        match self {
            Self::Text(text) => text.interval(out, interval),
            Self::Json(json) => json.interval(out, interval),
        }
    }

    /// Appends the summary.
    pub fn summary(&mut self, out: &mut Vec<u8>, summary: &Summary) {
        match self {
            Self::Text(text) => text.summary(out, summary),
            Self::Json(json) => json.summary(out, summary),
        }
    }
}

/// Appends text.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to memory does not fail");
}
