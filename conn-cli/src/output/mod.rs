//! The output: text or JSON on standard output, diagnostics on standard error.

mod brief;
mod check;
mod clock;
mod columns;
mod compare;
mod diagnostics;
mod inputs;
mod interval;
mod json;
mod listeners;
mod long;
mod look;
pub(crate) mod metrics;
mod over;
mod quick;
mod status;
mod stdout;
mod style;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod total;

use std::io::{self, IsTerminal as _, Write as _};

use jiff::{Timestamp, tz::TimeZone};

use self::total::nouns;
pub(crate) use self::{
    brief::plural,
    check::check,
    clock::Clock,
    compare::compare,
    diagnostics::diagnostics,
    inputs::inputs,
    interval::{RowStyle, Rows},
    json::Json,
    listeners::{began_too_late, dropping, listening, waiting},
    look::Look,
    over::{OverWords, over_warnings},
    status::{SoFar, status},
    stdout::Stdout,
    text::Text,
    total::{Counted, Extent, total},
};
use crate::{
    count::interval::Interval,
    model::{
        connection::Connection,
        options::ShowOptions,
        over::Over,
        stage::{Stage, WatchedStages},
    },
    report::{LineCounts, Report},
    system::{machine, terminal::Size},
};

/// The format of standard output.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a run")]
pub(crate) enum Printer {
    /// Lines for people.
    Text(Text),
    /// Lines for programs.
    Json(Json),
}

impl Printer {
    /// A printer for these options. `live`: in a live run, the watched stages and the start.
    #[must_use]
    pub(crate) fn new(
        options: &ShowOptions,
        live: Option<(&WatchedStages, Timestamp)>,
        zone: &TimeZone,
    ) -> Self {
        let (stages, started) = live.unzip();
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let colour =
            is_terminal && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let clock = Clock::new(zone.clone(), options.time);
        let several = stages.filter(|stages| stages.are_several());
        if options.json {
            let own = || stages.and_then(|_| machine::host_name());
            let json = Json::new(clock)
                .with_names(options.names)
                .on(options.host.clone().or_else(own));
            return Self::Json(match several {
                Some(stages) => json.with_stages(stages.counted()),
                None => json,
            });
        }
        let only_syns = stages.is_some_and(|stages| stages.counted() == Stage::Syn);
        let text = Text::new(
            clock,
            Look {
                names_port: !options.ports.is_single(),
                names_stage: several.is_some() || only_syns,
                long: options.long,
                colour,
                started,
                names: options.names,
            },
        )
        .with_over(OverWords {
            noun: nouns(stages.map_or(Stage::Accepted, WatchedStages::counted)),
            to: if options.ports.is_all() {
                String::new()
            } else {
                format!(" to {}", options.ports)
            },
        });
        Self::Text(match options.interval() {
            None => text,
            Some(length) => text.with_rows(Rows::new(RowStyle {
                zone: zone.clone(),
                format: options.time,
                length,
                dated: stages.is_none(),
                colour,
            })),
        })
    }

    /// Appends one connection's line.
    pub(crate) fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        match self {
            Self::Text(text) => text.connection(out, connection),
            Self::Json(json) => json.connection(out, connection),
        }
    }

    /// Appends an interval's row.
    pub(crate) fn interval(&mut self, out: &mut Vec<u8>, interval: &Interval) {
        match self {
            Self::Text(text) => text.interval(out, interval),
            Self::Json(json) => json.interval(out, interval),
        }
    }

    /// Appends the line of one that makes too many connections, or no longer does.
    pub(crate) fn over(&mut self, out: &mut Vec<u8>, over: &Over) {
        match self {
            Self::Text(text) => text.over(out, over),
            Self::Json(json) => json.over(out, over),
        }
    }

    /// For how many clients of a report a screen has room beside these messages; None if all are for a
    /// program.
    #[must_use]
    pub(crate) fn room(&self, report: &Report, screen: Size, messages: &[String]) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.room(report, screen, messages)),
            Self::Json(_) => None,
        }
    }

    /// The report, in parts: all of them can be more than fits into memory.
    pub(crate) fn report<'a>(
        &'a mut self,
        report: &'a Report,
        lines: LineCounts,
    ) -> Box<dyn Iterator<Item = String> + 'a> {
        match self {
            Self::Text(text) => text.report(report, "Summary"),
            Self::Json(json) => Box::new(json.report(report, lines)),
        }
    }

    /// Notes on what a report does not show though it was requested.
    #[must_use]
    pub(crate) fn notes(&self, report: &Report) -> Vec<String> {
        match self {
            Self::Text(text) => text.notes(report),
            Self::Json(_) => Vec::new(),
        }
    }

    /// Appends the totals so far, if that is a line among the others; else returns the text.
    pub(crate) fn totals(
        &mut self,
        out: &mut Vec<u8>,
        report: &Report,
        lines: LineCounts,
    ) -> Option<String> {
        match self {
            Self::Text(text) => {
                let totals: String = text.report(report, "So far").collect();
                Some(totals.trim().to_owned())
            }
            Self::Json(json) => {
                for part in json.totals(report, lines) {
                    out.extend_from_slice(part.as_bytes());
                }
                None
            }
        }
    }
}

/// Appends text.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to memory does not fail");
}
