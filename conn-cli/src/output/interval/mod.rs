//! What is printed of an interval.

mod json;
mod rows;

pub use self::{
    json::IntervalLine,
    rows::{RowStyle, Rows},
};
