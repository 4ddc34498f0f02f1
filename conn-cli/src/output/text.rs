//! The text for people and for scripts that read the SystemTap script's output.

use std::iter::once;

use anstyle::{AnsiColor, Style};

use super::{
    Clock, Rows,
    brief::brief,
    put,
    quick::{put_host, put_number},
    table::Table,
};
use crate::{
    count::{interval::Interval, profile::Profile},
    model::{
        connection::{Connection, When},
        stage::Stage,
    },
    report::{Report, Row},
};

const TIME: Style = Style::new().dimmed();
const ADDRESS: Style = AnsiColor::Cyan.on_default();
const TITLE: Style = Style::new().bold();

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
}

/// What lines contain besides the time and the client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// The local port.
    pub names_port: bool,
    /// The stage, since it is not always the last.
    pub names_stage: bool,
    /// How long it waited to be accepted, and in the summary every known detail.
    pub long: bool,
    /// Colours.
    pub colour: bool,
}

/// The escape sequences before and after styled text.
#[derive(Debug)]
struct Escapes {
    on: String,
    off: String,
}

impl Escapes {
    fn new(style: Style, colour: bool) -> Self {
        let style = shown(style, colour);
        Self {
            on: style.render().to_string(),
            off: style.render_reset().to_string(),
        }
    }
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
        }
    }

    /// The same with rows for intervals.
    #[must_use]
    pub(crate) fn with_rows(self, rows: Rows) -> Self {
        let rows = Some(rows);
        Self { rows, ..self }
    }

    /// A row for an interval.
    pub(crate) fn interval(&mut self, out: &mut Vec<u8>, interval: &Interval) {
        if let Some(rows) = &mut self.rows {
            rows.row(out, interval);
        }
    }

    /// `Mon Mar 17 04:13:03 2014 New connection from 192.168.122.1`
    pub(crate) fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        let stage = connection.stage();
        let recorded;
        let when = match &connection.time {
            When::At(timestamp) => self.clock.text(*timestamp),
            When::Recorded(when) => {
                recorded = format!("{} ({})", when.text, when.lacks);
                &recorded
            }
            When::Unknown => "(no time)",
        };
        let prefix = &mut self.prefixes[stage as usize];
        if prefix.when != when {
            let what = match stage {
                _ if !self.look.names_stage => "New connection",
                Stage::Syn => "SYN",
                Stage::Established => "Established",
                Stage::Accepted => "Accepted",
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
        if let (true, Some(wait)) = (self.look.long, connection.wait) {
            put(out, format_args!(" after {}", brief(wait)));
        }
        out.push(b'\n');
    }

    /// An empty line, a title, and a line for each client.
    pub(crate) fn report<'a>(
        &'a mut self,
        report: &'a Report,
        name: &str,
    ) -> Box<dyn Iterator<Item = String> + 'a> {
        let style = self.style(TITLE);
        let title = once(format!("\n{style}=== {name} ==={style:#}\n"));
        if self.look.long || report.earlier_stages().next().is_some() {
            Box::new(title.chain(self.table(report)))
        } else {
            Box::new(title.chain(self.list(report)))
        }
    }

    /// `192.168.122.1: 2`
    fn list<'a>(&self, report: &'a Report) -> impl Iterator<Item = String> + use<'a> {
        let address = self.style(ADDRESS);
        let clients = report.rows.iter().map(move |row| {
            let (key, connections) = (&row.key, row.connections);
            format!("{address}{key}{address:#}: {connections}\n")
        });
        let rest = report.without_row().into_iter().map(|(key, counts)| {
            let connections: u64 = counts.iter().sum();
            format!("{key}: {connections}\n")
        });
        clients.chain(rest)
    }

    fn table<'a>(&'a mut self, report: &'a Report) -> impl Iterator<Item = String> + 'a {
        let (title, address) = (self.style(TITLE), self.style(ADDRESS));
        let titles = self.titles(report);
        let rest = rest(report);
        let mut table = Table::new(titles.len());
        for row in &rest {
            table.fit(row);
        }
        table.fit(&titles);
        for row in report.rows.iter() {
            table.fit(&self.cells(report, &row));
        }
        let titles = once(table.line(&titles, title));
        let rest: Vec<_> = { rest.iter() }
            .map(|cells| table.line(cells, Style::new()))
            .collect();
        let clients = report.rows.iter();
        let clients = clients.map(move |row| table.line(&self.cells(report, &row), address));
        titles.chain(clients).chain(rest)
    }

    fn titles(&self, report: &Report) -> Vec<String> {
        let earlier = report.earlier_titles();
        let last = match report.live() {
            Some(live) if !earlier.is_empty() => live.counted.name(),
            _ => "connections",
        };
        let mut titles = vec![report.by.nouns().0.to_owned()];
        titles.extend(earlier.into_iter().map(str::to_owned));
        titles.push(last.to_owned());
        if self.look.long {
            let long = [
                "share",
                "first seen",
                "last seen",
                "peak/s",
                "wait",
                "longest",
            ];
            titles.extend(long.map(str::to_owned));
        }
        titles
    }

    fn cells(&mut self, report: &Report, row: &Row) -> Vec<String> {
        let counts = report.counts(Some(&row.earlier), row.refused, row.connections);
        let mut cells = vec![row.key.to_string()];
        cells.extend(counts.iter().map(u64::to_string));
        if self.look.long {
            cells.extend(self.details(row, report.connections));
        }
        cells
    }

    fn details(&mut self, row: &Row, connections: u64) -> [String; 6] {
        let unknown = Profile::default();
        let profile = row.profile.as_ref().unwrap_or(&unknown);
        let share = match connections {
            0 => "-".to_owned(),
            _ => format!(
                "{:.1} %",
                row.connections as f64 * 100.0 / connections as f64
            ),
        };
        let (first, last) = match profile.seen {
            Some((first, last)) => (self.clock.moment(first), self.clock.moment(last)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let (wait, longest) = waits(profile);
        let peak = match profile.peak {
            0 => "-".to_owned(),
            peak => peak.to_string(),
        };
        [share, first, last, peak, wait, longest]
    }

    fn style(&self, style: Style) -> Style {
        shown(style, self.look.colour)
    }
}

/// The rows for what has no row of its own, and for all of it.
fn rest(report: &Report) -> Vec<Vec<String>> {
    let refused = report.live().and_then(|live| live.refused).unwrap_or(0);
    let total = report.live().map(|live| &live.stages);
    let total = report.counts(total, refused, report.connections);
    let is_counted = total.iter().any(|count| *count > 0);
    let total = is_counted.then(|| ("total".to_owned(), total));
    let rest = report.without_row().into_iter().chain(total);
    rest.map(|(key, counts)| {
        let counts = counts.iter().map(u64::to_string);
        [key].into_iter().chain(counts).collect()
    })
    .collect()
}

/// The style, or none without colour.
fn shown(style: Style, colour: bool) -> Style {
    if colour { style } else { Style::new() }
}

/// The mean and the longest wait.
fn waits(profile: &Profile) -> (String, String) {
    match profile.mean_wait() {
        Some(mean) => (brief(mean), brief(profile.longest_wait)),
        None => ("-".to_owned(), "-".to_owned()),
    }
}
