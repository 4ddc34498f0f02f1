//! The lines that tcpdump prints, with any of its options.

use super::{Line, Wanted};
use crate::read::{
    batch::{Event, Misfit},
    format::Likeness,
};

/// The lines of tcpdump.
#[derive(Debug)]
pub struct Lines {
    wanted: Wanted,
}

impl Lines {
    /// Parses what is wanted.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted }
    }
}

/// Whether a line is one of tcpdump.
#[must_use]
pub fn likeness(_line: &[u8]) -> Likeness {
    Likeness::None
}

/// From where on `lines`, which are whole, belong together with lines that are still to come.
#[must_use]
pub fn hold_back(lines: &[u8]) -> usize {
    lines.len()
}

impl Line for Lines {
    fn line(&mut self, _line: &[u8], _events: &mut Vec<Event>) -> Result<(), Misfit> {
        let _ = self.wanted;
        Err("not written yet")
    }
}
