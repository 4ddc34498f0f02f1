//! The output of `conn-cli compare`.

use std::iter::once;

use anstyle::Style;
use serde::Serialize;

use super::{
    brief::plural,
    put,
    table::{Align, Table},
};
use crate::{
    count::comparison::{Change, Comparison, Side},
    model::schema::{
        ComparedCounts, ComparisonLine, ComparisonSide, ComparisonSummary, LeftOffComparison,
        Presence, Type,
    },
};

/// The comparison as text, or as lines of JSON.
#[must_use]
pub(crate) fn compare(comparison: &Comparison, json: bool) -> Vec<u8> {
    if json {
        lines_of_json(comparison)
    } else {
        text(comparison)
    }
}

fn text(comparison: &Comparison) -> Vec<u8> {
    let titles = ["before", "after", "difference", "address"].map(str::to_owned);
    let rows = comparison.rows.iter().map(|row| {
        let mark = match presence(row.change) {
            Presence::New => "  new",
            Presence::Gone => "  gone",
            Presence::Both => "",
        };
        cells(row.change, format!("{}{mark}", row.host))
    });
    let left_off = comparison.left_off.map(|(addresses, change)| {
        let addresses = plural(addresses as u64, "other address", "other addresses");
        cells(change, addresses)
    });
    let unknown = comparison
        .unknown
        .map(|change| cells(change, "unknown".to_owned()));
    let rows = once(titles).chain(rows).chain(left_off).chain(unknown);
    let rows: Vec<_> = rows.collect();
    let mut table = Table::new([Align::Right, Align::Right, Align::Right, Align::Left]);
    for row in &rows {
        table.fit(row);
    }
    let mut out = Vec::new();
    for row in &rows {
        out.extend_from_slice(table.line(row, Style::new()).as_bytes());
    }
    let new = plural(comparison.new as u64, "new address", "new addresses");
    put(
        &mut out,
        format_args!(
            "{}; {}; {new}, {} gone\n",
            side(&comparison.before),
            side(&comparison.after),
            comparison.gone
        ),
    );
    out
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

fn lines_of_json(comparison: &Comparison) -> Vec<u8> {
    let mut out = Vec::new();
    for row in &comparison.rows {
        let line = ComparisonLine {
            r#type: Type::Comparison,
            address: row.host.address(),
            name: row.host.name().map(Into::into),
            before: row.change.before,
            after: row.change.after,
            difference: row.change.difference(),
            r#in: presence(row.change),
        };
        put_json(&mut out, &line);
    }
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
    put_json(&mut out, &summary);
    out
}

fn counts(change: Change) -> ComparedCounts {
    ComparedCounts {
        before: change.before,
        after: change.after,
    }
}

fn put_json(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("writing to memory does not fail");
    out.push(b'\n');
}
