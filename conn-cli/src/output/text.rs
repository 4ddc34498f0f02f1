//! The text for people and for scripts that read the SystemTap script's output.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Clock, Rows, brief::brief, table::Table};
use crate::{
    connection::{Connection, Stage, When},
    interval::Interval,
    profile::Profile,
    summary::{Origin, Row, Summary},
};

const TIME: Style = Style::new().dimmed();
const ADDRESS: Style = AnsiColor::Cyan.on_default();
const TITLE: Style = Style::new().bold();

/// Writes lines of text.
#[derive(Debug)]
pub struct Text {
    clock: Clock,
    look: Look,
    rows: Option<Rows>,
}

/// What lines have besides the time and the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// The local port.
    pub names_port: bool,
    /// The stage, since it is not always the last.
    pub names_stage: bool,
    /// How long it waited to be accepted, and in the summary all that is known.
    pub long: bool,
    /// Colours.
    pub colour: bool,
}

impl Text {
    /// Times are as the clock has them.
    #[must_use]
    pub fn new(clock: Clock, look: Look) -> Self {
        let rows = None;
        Self { clock, look, rows }
    }

    /// Intervals get rows of this kind.
    #[must_use]
    pub fn with_rows(self, rows: Rows) -> Self {
        let rows = Some(rows);
        Self { rows, ..self }
    }

    /// A row for an interval.
    pub fn interval(&mut self, out: &mut Vec<u8>, interval: &Interval) {
        if let Some(rows) = &mut self.rows {
            rows.row(out, interval);
        }
    }

    /// `Mon Mar 17 04:13:03 2014 New connection from 192.168.122.1`
    pub fn connection(&mut self, out: &mut Vec<u8>, connection: &Connection) {
        let (time, address) = (self.style(TIME), self.style(ADDRESS));
        match &connection.time {
            When::At(moment) => {
                let when = self.clock.text(*moment);
                put(out, format_args!("{time}{when}{time:#}"));
            }
            When::Recorded(when) => {
                let (when, lacks) = (&when.text, when.lacks);
                put(out, format_args!("{time}{when} ({lacks}){time:#}"));
            }
            When::Unknown => put(out, format_args!("{time}(no time){time:#}")),
        }
        let what = match connection.stage() {
            _ if !self.look.names_stage => "New connection",
            Stage::Syn => "SYN",
            Stage::Established => "Established",
            Stage::Accepted => "Accepted",
        };
        let who = &connection.remote;
        put(out, format_args!(" {what} from {address}{who}{address:#}"));
        if let (true, Some(port)) = (self.look.names_port, connection.local_port) {
            put(out, format_args!(" to port {port}"));
        }
        if let (true, Some(wait)) = (self.look.long, connection.wait) {
            put(out, format_args!(" after {}", brief(wait)));
        }
        out.push(b'\n');
    }

    /// An empty line, a title, and a line for each client.
    pub fn summary(&mut self, out: &mut Vec<u8>, summary: &Summary) {
        let title = self.style(TITLE);
        put(out, format_args!("\n{title}=== Summary ==={title:#}\n"));
        if self.look.long || summary.earlier_stages().next().is_some() {
            self.table(out, summary);
        } else {
            self.list(out, summary);
        }
    }

    /// `192.168.122.1: 2`
    fn list(&self, out: &mut Vec<u8>, summary: &Summary) {
        let address = self.style(ADDRESS);
        for row in &summary.rows {
            let (who, connections) = (&row.who, row.connections);
            put(
                out,
                format_args!("{address}{who}{address:#}: {connections}\n"),
            );
        }
        for (who, connections) in rest(summary) {
            put(out, format_args!("{who}: {connections}\n"));
        }
    }

    fn table(&mut self, out: &mut Vec<u8>, summary: &Summary) {
        let stages: Vec<Stage> = summary.earlier_stages().collect();
        let last = match &summary.origin {
            Origin::Kernel(live) if !stages.is_empty() => live.backend.stage().name(),
            _ => "connections",
        };
        let mut titles = vec![summary.by.nouns().0.to_owned()];
        titles.extend(stages.iter().map(|stage| stage.name().to_owned()));
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
        let columns = titles.len();
        let mut table = Table::new(titles);
        for row in &summary.rows {
            let counts = stages.iter().filter_map(|stage| row.earlier.get(stage));
            let counts = counts.copied().chain([row.connections]);
            let mut cells = vec![row.who.to_string()];
            cells.extend(counts.map(|count| count.to_string()));
            if self.look.long {
                cells.extend(self.details(row, summary.connections));
            }
            table.row(cells);
        }
        for (who, counts) in sums(summary, &stages) {
            let mut cells = vec![who];
            cells.extend(counts.into_iter().map(|count| count.to_string()));
            cells.resize(columns, String::new());
            table.row(cells);
        }
        let (title, address) = (self.style(TITLE), self.style(ADDRESS));
        let clients = 1..=summary.rows.len();
        table.write(out, |number, cell| match number {
            0 => format!("{title}{cell}{title:#}"),
            number if clients.contains(&number) => format!("{address}{cell}{address:#}"),
            _ => cell.to_owned(),
        });
    }

    fn details(&mut self, row: &Row, connections: u64) -> [String; 6] {
        let profile = row.profile.clone().unwrap_or_default();
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
        let (wait, longest) = waits(&profile);
        let peak = match profile.peak {
            0 => "-".to_owned(),
            peak => peak.to_string(),
        };
        [share, first, last, peak, wait, longest]
    }

    fn style(&self, style: Style) -> Style {
        if self.look.colour {
            style
        } else {
            Style::new()
        }
    }
}

/// The mean and the longest wait.
fn waits(profile: &Profile) -> (String, String) {
    match profile.mean_wait() {
        Some(mean) => (brief(mean), brief(profile.longest_wait)),
        None => ("-".to_owned(), "-".to_owned()),
    }
}

/// What has no row of its own.
fn rest(summary: &Summary) -> Vec<(String, u64)> {
    let mut rest = Vec::new();
    if let Some(left_off) = &summary.left_off {
        rest.push((format!("{} more", left_off.rows), left_off.connections));
    }
    rest.push(("unknown".to_owned(), summary.unknown_clients));
    rest.push(("other".to_owned(), summary.other_clients));
    rest.retain(|(_, connections)| *connections > 0);
    rest
}

/// The rows below those of the clients, with their counts at each stage.
fn sums(summary: &Summary, stages: &[Stage]) -> Vec<(String, Vec<u64>)> {
    let mut sums = Vec::new();
    if let Some(left_off) = &summary.left_off {
        let mut counts: Vec<u64> = left_off.earlier.values().copied().collect();
        counts.push(left_off.connections);
        sums.push((format!("{} more", left_off.rows), counts));
    }
    let mut of = |who: &str, earlier: &dyn Fn(Stage) -> u64, last: u64| {
        let mut counts: Vec<u64> = stages.iter().map(|stage| earlier(*stage)).collect();
        counts.push(last);
        if counts.iter().any(|count| *count > 0) {
            sums.push((who.to_owned(), counts));
        }
    };
    of("unknown", &|_| 0, summary.unknown_clients);
    let live = match &summary.origin {
        Origin::Kernel(live) => Some(live),
        Origin::Records(_) => None,
    };
    let other = |stage| live.and_then(|live| live.others.get(&stage).copied());
    of(
        "other",
        &|stage| other(stage).unwrap_or(0),
        summary.other_clients,
    );
    let total = |stage| live.and_then(|live| live.stages.get(&stage).copied());
    of(
        "total",
        &|stage| total(stage).unwrap_or(0),
        summary.connections,
    );
    sums
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to memory does not fail");
}
