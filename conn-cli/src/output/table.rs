//! Text in aligned columns.

use anstyle::Style;

/// A table that is not in memory: the first column is left-aligned, the others are right-aligned.
#[derive(Debug)]
pub(super) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// A table with this many columns.
    pub(super) fn new(columns: usize) -> Self {
        Self {
            widths: vec![0; columns],
        }
    }

    /// Makes the columns wide enough for a row. The last cells may be missing.
    pub(super) fn fit(&mut self, cells: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }

    /// A row's line, with its first cell in this style.
    pub(super) fn line(&self, cells: &[String], style: Style) -> String {
        let mut line = String::new();
        for (number, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
            let parts: &[&str] = if number == 0 {
                &[&format!("{style}{cell}{style:#}"), &blanks]
            } else {
                &["  ", &blanks, cell]
            };
            line.extend(parts.iter().copied());
        }
        line.truncate(line.trim_end_matches(' ').len());
        line + "\n"
    }
}
