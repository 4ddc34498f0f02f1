//! Makes the table from the guest's messages.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::rows::{ROWS, Row, WAITING_THREADS};
use super::said::{Body, Figure, Message, Missed};
use crate::spread::Spread;
use crate::table::Table;

fn spread(figures: &[Figure], value: fn(&Figure) -> u64) -> Option<Spread> {
    Spread::from_values(figures.iter().map(|figure| value(figure) as f64))
}

/// The table of these rows, and the command lines below it.
pub(super) fn table(messages: &[Message], rows: &[usize]) -> Result<String> {
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
    let without_tracer = figures(messages, 0);
    let all = spread(&without_tracer, |figure| figure.all);
    let meanwhile = spread(&without_tracer, |figure| figure.meanwhile);
    let untraced = all.zip(meanwhile);
    let untraced = untraced.context("nothing was measured without a tracer")?;
    for &number in rows {
        table.row(cells(messages, number, &ROWS[number], untraced));
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

fn cells(
    messages: &[Message],
    number: usize,
    row: &Row,
    untraced: (Spread, Spread),
) -> Vec<String> {
    let name = row.name.to_owned();
    let failed = messages_for_row(messages, number).find_map(Body::failure);
    let figures = figures(messages, number);
    let all = spread(&figures, |figure| figure.all);
    let meanwhile = spread(&figures, |figure| figure.meanwhile);
    let (Some(all), Some(meanwhile)) = (all, meanwhile) else {
        let why = failed.unwrap_or("did not run");
        return vec![name, format!("FAILED: {why}")];
    };
    let (all, meanwhile) = (all.above(untraced.0), meanwhile.above(untraced.1));
    let ready = spread(&figures, |figure| figure.ready);
    let resident = spread(&figures, |figure| figure.resident);
    let counts: Vec<_> = figures
        .iter()
        .filter_map(|figure| figure.reported)
        .collect();
    let (reported, lost) = counts
        .iter()
        .fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
    vec![
        name,
        match failed {
            Some(why) => format!("{all}; FAILED: {why}"),
            None => all.to_string(),
        },
        format!("{:.1} %", 100.0 * all.median / untraced.0.median),
        meanwhile.to_string(),
        ready.map_or(not_applicable(), |ready| match ready.median {
            0.0 => not_applicable(),
            median => format!("{:.0}", median / 1e6),
        }),
        resident.map_or(not_applicable(), |resident| match resident.most {
            0.0 => not_applicable(),
            most => format!("{:.1}..{:.1}", resident.least / 1024.0, most / 1024.0),
        }),
        match reported + lost {
            0 => not_applicable(),
            all => format!("{lost} of {all}"),
        },
        match messages_for_row(messages, number).find_map(Body::missed) {
            Some(Missed { missed, of }) => format!("{missed} of {of}"),
            None => not_applicable(),
        },
    ]
}

fn messages_for_row(messages: &[Message], row: usize) -> impl Iterator<Item = &Body> {
    let of_this_row = messages.iter().filter(move |message| message.row == row);
    of_this_row.map(|message| &message.body)
}

fn figures(messages: &[Message], row: usize) -> Vec<Figure> {
    messages_for_row(messages, row)
        .filter_map(Body::figure)
        .collect()
}

/// Shown for a value that does not apply.
fn not_applicable() -> String {
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
            reported: Some((7, 1)),
        }
    }

    #[test]
    fn rows_show_added_instructions_and_failures() {
        let runs = [(0, 100), (1, 150), (0, 110), (1, 165), (0, 100), (1, 130)];
        let mut messages: Vec<_> = runs
            .map(|(row, all)| Message {
                row,
                body: Body::Figure(figure(all)),
            })
            .into();
        messages.push(Message {
            row: 1,
            body: Body::Missed(Missed { missed: 9, of: 10 }),
        });
        messages.push(Message {
            row: 2,
            body: Body::Failed("it ended".to_owned()),
        });
        let text = table(&messages, &[1, 2, 3]).unwrap();
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
