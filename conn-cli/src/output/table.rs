//! Text in aligned columns.

use super::put;

/// A table: the first column is left-aligned, the others are right-aligned.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub(super) fn new(titles: Vec<String>) -> Self {
        Self { rows: vec![titles] }
    }

    /// Appends a row with as many cells as there are titles.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Writes the table. `paint` styles the first cell of a row, given the row's number.
    pub(super) fn write(&self, out: &mut Vec<u8>, paint: impl Fn(usize, &str) -> String) {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let blanks = width - cell.chars().count();
                if column == 0 {
                    let painted = paint(number, cell);
                    put(out, format_args!("{painted}{:blanks$}", ""));
                } else {
                    put(out, format_args!("  {:blanks$}{cell}", ""));
                }
            }
            while out.last() == Some(&b' ') {
                out.pop();
            }
            out.push(b'\n');
        }
    }
}
