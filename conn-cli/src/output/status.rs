//! The status line.

use std::time::Duration;

use jiff::fmt::friendly::{Spacing, SpanPrinter};

use super::{brief::plural, total::Counted};
use crate::model::{group::Grouping, stage::Stage};

/// How far a run is.
#[derive(Clone, Debug)]
pub(crate) struct SoFar {
    pub(crate) elapsed: Duration,
    /// The stage that is counted.
    pub(crate) counted: Stage,
    pub(crate) connections: u64,
    pub(crate) by: Grouping,
    /// How many groups have a connection, if that is known.
    pub(crate) groups: Option<u64>,
    pub(crate) per_second: u64,
    /// The group with the most connections, if that is known, and how many it has.
    pub(crate) top: Option<(String, u64)>,
}

/// `12 s  600 connections  39 addresses  200/s  top 192.0.2.3 289`
pub(crate) fn status(so_far: &SoFar) -> String {
    let whole_seconds = Duration::from_secs(so_far.elapsed.as_secs());
    let printer = SpanPrinter::new().spacing(Spacing::BetweenUnitsAndDesignators);
    let elapsed = printer.unsigned_duration_to_string(&whole_seconds);
    let counted = Counted {
        number: so_far.connections,
        at_least: false,
        stage: so_far.counted,
    };
    let mut line = format!("{elapsed}  {counted}");
    if let Some(groups) = so_far.groups {
        let (one, many) = so_far.by.nouns();
        line += &format!("  {}", plural(groups, one, many));
    }
    line += &format!("  {}/s", so_far.per_second);
    if let Some((key, connections)) = &so_far.top {
        line += &format!("  top {key} {connections}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_is_known() {
        let all = SoFar {
            elapsed: Duration::from_millis(12_900),
            counted: Stage::Accepted,
            connections: 600,
            by: Grouping::default(),
            groups: Some(39),
            per_second: 200,
            top: Some(("192.0.2.3".to_owned(), 289)),
        };
        let line = "12 s  600 connections  39 addresses  200/s  top 192.0.2.3 289";
        assert_eq!(status(&all), line);
        let some = SoFar {
            elapsed: Duration::from_secs(7_384),
            counted: Stage::Syn,
            connections: 1,
            groups: None,
            top: None,
            ..all
        };
        assert_eq!(
            status(&some),
            "2 h 3 m 4 s  1 connection attempt (SYN)  200/s"
        );
    }
}
