//! How certain it is that a line is of a format.

/// Whether a line is one of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confidence {
    /// The line has what this format is read for, or only this format has such lines.
    Certain,
    /// The line is of this format unless another line is certainly of another.
    Possible,
    /// The line is not of this format, or proves nothing.
    None,
}
