//! What the guest tells of each run, and the table that comes of it.

use std::fmt::{self, Display, Write as _};

use anyhow::{Context as _, Result};

use super::rows::ROWS;
use super::verdict::Lines;
use crate::bench::spread::Spread;
use crate::bench::table::Table;

const PREFIX: &str = "rate";

/// One run of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    /// Connections a second.
    pub(super) rate: f64,
    pub(super) lines: Lines,
}

/// What the guest says of one run of the row of this number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) row: usize,
    pub(super) figure: Result<Figure, String>,
}

impl Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX} {} ", self.row)?;
        match &self.figure {
            Err(why) => write!(f, "failed {}", why.replace('\n', " ")),
            Ok(Figure { rate, lines }) => write!(f, "{rate} {} {}", lines.wanted, lines.lost),
        }
    }
}

impl Said {
    /// Reads a line of the console; None if it is another.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (row, rest) = line.strip_prefix(PREFIX)?.trim_start().split_once(' ')?;
        let row = row.parse().ok().filter(|&row| row < ROWS.len())?;
        if let Some(why) = rest.strip_prefix("failed ") {
            let figure = Err(why.to_owned());
            return Some(Self { row, figure });
        }
        let mut words = rest.split(' ');
        let rate = words.next()?.parse().ok()?;
        let (wanted, lost) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let lines = Lines { wanted, lost };
        let figure = Ok(Figure { rate, lines });
        Some(Self { row, figure })
    }

    fn untraced(&self) -> Option<f64> {
        let figure = self.figure.as_ref().ok()?;
        (self.row == 0).then_some(figure.rate)
    }
}

/// The table, and the command lines below it.
pub(super) fn table(said: &[Said]) -> Result<String> {
    let mut table = Table::new(&[
        "conn-cli",
        "connections a second",
        "percent of untraced",
        "lines lost",
    ]);
    let untraced = Spread::of(said.iter().filter_map(Said::untraced));
    let untraced = untraced.context("nothing was measured without a tracer")?;
    for (number, row) in ROWS.iter().enumerate().skip(1) {
        let mut cells = vec![row.name.to_owned()];
        cells.extend(cells_of(said, number));
        table.row(cells);
    }
    let mut text = format!("Without a tracer: {untraced} connections a second\n\n{table}\n```sh\n");
    for row in &ROWS[1..] {
        writeln!(text, "{}", row.line)?;
    }
    text += "```";
    Ok(text)
}

fn cells_of(said: &[Said], row: usize) -> Vec<String> {
    let of_row = said.iter().filter(|said| said.row == row);
    let failed = of_row.clone().find_map(|said| said.figure.as_ref().err());
    let figures: Vec<_> = of_row.filter_map(|said| said.figure.clone().ok()).collect();
    let rates = Spread::of(figures.iter().map(|figure| figure.rate));
    let rates = match (rates, failed) {
        (_, Some(why)) => return vec![format!("FAILED: {why}")],
        (None, None) => return vec!["FAILED: did not run".to_owned()],
        (Some(rates), None) => rates,
    };
    let percents = Spread::of(percents(said, row).into_iter());
    let sum = |of: fn(&Lines) -> u64| figures.iter().map(|figure| of(&figure.lines)).sum();
    let (wanted, lost): (u64, u64) = (sum(|lines| lines.wanted), sum(|lines| lines.lost));
    vec![
        rates.to_string(),
        percents.map_or(nothing(), |percents| format!("{percents:.1}")),
        match wanted {
            0 => nothing(),
            _ => format!("{lost} of {wanted}"),
        },
    ]
}

/// Each run of a row in percent of the runs without a tracer before and after it: how fast the
/// machine is changes from minute to minute.
fn percents(said: &[Said], row: usize) -> Vec<f64> {
    let mut percents = Vec::new();
    for (place, run) in said.iter().enumerate() {
        let Ok(figure) = &run.figure else {
            continue;
        };
        if run.row != row {
            continue;
        }
        let before = said[..place].last().and_then(Said::untraced);
        let after = said.get(place + 1).and_then(Said::untraced);
        let neighbours: Vec<_> = before.into_iter().chain(after).collect();
        if !neighbours.is_empty() {
            let untraced = neighbours.iter().sum::<f64>() / neighbours.len() as f64;
            percents.push(100.0 * figure.rate / untraced);
        }
    }
    percents
}

/// Stands for what does not apply.
fn nothing() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(row: usize, rate: f64) -> Said {
        let lines = match row {
            0 => Lines::default(),
            _ => Lines { wanted: 7, lost: 1 },
        };
        let figure = Ok(Figure { rate, lines });
        Said { row, figure }
    }

    fn failed(row: usize) -> Said {
        let figure = Err("it ended".to_owned());
        Said { row, figure }
    }

    #[test]
    fn a_run_survives_the_console() {
        for said in [said(0, 2000.0), said(3, 1234.5678), failed(2)] {
            assert_eq!(Said::parse(&said.to_string()), Some(said));
        }
        assert_eq!(Said::parse("rate 3 7 8"), None);
        assert_eq!(Said::parse("rate 3000 1 2 3"), None);
    }

    #[test]
    fn a_run_is_compared_with_its_neighbours() {
        let runs = [
            said(0, 100.0),
            said(1, 75.0),
            said(0, 200.0),
            said(2, 100.0),
            failed(0),
            said(1, 75.0),
            said(0, 150.0),
        ];
        assert_eq!(percents(&runs, 1), [50.0, 50.0]);
        assert_eq!(percents(&runs, 2), [50.0]);
        assert_eq!(percents(&[said(1, 75.0), failed(0)], 1), [0.0; 0]);
    }

    #[test]
    fn shows_rates_and_what_failed() {
        let runs = [
            said(0, 100.0),
            said(1, 90.0),
            said(0, 100.0),
            failed(2),
            said(0, 100.0),
            said(1, 80.0),
            said(0, 100.0),
            said(1, 95.0),
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
