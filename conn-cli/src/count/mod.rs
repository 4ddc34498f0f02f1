//! Counting: by client or group, by interval, and how long connections waited.

pub(crate) mod comparison;
pub(crate) mod drops;
pub(crate) mod interval;
pub(crate) mod known;
pub(crate) mod listener_series;
pub(crate) mod over;
pub(crate) mod profile;
pub(crate) mod ranking;
pub(crate) mod seen;
pub mod tally;
pub(crate) mod waits;
