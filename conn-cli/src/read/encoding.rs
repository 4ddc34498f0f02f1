//! How the lines of an input are to be parsed.

use super::wrap::Wrappers;
use crate::model::format::Format;

/// How the lines of an input are to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Their format.
    pub format: Format,
    /// What is around each of them.
    pub wrappers: Wrappers,
}

/// What an input was recognised as.
#[derive(Clone, Copy, Debug)]
pub struct Recognised {
    /// How its lines are parsed.
    pub encoding: Encoding,
    /// Another format that understands as many lines.
    pub tie: Option<Format>,
    /// How many lines before them no parser understands.
    pub skipped: u64,
    /// Whether the user named the format.
    pub is_given: bool,
}

impl Encoding {
    /// Lines of this format, with nothing around them.
    #[must_use]
    pub fn plain(format: Format) -> Self {
        Self {
            format,
            wrappers: Wrappers::default(),
        }
    }
}
