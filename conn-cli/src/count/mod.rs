//! Counting: by client or group, by interval, and how long connections waited.

pub mod interval;
pub mod known;
pub mod profile;
pub mod tally;
pub mod waits;
