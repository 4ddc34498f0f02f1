//! What the user asked for.

use clap::ValueEnum;

use super::group::GroupBy;

/// Which connections are reported one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// None.
    None,
    /// Those at the last watched stage.
    Last,
    /// Those at every watched stage.
    All,
}

/// How to list what was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listing {
    /// What connections are grouped by.
    pub by: GroupBy,
    /// How many rows at most.
    pub top: Option<usize>,
}

/// How a timestamp is written in a line of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TimeFormat {
    /// Mon Mar 17 04:13:03 2014
    #[default]
    Ctime,
    /// 2014-03-17T04:13:03.123456+00:00, as RFC 3339 has it
    Iso,
    /// 1395029583.123456, seconds since 1970 in UTC
    Epoch,
    /// 0.123456, seconds since the line before
    Delta,
}
