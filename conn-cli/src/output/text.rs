//! The text for people and for scripts that read the SystemTap script's output.

use std::{io, iter::once};

use anstyle::{AnsiColor, Style};

use super::{
    Clock, Rows,
    columns::{Columns, FOR_ALL, missing_columns},
    long::put_line,
    look::Look,
    over::{self, OverWords},
    put,
    quick::{put_host, put_number},
    style::{Escapes, shown},
    total::{Counted, last_line},
};
use crate::{
    count::interval::Interval,
    model::{
        connection::{Connection, When},
        group::GroupKey,
        names::NetworkNames,
        over::Over,
        stage::Stage,
    },
    report::Report,
    system::terminal::{self, Size},
};

const TIME: Style = Style::new().dimmed();
const ADDRESS: Style = AnsiColor::Cyan.on_default();
const TITLE: Style = Style::new().bold();

/// The lines that the screen should show besides the clients, the total and the messages: the heading,
/// those left off, and the shell's prompt.
const BESIDES: usize = 3;

/// The bytes of most lines of the list.
const LINE_LEN: usize = 64;

/// The fewest clients that are listed, however small the screen is.
const FEWEST: usize = 5;

/// Writes lines of text.
#[derive(Debug)]
pub(crate) struct Text {
    clock: Clock,
    look: Look,
    time: Escapes,
    address: Escapes,
    /// One for each stage, as in [`Stage::ALL`].
    prefixes: [LinePrefix; Stage::ALL.len()],
    rows: Option<Rows>,
    over: OverWords,
}

/// The part of a line before the address. Lines come in bursts and times are in seconds, so it is
/// cached as long as it is the same.
#[derive(Debug, Default)]
struct LinePrefix {
    when: String,
    text: String,
}

impl LinePrefix {
    fn set(&mut self, when: &str, what: &str, time: &Escapes, address: &Escapes) {
        when.clone_into(&mut self.when);
        self.text.clear();
        let parts = [&time.on, when, &time.off, " ", what, " from ", &address.on];
        self.text.extend(parts);
    }
}

impl Text {
    /// The clock formats the times.
    #[must_use]
    pub(crate) fn new(clock: Clock, look: Look) -> Self {
        Self {
            clock,
            look,
            time: Escapes::new(TIME, look.colour),
            address: Escapes::new(ADDRESS, look.colour),
            prefixes: Default::default(),
            rows: None,
            over: OverWords::default(),
        }
    }

    /// The same with rows for intervals.
    #[must_use]
    pub(crate) fn with_rows(self, rows: Rows) -> Self {
        let rows = Some(rows);
        Self { rows, ..self }
    }

    /// The same with these words for what is counted for `--over`.
    #[must_use]
    pub(crate) fn with_over(self, over: OverWords) -> Self {
        Self { over, ..self }
    }

    /// The line of one that makes too many connections, or no longer does.
    pub(crate) fn over(&mut self, out: &mut Vec<u8>, over: &Over) {
        let styles = (&self.time, &self.address);
        over::put_text(out, &mut self.clock, over, &self.over, styles);
    }

    /// A row for an interval.
    pub(crate) fn interval(&mut self, out: &mut Vec<u8>, interval: &Interval) {
        if let Some(rows) = &mut self.rows {
            let screen = terminal::size(io::stdout());
            rows.row(out, interval, screen.map(|screen| screen.columns));
        }
    }

    /// `Mon Mar 17 04:13:03 2014 New connection from 192.168.122.1`; with [`Look::long`] see [`put_line`].
    pub(crate) fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        let stage = connection.stage();
        let when = match &connection.time {
            When::At(timestamp) => self.clock.text(*timestamp),
            When::Recorded(when) => &when.text,
            When::Clock(_) | When::Unknown => "(no time)",
        };
        if self.look.long {
            let when = (when, &self.time);
            let stage = self.look.names_stage.then(|| word(stage));
            let name = NetworkNames::of(self.look.names, &connection.remote);
            return put_line(out, when, stage, connection, (&self.address, name));
        }
        let prefix = &mut self.prefixes[stage as usize];
        if prefix.when != when {
            let what = if self.look.names_stage {
                word(stage)
            } else {
                "New connection"
            };
            prefix.set(when, what, &self.time, &self.address);
        }
        out.extend_from_slice(prefix.text.as_bytes());
        put_host(out, &connection.remote);
        if self.look.colour {
            out.extend_from_slice(self.address.off.as_bytes());
        }
        if let (true, Some(port)) = (self.look.names_port, connection.local_port) {
            out.extend_from_slice(b" to port ");
            put_number(out, port);
        }
        out.push(b'\n');
    }

    /// An empty line, a title, a line for each client, and one with the total.
    pub(crate) fn report<'a>(
        &'a mut self,
        report: &'a Report,
        name: &str,
    ) -> Box<dyn Iterator<Item = String> + 'a> {
        let style = self.style(TITLE);
        let title = once(format!("\n{style}=== {name} ==={style:#}\n"));
        let total = once(last_line(report, &self.clock) + "\n");
        if self.is_table(report) {
            let styles = (self.style(TITLE), self.style(ADDRESS));
            let table = Columns::new(report, &mut self.clock, &self.look);
            Box::new(title.chain(table.lines(styles)).chain(total))
        } else {
            Box::new(title.chain(self.list(report)).chain(total))
        }
    }

    /// Which columns of [`Look::long`] a report lacks.
    pub(super) fn notes(&self, report: &Report) -> Vec<String> {
        let mut notes = if self.look.long {
            missing_columns(report)
        } else {
            Vec::new()
        };
        if report.rows.has_lower_bounds() {
            notes.push("note: ~ is before a lower bound: more may be under \"other\"".to_owned());
        }
        notes
    }

    /// For how many clients of a report a screen has room beside these messages.
    pub(crate) fn room(&self, report: &Report, screen: Size, messages: &[String]) -> usize {
        let titles_and_sums = if self.is_table(report) { 2 } else { 0 };
        let total = last_line(report, &self.clock);
        let texts = messages.iter().chain([&total]);
        let texts: usize = texts.map(|text| screen.lines(text)).sum();
        let room = screen
            .rows
            .saturating_sub(BESIDES + titles_and_sums + texts);
        room.max(FEWEST)
    }

    fn is_table(&self, report: &Report) -> bool {
        self.look.long || report.earlier_stages().next().is_some()
    }

    /// `192.168.122.1: 2`
    fn list<'a>(&self, report: &'a Report) -> impl Iterator<Item = String> + use<'a> {
        let Escapes { on, off } = self.address.clone();
        let clients = report
            .rows
            .counts()
            .map(move |(key, connections, at_least)| {
                // There can be millions of them.
                let mut line = Vec::with_capacity(LINE_LEN);
                line.extend_from_slice(on.as_bytes());
                match &key {
                    GroupKey::Client(host) => put_host(&mut line, host),
                    key => put(&mut line, format_args!("{key}")),
                }
                line.extend_from_slice(off.as_bytes());
                line.extend_from_slice(b": ");
                line.extend(at_least.then_some(b'~'));
                put_number(&mut line, connections);
                line.push(b'\n');
                String::from_utf8(line).expect("hosts and keys are text")
            });
        let mut lacks_room = report.lacks_room();
        let rest = report.without_row().into_iter().map(move |(key, counts)| {
            let connections: u64 = counts.iter().sum();
            if std::mem::take(&mut lacks_room) {
                let counted = Counted {
                    number: connections,
                    at_least: false,
                    stage: report.counted(),
                };
                format!("{key}: {counted} {FOR_ALL}\n")
            } else {
                format!("{key}: {connections}\n")
            }
        });
        clients.chain(rest)
    }

    fn style(&self, style: Style) -> Style {
        shown(style, self.look.colour)
    }
}

/// What lines call a stage.
fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Syn => "SYN",
        Stage::Established => "Established",
        Stage::Accepted => "Accepted",
    }
}
