//! The table that comes of what the guest tells.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::rows::{ROWS, Row, WAITING_THREADS};
use super::said::{Figure, Missed, Said, What};
use crate::bench::spread::Spread;
use crate::bench::table::Table;

fn spread(figures: &[Figure], of: fn(&Figure) -> u64) -> Option<Spread> {
    Spread::of(figures.iter().map(|figure| of(figure) as f64))
}

/// The table of these rows, and the command lines below it.
pub(super) fn table(said: &[Said], rows: &[usize]) -> Result<String> {
    let missed = format!("missed, {WAITING_THREADS} threads waiting");
    let mut table = Table::new(&[
        "tracer",
        "added to a connection",
        "percent",
        "while it connects",
        "ready after M",
        "resident MiB",
        "lost",
        &missed,
    ]);
    let none = figures(said, 0);
    let all = spread(&none, |figure| figure.all);
    let meanwhile = spread(&none, |figure| figure.meanwhile);
    let untraced = all.zip(meanwhile);
    let untraced = untraced.context("nothing was measured without a tracer")?;
    for &number in rows {
        table.row(cells(said, number, &ROWS[number], untraced));
    }
    let mut text = format!(
        "A connection without a tracer: {} instructions, {} while it connects\n\n\
         {table}\n```sh\n",
        untraced.0, untraced.1,
    );
    for &number in rows {
        writeln!(text, "{}", ROWS[number].line)?;
    }
    text += "```";
    Ok(text)
}

fn cells(said: &[Said], number: usize, row: &Row, untraced: (Spread, Spread)) -> Vec<String> {
    let name = row.name.to_owned();
    let failed = of_row(said, number).find_map(What::failure);
    let figures = figures(said, number);
    let all = spread(&figures, |figure| figure.all);
    let meanwhile = spread(&figures, |figure| figure.meanwhile);
    let (Some(all), Some(meanwhile)) = (all, meanwhile) else {
        let why = failed.unwrap_or("did not run");
        return vec![name, format!("FAILED: {why}")];
    };
    let (all, meanwhile) = (all.above(untraced.0), meanwhile.above(untraced.1));
    let ready = spread(&figures, |figure| figure.ready);
    let resident = spread(&figures, |figure| figure.resident);
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
        format!("{:.1} %", 100.0 * all.median / untraced.0.median),
        meanwhile.to_string(),
        ready.map_or(nothing(), |ready| match ready.median {
            0.0 => nothing(),
            median => format!("{:.0}", median / 1e6),
        }),
        resident.map_or(nothing(), |resident| match resident.most {
            0.0 => nothing(),
            most => format!("{:.1}..{:.1}", resident.least / 1024.0, most / 1024.0),
        }),
        match all_told + lost {
            0 => nothing(),
            all => format!("{lost} of {all}"),
        },
        match of_row(said, number).find_map(What::missed) {
            Some(Missed { missed, of }) => format!("{missed} of {of}"),
            None => nothing(),
        },
    ]
}

fn of_row(said: &[Said], row: usize) -> impl Iterator<Item = &What> {
    let of_row = said.iter().filter(move |said| said.row == row);
    of_row.map(|said| &said.what)
}

fn figures(said: &[Said], row: usize) -> Vec<Figure> {
    of_row(said, row).filter_map(What::figure).collect()
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
    fn shows_what_is_added_and_what_failed() {
        let runs = [(0, 100), (1, 150), (0, 110), (1, 165), (0, 100), (1, 130)];
        let mut said: Vec<_> = runs
            .map(|(row, all)| Said {
                row,
                what: What::Figure(figure(all)),
            })
            .into();
        said.push(Said {
            row: 1,
            what: What::Missed(Missed { missed: 9, of: 10 }),
        });
        said.push(Said {
            row: 2,
            what: What::Failed("it ended".to_owned()),
        });
        let text = table(&said, &[1, 2, 3]).unwrap();
        let row = |name: &str| {
            let start = format!("| {name} ");
            text.lines().find(|line| line.starts_with(&start)).unwrap()
        };
        let words: Vec<_> = row(ROWS[1].name).split_whitespace().collect();
        assert!(words.join(" ").ends_with(
            "| 50 (30..65) | 50.0 % | 50 (30..65) | 20 | 2.0..2.0 | 3 of 24 | 9 of 10 |"
        ));
        assert!(row(ROWS[2].name).contains("FAILED: it ended"));
        assert!(row(ROWS[3].name).contains("FAILED: did not run"));
    }
}
