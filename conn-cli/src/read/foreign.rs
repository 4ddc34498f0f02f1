//! Names inputs that are not read, and says what to do instead.

mod table;

use std::fmt;

use super::{
    parse::lines::lines,
    wrap::{Wrapper, Wrappers},
};
use crate::{model::format::Format, system::text::quoted};

/// How many lines are looked at.
const MAX_LINES: usize = 40;

/// A kind of text or file that is not read.
pub(crate) struct Foreign {
    /// What it is.
    what: &'static str,
    /// What to do instead.
    remedy: &'static str,
    /// Whether a line is of this kind.
    is: fn(&[u8]) -> bool,
}

/// Why an input is not read.
#[derive(Debug)]
pub struct Unknown {
    first_line: String,
    foreign: Option<(&'static str, &'static str)>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first_line, .. } = self;
        match self.foreign {
            Some((what, remedy)) => {
                write!(f, "this is {what}; {remedy}. It begins with '{first_line}'")
            }
            None => {
                let formats = Format::ALL.map(Format::name).join(", ");
                write!(
                    f,
                    "no line of a known format; it begins with '{first_line}'. If it is one, name it with \
                     --format ({formats})"
                )
            }
        }
    }
}

/// What the first lines of an input are, if that is known. `is_log`: they may also be those of a kernel
/// log without a record, so most of them must be of this kind.
pub(crate) fn find(bytes: &[u8], is_log: bool) -> Option<&'static Foreign> {
    let lines: Vec<&[u8]> = { lines(bytes) }
        .filter(|line| !line.trim_ascii().is_empty())
        .take(MAX_LINES)
        .collect();
    let least = if is_log { lines.len() / 2 } else { 0 };
    table::ALL.iter().find(|foreign| {
        let is = |line: &&&[u8]| (foreign.is)(line) || is_inside(line, foreign.is);
        lines.iter().filter(is).count() > least
    })
}

/// Says what an input is that begins with these lines.
pub(crate) fn describe(bytes: &[u8]) -> Unknown {
    let first = lines(bytes).find(|line| !line.trim_ascii().is_empty());
    let foreign = find(bytes, false);
    Unknown {
        first_line: quoted(first.unwrap_or_default()),
        foreign: foreign.map(|foreign| (foreign.what, foreign.remedy)),
    }
}

/// Whether this holds for a line without what is around it.
fn is_inside(line: &[u8], is: fn(&[u8]) -> bool) -> bool {
    Wrapper::ALL.into_iter().any(|wrapper| {
        let inner = Wrappers::default().with(wrapper);
        let inner = inner.and_then(|wrappers| wrappers.peel(line, false));
        inner.is_some_and(|inner| is(&inner.line))
    })
}

#[cfg(test)]
mod tests;
