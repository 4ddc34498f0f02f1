//! How inputs are to be read.

use std::num::NonZeroU32;

use super::parse::lines::Wanted;
use crate::model::{format::Format, options::RecordOptions};

/// How to read inputs.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Their format; None to recognise it.
    pub format: Option<Format>,
    /// What is wanted of their records.
    pub wanted: Wanted,
    /// How many times the length of a compressed input its content may have; None for any.
    pub max_expansion: Option<NonZeroU32>,
    /// Whether the input is a file, which does not make us wait. The first lines of a pipe are recognised
    /// as soon as they are clear.
    pub is_file: bool,
}

impl How {
    /// As these options say; `times` as in [`Wanted::times`].
    #[must_use]
    pub fn new(options: &RecordOptions, times: bool) -> Self {
        Self {
            format: options.format,
            wanted: Wanted::new(options, times),
            max_expansion: options.max_expansion,
            is_file: false,
        }
    }
}
