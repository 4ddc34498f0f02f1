//! The lines that iptables and nftables write to the kernel's log, in whatever that was
//! printed with.

use super::{Line, Wanted};
use crate::read::{
    batch::{Event, Misfit},
    format::Likeness,
};

/// The lines of a kernel log.
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

/// Whether a line is one of a kernel log.
#[must_use]
pub fn likeness(_line: &[u8]) -> Likeness {
    Likeness::None
}

impl Line for Lines {
    fn line(&mut self, _line: &[u8], _events: &mut Vec<Event>) -> Result<(), Misfit> {
        let _ = self.wanted;
        Err("not written yet")
    }
}
