//! Puts together what the lines of conn-cli's own text say only together: the rows of a summary, and which stage
//! of a run counts. It takes the lines in their order, and makes of them the events that other formats have.

mod stages;
mod summary;

use std::mem;

use self::{stages::Stages, summary::Summary};
use crate::{
    count::tally::{Room, Tally},
    model::printed::{
        is_comparison,
        message::{interval, is_start},
        summary::{Heading, heading},
    },
    read::{
        batch::Batch,
        event::{Event, FirstParseError, Run},
    },
    system::text::quoted,
};

/// Why an input is refused.
const COMPARISON: &str = "a comparison of two inputs, which cannot be counted: read the inputs";

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct OwnText {
    summary: Summary,
    stages: Stages,
    /// The connections in the rows of intervals, of a run whose summary has not come.
    in_intervals: u64,
    room: Option<Room>,
}

impl OwnText {
    /// None so far, with this room for the clients of a summary.
    pub(super) fn within(room: Option<Room>) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    /// Replaces events of single lines by those that they are together. Returns why the input is refused from
    /// there on, if it is.
    pub(super) fn arrange(&mut self, batch: &mut Batch) -> Option<&'static str> {
        let mut arranged = Vec::with_capacity(batch.events.len());
        let mut first = batch.first_not_understood.take();
        let (mut is_placed, mut refusal) = (false, None);
        for (index, event) in mem::take(&mut batch.events).into_iter().enumerate() {
            if let Some(first) = &mut first
                && first.events_before <= index
                && !mem::replace(&mut is_placed, true)
            {
                first.events_before = arranged.len();
            }
            match event {
                Event::Connection(connection) => {
                    self.end_run(&mut arranged);
                    arranged.push(Event::Connection(connection));
                }
                Event::Stage(stage, connection) => {
                    self.end_summary(&mut arranged);
                    let decided = self.stages.take(stage, connection);
                    arranged.extend(decided.into_iter().map(Event::Connection));
                }
                Event::Printed(printed) if is_comparison(&printed.text) => {
                    refusal = Some(COMPARISON);
                    // What follows does not matter.
                    if first
                        .as_ref()
                        .is_none_or(|first| first.index > printed.number)
                    {
                        (first, batch.not_understood) = (None, 0);
                    }
                    break;
                }
                Event::Printed(printed) => {
                    let Err(parse_error) = self.take(&printed.text, &mut arranged) else {
                        continue;
                    };
                    batch.not_understood += 1;
                    if first
                        .as_ref()
                        .is_none_or(|first| printed.number < first.index)
                    {
                        first = Some(FirstParseError {
                            index: printed.number,
                            parse_error,
                            line: quoted(printed.text.as_bytes()),
                            events_before: arranged.len(),
                        });
                        is_placed = true;
                    }
                }
                event => arranged.push(event),
            }
        }
        if let (Some(first), false) = (&mut first, is_placed) {
            first.events_before = arranged.len();
        }
        batch.first_not_understood = first;
        batch.events = arranged;
        refusal
    }

    /// What the end of the last input makes of its last lines.
    pub(super) fn end(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.end_run(&mut events);
        if self.in_intervals > 0 {
            events.push(self.intervals());
        }
        events
    }

    fn take(&mut self, line: &str, events: &mut Vec<Event>) -> Result<(), &'static str> {
        if is_start(line.trim_ascii()) {
            // The lines before are of a run without a summary.
            events.extend(self.end());
            let mut nothing = Run::printed(Tally::default());
            nothing.lines_shown = Some(0);
            events.push(Event::Run(Box::new(nothing)));
            return Ok(());
        }
        if let Some(connections) = interval(line.trim_ascii()) {
            self.end_summary(events);
            self.in_intervals = self.in_intervals.saturating_add(connections);
            return Ok(());
        }
        match heading(line) {
            Some(Heading::Summary) => {
                self.end_run(events);
                self.summary = Summary::begin(self.room);
                Ok(())
            }
            Some(Heading::SoFar) => {
                self.end_summary(events);
                self.summary = Summary::SoFar;
                Ok(())
            }
            None => {
                let taken = self.summary.take(line);
                if self.summary.is_complete() {
                    self.end_summary(events);
                }
                taken
            }
        }
    }

    /// Ends a summary, and decides which stage of the run after it counts.
    fn end_run(&mut self, events: &mut Vec<Event>) {
        self.end_summary(events);
        let decided = self.stages.end();
        events.extend(decided.into_iter().map(Event::Connection));
    }

    fn end_summary(&mut self, events: &mut Vec<Event>) {
        if let Some(run) = self.summary.end() {
            // They are of this run, or of one without a summary before it.
            self.in_intervals = self.in_intervals.saturating_sub(run.tally.connections());
            events.push(Event::Run(Box::new(run)));
            if self.in_intervals > 0 {
                events.push(self.intervals());
            }
        }
    }

    /// A run of which only the rows of intervals are known.
    fn intervals(&mut self) -> Event {
        let mut tally = Tally::default();
        tally.add_other(mem::take(&mut self.in_intervals));
        Event::Run(Box::new(Run {
            partial: Some("--interval"),
            // The lines are of other runs.
            lines_shown: Some(0),
            ..Run::printed(tally)
        }))
    }
}
