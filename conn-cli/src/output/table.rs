//! Text in aligned columns.

use anstyle::Style;

/// A table that is not in memory. The last column may have a style.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(Align, usize)>,
}

/// The side of its column on which a cell is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Align {
    Left,
    Right,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(columns: impl IntoIterator<Item = Align>) -> Self {
        Self {
            columns: columns.into_iter().map(|align| (align, 0)).collect(),
        }
    }

    /// Makes the columns wide enough for a row.
    pub(super) fn fit(&mut self, cells: &[String]) {
        for ((_, width), cell) in self.columns.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }

    /// A row's line, with its last cell in this style.
    pub(super) fn line(&self, cells: &[String], style: Style) -> String {
        let mut line = String::new();
        for (number, (cell, (align, width))) in cells.iter().zip(&self.columns).enumerate() {
            let is_last = number + 1 == cells.len();
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
            if number > 0 {
                line.push_str("  ");
            }
            match align {
                Align::Left if is_last => line += &format!("{style}{cell}{style:#}"),
                Align::Left => line.extend([cell.as_str(), &blanks]),
                Align::Right => line.extend([blanks.as_str(), cell]),
            }
        }
        line + "\n"
    }
}
