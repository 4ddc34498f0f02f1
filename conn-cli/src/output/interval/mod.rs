//! What is printed of an interval.

mod json;
mod rows;

pub(super) use self::json::IntervalLine;
pub use self::rows::{RowStyle, Rows};
