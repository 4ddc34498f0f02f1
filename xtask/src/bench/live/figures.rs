//! What the guest tells of each run, and the table that comes of it.

use std::fmt::{self, Display, Write as _};

use anyhow::{Context as _, Result};

use super::rows::{ROWS, Row};
use crate::bench::table::Table;

const PREFIX: &str = "figure";

/// One run of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figure {
    /// Instructions of all processes for each connection, once all has come to rest.
    pub(super) all: u64,
    /// Those that passed while the client connected.
    pub(super) meanwhile: u64,
    /// Instructions from exec until it was ready; 0 if nothing is started.
    pub(super) ready: u64,
    /// Resident when ready, in KiB; 0 if nothing stays.
    pub(super) resident: u64,
    /// Connections or stages that it tells of one by one, and those that are not there.
    pub(super) told: Option<(u64, u64)>,
}

/// What the guest says of one run of the row of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) row: usize,
    pub(super) figure: Result<Figure, String>,
}

impl Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX} {} ", self.row)?;
        match &self.figure {
            Err(why) => write!(f, "failed {}", why.replace('\n', " ")),
            Ok(figure) => {
                let Figure {
                    all,
                    meanwhile,
                    ready,
                    resident,
                    told,
                } = figure;
                write!(f, "{all} {meanwhile} {ready} {resident}")?;
                told.map_or(Ok(()), |(told, lost)| write!(f, " {told} {lost}"))
            }
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
        let numbers: Vec<u64> = rest.split(' ').map_while(|n| n.parse().ok()).collect();
        let (all, meanwhile, ready, resident, told) = match numbers[..] {
            [all, meanwhile, ready, resident] => (all, meanwhile, ready, resident, None),
            [all, meanwhile, ready, resident, told, lost] => {
                (all, meanwhile, ready, resident, Some((told, lost)))
            }
            _ => return None,
        };
        let figure = Ok(Figure {
            all,
            meanwhile,
            ready,
            resident,
            told,
        });
        Some(Self { row, figure })
    }
}

/// Median, least and most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spread {
    median: i64,
    least: i64,
    most: i64,
}

impl Spread {
    fn of_all(figures: &[Figure], of: fn(&Figure) -> u64) -> Option<Self> {
        let values = figures.iter().map(|figure| of(figure).cast_signed());
        let mut values: Vec<_> = values.collect();
        values.sort_unstable();
        Some(Self {
            median: *values.get(values.len() / 2)?,
            least: *values.first()?,
            most: *values.last()?,
        })
    }

    /// How much more than the median of the other.
    fn above(self, other: Self) -> Self {
        Self {
            median: self.median - other.median,
            least: self.least - other.median,
            most: self.most - other.median,
        }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            least,
            most,
        } = self;
        write!(f, "{median} ({least}..{most})")
    }
}

/// The table, and the command lines below it.
pub(super) fn table(said: &[Said]) -> Result<String> {
    let mut table = Table::new(&[
        "tracer",
        "added to a connection",
        "percent",
        "while it connects",
        "ready after M",
        "resident MiB",
        "lost",
    ]);
    let none = figures(said, 0);
    let all = Spread::of_all(&none, |figure| figure.all);
    let meanwhile = Spread::of_all(&none, |figure| figure.meanwhile);
    let untraced = all.zip(meanwhile);
    let untraced = untraced.context("nothing was measured without a tracer")?;
    for (number, row) in ROWS.iter().enumerate().skip(1) {
        table.row(cells(said, number, row, untraced));
    }
    let mut text = format!(
        "A connection without a tracer: {} instructions, {} while it connects\n\n\
         {table}\n```sh\n",
        untraced.0, untraced.1,
    );
    for row in &ROWS[1..] {
        writeln!(text, "{}", row.line)?;
    }
    text += "```";
    Ok(text)
}

fn cells(said: &[Said], number: usize, row: &Row, untraced: (Spread, Spread)) -> Vec<String> {
    let name = row.name.to_owned();
    let failed = said
        .iter()
        .filter(|said| said.row == number)
        .find_map(|said| said.figure.as_ref().err());
    let figures = figures(said, number);
    let all = Spread::of_all(&figures, |figure| figure.all);
    let meanwhile = Spread::of_all(&figures, |figure| figure.meanwhile);
    let (Some(all), Some(meanwhile)) = (all, meanwhile) else {
        let why = failed.map_or("did not run", String::as_str);
        return vec![name, format!("FAILED: {why}")];
    };
    let (all, meanwhile) = (all.above(untraced.0), meanwhile.above(untraced.1));
    let ready = Spread::of_all(&figures, |figure| figure.ready);
    let resident = Spread::of_all(&figures, |figure| figure.resident);
    let told: Vec<_> = figures.iter().filter_map(|figure| figure.told).collect();
    let (all_told, lost) = told
        .iter()
        .fold((0, 0), |sum, told| (sum.0 + told.0, sum.1 + told.1));
    vec![
        name,
        match failed {
            Some(why) => format!("{all}; FAILED: {why}"),
            None => all.to_string(),
        },
        format!(
            "{:.1} %",
            100.0 * all.median as f64 / untraced.0.median as f64
        ),
        meanwhile.to_string(),
        ready.map_or(nothing(), |ready| match ready.median {
            0 => nothing(),
            median => format!("{:.0}", median as f64 / 1e6),
        }),
        resident.map_or(nothing(), |resident| match resident.most {
            0 => nothing(),
            most => {
                let mib = |kib: i64| kib as f64 / 1024.0;
                format!("{:.1}..{:.1}", mib(resident.least), mib(most))
            }
        }),
        match all_told + lost {
            0 => nothing(),
            all => format!("{lost} of {all}"),
        },
    ]
}

fn figures(said: &[Said], row: usize) -> Vec<Figure> {
    let of_row = said.iter().filter(|said| said.row == row);
    of_row.filter_map(|said| said.figure.clone().ok()).collect()
}

/// Stands for what does not apply.
fn nothing() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(all: u64) -> Figure {
        Figure {
            all,
            meanwhile: all - 10,
            ready: 20_000_000,
            resident: 2048,
            told: Some((7, 1)),
        }
    }

    #[test]
    fn a_run_survives_the_console() {
        let runs = [
            Ok(figure(100)),
            Ok(Figure::default()),
            Err("no such file".to_owned()),
        ];
        for figure in runs {
            let said = Said { row: 3, figure };
            assert_eq!(Said::parse(&said.to_string()), Some(said));
        }
        assert_eq!(Said::parse("figure 3 7"), None);
        assert_eq!(Said::parse("figure 3000 1 2 3 4"), None);
    }

    #[test]
    fn shows_what_is_added_and_what_failed() {
        let runs = [(0, 100), (1, 150), (0, 110), (1, 165), (0, 100), (1, 130)];
        let mut said: Vec<_> = runs
            .map(|(row, all)| Said {
                row,
                figure: Ok(figure(all)),
            })
            .into();
        said.push(Said {
            row: 2,
            figure: Err("it ended".to_owned()),
        });
        let text = table(&said).unwrap();
        let row = |name: &str| {
            let start = format!("| {name} ");
            text.lines().find(|line| line.starts_with(&start)).unwrap()
        };
        let words: Vec<_> = row(ROWS[1].name).split_whitespace().collect();
        assert!(
            words
                .join(" ")
                .ends_with("| 50 (30..65) | 50.0 % | 50 (30..65) | 20 | 2.0..2.0 | 3 of 24 |")
        );
        assert!(row(ROWS[2].name).contains("FAILED: it ended"));
        assert!(row(ROWS[3].name).contains("FAILED: did not run"));
    }
}
