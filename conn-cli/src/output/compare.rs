//! The output of `conn-cli compare`.

use std::iter::once;

use anstyle::Style;
use serde::Serialize;

use super::{
    brief::plural,
    table::{Align, Table},
};
use crate::{
    count::comparison::{Change, ComparedRow, Comparison, Side},
    model::schema::{
        ComparedCounts, ComparisonLine, ComparisonSide, ComparisonSummary, LeftOffComparison,
        Presence, Type,
    },
};

/// The comparison as text, or as lines of JSON, line by line: all of them can be more than fits into
/// memory.
#[must_use]
pub(crate) fn compare(comparison: Comparison, json: bool) -> Box<dyn Iterator<Item = String>> {
    if json {
        Box::new(lines_of_json(comparison))
    } else {
        Box::new(text(comparison))
    }
}

fn text(comparison: Comparison) -> impl Iterator<Item = String> {
    let titles = ["before", "after", "difference", "address"].map(str::to_owned);
    let left_off = comparison.left_off.map(|(addresses, change)| {
        let addresses = plural(addresses as u64, "other address", "other addresses");
        cells(change, addresses)
    });
    let unknown = comparison
        .unknown
        .map(|change| cells(change, "unknown".to_owned()));
    let new = plural(comparison.new as u64, "new address", "new addresses");
    let total = format!(
        "{}; {}; {new}, {} gone\n",
        side(&comparison.before),
        side(&comparison.after),
        comparison.gone
    );
    let mut table = Table::new([Align::Right, Align::Right, Align::Right, Align::Left]);
    for cells in [Some(&titles), left_off.as_ref(), unknown.as_ref()] {
        table.fit(cells.map_or(&[], |cells| cells));
    }
    for row in &comparison.rows {
        table.fit(&row_cells(row));
    }
    let rows = comparison.rows.into_iter().map(|row| row_cells(&row));
    let rows = once(titles).chain(rows).chain(left_off).chain(unknown);
    let lines = rows.map(move |row| table.line(&row, Style::new()));
    lines.chain(once(total))
}

fn row_cells(row: &ComparedRow) -> [String; 4] {
    let mark = match presence(row.change) {
        Presence::New => "  new",
        Presence::Gone => "  gone",
        Presence::Both => "",
    };
    cells(row.change, format!("{}{mark}", row.host))
}

fn cells(change: Change, last: String) -> [String; 4] {
    let difference = match change.difference() {
        0 => "0".to_owned(),
        difference => format!("{difference:+}"),
    };
    [
        change.before.to_string(),
        change.after.to_string(),
        difference,
        last,
    ]
}

fn side(side: &Side) -> String {
    let connections = plural(side.connections, "connection", "connections");
    let addresses = plural(side.addresses as u64, "address", "addresses");
    format!("{}: {connections} from {addresses}", side.name)
}

fn presence(change: Change) -> Presence {
    if change.is_new() {
        Presence::New
    } else if change.is_gone() {
        Presence::Gone
    } else {
        Presence::Both
    }
}

fn lines_of_json(comparison: Comparison) -> impl Iterator<Item = String> {
    let side = |side: &Side| ComparisonSide {
        input: side.name.clone().into(),
        connections: side.connections,
        addresses: side.addresses,
    };
    let unknown = comparison.unknown.unwrap_or_default();
    let summary = ComparisonSummary {
        r#type: Type::ComparisonSummary,
        before: side(&comparison.before),
        after: side(&comparison.after),
        new: comparison.new,
        gone: comparison.gone,
        unknown_clients: counts(unknown),
        left_off: comparison
            .left_off
            .map(|(addresses, change)| LeftOffComparison {
                addresses,
                counts: counts(change),
            }),
    };
    let summary = line_of_json(&summary);
    let rows = comparison.rows.into_iter().map(|row| {
        line_of_json(&ComparisonLine {
            r#type: Type::Comparison,
            address: row.host.address(),
            name: row.host.name().map(Into::into),
            before: row.change.before,
            after: row.change.after,
            difference: row.change.difference(),
            r#in: presence(row.change),
        })
    });
    rows.chain(once(summary))
}

fn counts(change: Change) -> ComparedCounts {
    ComparedCounts {
        before: change.before,
        after: change.after,
    }
}

fn line_of_json(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("writing to memory does not fail") + "\n"
}
