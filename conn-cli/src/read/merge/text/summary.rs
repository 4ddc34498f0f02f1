//! Puts the lines of a summary together.

use std::mem;

use crate::{
    count::tally::{Room, Tally},
    model::{
        connection::Host,
        discrepancies::Discrepancies,
        printed::summary::{self, Key, Row, Titles, Total},
        read_stats::ReadStats,
    },
    read::event::{ParseError, Run},
};

const NO_SUMMARY: ParseError = "the row of a summary, but its heading is missing";
const NO_ROW: ParseError = "not a row of this summary";
const WRONG_SUM: ParseError = "the rows of the summary do not add up to this";

/// Where the lines are.
#[derive(Debug, Default)]
pub(super) enum Summary {
    /// In no summary.
    #[default]
    None,
    /// In one of the counts so far: the one at the end will have them, too.
    SoFar,
    /// In one at the end of a run.
    Open(Box<Open>),
}

/// What the lines of a summary have said.
#[derive(Debug, Default)]
pub(super) struct Open {
    titles: Option<Titles>,
    tally: Tally,
    sum: u64,
    has_groups: bool,
    has_left_off: bool,
    has_lower_bounds: bool,
    total: Option<Total>,
}

impl Summary {
    /// After the heading, with this room for clients.
    pub(super) fn begin(room: Option<Room>) -> Self {
        Self::Open(Box::new(Open {
            tally: Tally::within(room),
            ..Open::default()
        }))
    }

    /// Takes the line after those before.
    pub(super) fn take(&mut self, line: &str) -> Result<(), ParseError> {
        let total = summary::total(line.trim_ascii());
        let titles = summary::titles(line);
        match self {
            // A total without a summary is that on standard error.
            Self::None if total.is_some() || titles.is_some() => Ok(()),
            Self::None => Err(NO_SUMMARY),
            Self::SoFar => {
                if total.is_some() {
                    *self = Self::None;
                }
                Ok(())
            }
            Self::Open(open) => match (total, titles) {
                (Some(total), _) => {
                    let is_right = total.connections == open.sum;
                    open.total = Some(total);
                    if is_right { Ok(()) } else { Err(WRONG_SUM) }
                }
                (None, Some(titles)) => {
                    open.titles = Some(titles);
                    Ok(())
                }
                (None, None) => open.row(line).ok_or(NO_ROW),
            },
        }
    }

    /// Whether its last line was there.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Open(open) if open.total.is_some())
    }

    /// The run of the summary that ends here, if there is one.
    pub(super) fn end(&mut self) -> Option<Run> {
        match mem::take(self) {
            Self::Open(open) => Some(open.run()),
            Self::None | Self::SoFar => None,
        }
    }
}

impl Open {
    fn row(&mut self, line: &str) -> Option<()> {
        let Row {
            key,
            connections,
            at_least,
        } = match &self.titles {
            Some(titles) => summary::in_table(titles, line)?,
            None => summary::listed(line.trim_ascii())?,
        };
        match key {
            Key::Total => return Some(()),
            Key::Client(host, port) => self.tally.add(&host, port, connections),
            Key::Group(port) => {
                self.has_groups = true;
                self.tally.add(&Host::Unknown, port, connections);
            }
            Key::LeftOff => {
                self.has_left_off = true;
                self.tally.add_other(connections);
            }
            Key::Other => self.tally.add_other(connections),
        }
        self.has_lower_bounds |= at_least;
        self.sum = self.sum.saturating_add(connections);
        Some(())
    }

    fn run(self) -> Run {
        let by_titles = self.titles.is_none_or(|titles| titles.is_by_address);
        let by_total = self.total.as_ref().is_none_or(|total| total.is_by_address);
        let is_by_address = by_titles && by_total;
        let mut tally = self.tally;
        if !is_by_address {
            // What looks like a client is the name of a user.
            let mut of_unknown = Tally::default();
            of_unknown.add_other(tally.other());
            for ((_, port), connections) in tally.each() {
                of_unknown.add(&Host::Unknown, port, connections);
            }
            tally = of_unknown;
        }
        if let Some(port) = self.total.as_ref().and_then(|total| total.port) {
            tally = tally.with_port(port);
        }
        let is_by_others = self.has_groups || (!is_by_address && self.sum > 0);
        let partial = if self.total.as_ref().is_some_and(|total| total.only_new) {
            Some("--known")
        } else if is_by_others {
            Some("--by")
        } else {
            self.has_left_off.then_some("--top")
        };
        Run {
            partial,
            discrepancies: Discrepancies {
                at_least: self.total.is_some_and(|total| total.at_least),
                ..Discrepancies::default()
            },
            stats: ReadStats {
                lower_bounds: self.has_lower_bounds,
                ..ReadStats::default()
            },
            ..Run::printed(tally)
        }
    }
}
