//! Parses the tables of tcpaccept and tcptracer.

use super::lines::{Form, Line, Wanted};
use crate::{
    model::connection::When,
    read::event::{Event, ParseError},
};

/// The lines of the tables of tcpaccept and tcptracer.
#[derive(Debug)]
pub(crate) struct Lines;

impl Lines {
    /// Creates a parser for what is `wanted`.
    #[must_use]
    pub(crate) fn new(_wanted: &Wanted) -> Self {
        Self
    }
}

impl Line for Lines {
    fn line(&mut self, _line: &[u8], _events: &mut Vec<Event>) -> Result<Form, ParseError> {
        Err("this format is not read yet")
    }

    fn time(&mut self, _line: &[u8]) -> When {
        When::Unknown
    }
}
