//! The guest's messages about each run, and the table made from them.

use std::fmt::{self, Display, Write as _};

use anyhow::{Context as _, Result};

use super::rows::ROWS;
use super::verdict::Lines;
use crate::spread::Spread;
use crate::table::Table;

const PREFIX: &str = "rate";

/// One run of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    /// Connections a second.
    pub(super) rate: f64,
    pub(super) lines: Lines,
}

/// The message about one run of the row with this index.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) row: usize,
    pub(super) figure: Result<Figure, String>,
}

impl Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX} {} ", self.row)?;
        match &self.figure {
            Err(why) => write!(f, "failed {}", why.replace('\n', " ")),
            Ok(Figure { rate, lines }) => write!(f, "{rate} {} {}", lines.total, lines.lost),
        }
    }
}

impl Message {
    /// Parses a line of the console; None if it is something else.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (row, rest) = line.strip_prefix(PREFIX)?.trim_start().split_once(' ')?;
        let row = row.parse().ok().filter(|&row| row < ROWS.len())?;
        if let Some(why) = rest.strip_prefix("failed ") {
            let figure = Err(why.to_owned());
            return Some(Self { row, figure });
        }
        let mut words = rest.split(' ');
        let rate = words.next()?.parse().ok()?;
        let (total, lost) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let lines = Lines { total, lost };
        let figure = Ok(Figure { rate, lines });
        Some(Self { row, figure })
    }

    fn untraced(&self) -> Option<f64> {
        let figure = self.figure.as_ref().ok()?;
        (self.row == 0).then_some(figure.rate)
    }
}

/// The table, and the command lines below it.
pub(super) fn table(messages: &[Message]) -> Result<String> {
    let mut table = Table::new(&[
        "conn-cli",
        "connections a second",
        "percent of untraced",
        "lines lost",
    ]);
    let untraced = Spread::from_values(messages.iter().filter_map(Message::untraced));
    let untraced = untraced.context("nothing was measured without a tracer")?;
    for (number, row) in ROWS.iter().enumerate().skip(1) {
        let mut cells = vec![row.name.to_owned()];
        cells.extend(row_cells(messages, number));
        table.row(cells);
    }
    let mut text = format!("Without a tracer: {untraced} connections a second\n\n{table}\n```sh\n");
    for row in &ROWS[1..] {
        writeln!(text, "{}", row.line)?;
    }
    text += "```";
    Ok(text)
}

fn row_cells(messages: &[Message], row: usize) -> Vec<String> {
    let row_messages = messages.iter().filter(|message| message.row == row);
    let failed = row_messages
        .clone()
        .find_map(|run| run.figure.as_ref().err());
    let figures: Vec<_> = row_messages
        .filter_map(|run| run.figure.clone().ok())
        .collect();
    let rates = Spread::from_values(figures.iter().map(|figure| figure.rate));
    let rates = match (rates, failed) {
        (_, Some(why)) => return vec![format!("FAILED: {why}")],
        (None, None) => return vec!["FAILED: did not run".to_owned()],
        (Some(rates), None) => rates,
    };
    let percents = Spread::from_values(percents(messages, row).into_iter());
    let sum = |value: fn(&Lines) -> u64| figures.iter().map(|figure| value(&figure.lines)).sum();
    let (total, lost): (u64, u64) = (sum(|lines| lines.total), sum(|lines| lines.lost));
    vec![
        rates.to_string(),
        percents.map_or(not_applicable(), |percents| format!("{percents:.1}")),
        match total {
            0 => not_applicable(),
            _ => format!("{lost} of {total}"),
        },
    ]
}

/// Each run of a row in percent of the runs without a tracer before and after it, because the
/// machine's speed changes from minute to minute.
fn percents(messages: &[Message], row: usize) -> Vec<f64> {
    let mut percents = Vec::new();
    for (index, run) in messages.iter().enumerate() {
        let Ok(figure) = &run.figure else {
            continue;
        };
        if run.row != row {
            continue;
        }
        let before = messages[..index].last().and_then(Message::untraced);
        let after = messages.get(index + 1).and_then(Message::untraced);
        let neighbours: Vec<_> = before.into_iter().chain(after).collect();
        if !neighbours.is_empty() {
            let untraced = neighbours.iter().sum::<f64>() / neighbours.len() as f64;
            percents.push(100.0 * figure.rate / untraced);
        }
    }
    percents
}

/// Shown for a value that does not apply.
fn not_applicable() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(row: usize, rate: f64) -> Message {
        let lines = match row {
            0 => Lines::default(),
            _ => Lines { total: 7, lost: 1 },
        };
        let figure = Ok(Figure { rate, lines });
        Message { row, figure }
    }

    fn failed(row: usize) -> Message {
        let figure = Err("it ended".to_owned());
        Message { row, figure }
    }

    #[test]
    fn messages_are_parsed_as_printed() {
        for message in [measured(0, 2000.0), measured(3, 1234.5678), failed(2)] {
            assert_eq!(Message::parse(&message.to_string()), Some(message));
        }
        assert_eq!(Message::parse("rate 3 7 8"), None);
        assert_eq!(Message::parse("rate 3000 1 2 3"), None);
    }

    #[test]
    fn runs_are_compared_with_their_untraced_neighbours() {
        let runs = [
            measured(0, 100.0),
            measured(1, 75.0),
            measured(0, 200.0),
            measured(2, 100.0),
            failed(0),
            measured(1, 75.0),
            measured(0, 150.0),
        ];
        assert_eq!(percents(&runs, 1), [50.0, 50.0]);
        assert_eq!(percents(&runs, 2), [50.0]);
        assert_eq!(percents(&[measured(1, 75.0), failed(0)], 1), [0.0; 0]);
    }

    #[test]
    fn table_shows_rates_and_failures() {
        let runs = [
            measured(0, 100.0),
            measured(1, 90.0),
            measured(0, 100.0),
            failed(2),
            measured(0, 100.0),
            measured(1, 80.0),
            measured(0, 100.0),
            measured(1, 95.0),
        ];
        let text = table(&runs).unwrap();
        let row = |name: &str| {
            let start = format!("| {name} ");
            let line = text.lines().find(|line| line.starts_with(&start));
            let words: Vec<_> = line.unwrap().split_whitespace().collect();
            words.join(" ")
        };
        assert!(
            row(ROWS[1].name).ends_with("| 90 (80..95) | 90.0 (80.0..95.0) | 3 of 21 |"),
            "{text}"
        );
        assert!(row(ROWS[2].name).contains("FAILED: it ended"));
        assert!(row(ROWS[3].name).contains("FAILED: did not run"));
    }
}
