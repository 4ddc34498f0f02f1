//! The text and the JSON of an interval.

mod json;
mod rows;

pub(super) use self::json::interval_line;
pub(crate) use self::rows::{RowStyle, Rows};
