//! The plan: what the guest measures.

use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::{Context as _, Error, Result};

use super::rows::ROWS;

/// How many rows are measured between two runs without a tracer.
const ROWS_PER_GROUP: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) connections: u32,
    pub(super) runs: u32,
    /// The indices of the rows, without row 0, which the others are compared with.
    pub(super) rows: Vec<usize>,
}

impl Plan {
    /// The rows in their order, with row 0 before each group.
    pub(super) fn turns(&self) -> impl Iterator<Item = usize> {
        let groups = self.rows.chunks(ROWS_PER_GROUP);
        groups.flat_map(|rows| std::iter::once(0).chain(rows.iter().copied()))
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.connections, self.runs)?;
        self.rows.iter().try_for_each(|row| write!(f, " {row}"))
    }
}

impl FromStr for Plan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut numbers = text.split(' ');
        let mut next = || numbers.next().context("the plan is cut off");
        Ok(Self {
            connections: next()?.parse()?,
            runs: next()?.parse()?,
            rows: numbers
                .map(|row| {
                    let row: usize = row.parse()?;
                    ROWS.get(row).context("no such row").map(|_| row)
                })
                .collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_is_parsed_as_written() {
        let plan = Plan {
            connections: 300,
            runs: 2,
            rows: vec![2, 3],
        };
        assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
        assert!("300".parse::<Plan>().is_err());
        assert!("300 2 5000".parse::<Plan>().is_err());
    }

    #[test]
    fn row_0_is_measured_before_each_group() {
        let plan = Plan {
            connections: 300,
            runs: 2,
            rows: (1..8).collect(),
        };
        let turns: Vec<_> = plan.turns().collect();
        assert_eq!(turns, [0, 1, 2, 3, 4, 5, 0, 6, 7]);
    }
}
