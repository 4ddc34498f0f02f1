//! What the kernel must be told, derived from the options before anything is attached.

use super::{
    options::{Lines, ShowOptions},
    stage::{Stage, WatchedStages},
};

/// What the programs must report, besides the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Which connections they report one by one.
    pub reported: Reported,
    /// Whether a report names the accepting task and the network namespace.
    pub details: bool,
}

/// Which connections are reported one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// None.
    None,
    /// Those at the stage that is counted.
    Counted,
    /// Those at every watched stage.
    All,
}

impl Demand {
    /// What these options need. Reports of connections at earlier stages would take the space of
    /// others in the ring buffer, so they are made only if they are shown.
    #[must_use]
    pub fn new(show: &ShowOptions) -> Self {
        let needs_counted = matches!(show.lines, Lines::Intervals(_)) || show.long;
        Self {
            reported: if show.wants_lines() || show.count.is_some() {
                Reported::All
            } else if needs_counted {
                Reported::Counted
            } else {
                Reported::None
            },
            details: show.json || show.listing.by.needs_task() || (show.long && show.wants_lines()),
        }
    }
}

impl Reported {
    /// The stages of these whose connections are reported.
    pub fn stages(self, watched: &WatchedStages) -> impl Iterator<Item = Stage> {
        watched.all().filter(move |stage| match self {
            Self::None => false,
            Self::Counted => *stage == watched.counted(),
            Self::All => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{group::GroupBy, options::Listing};

    #[test]
    fn only_what_is_shown_is_reported() {
        let reported = |options| Demand::new(&options).reported;
        let show = ShowOptions::default;
        let quiet = || ShowOptions {
            lines: Lines::None,
            ..show()
        };
        assert_eq!(reported(show()), Reported::All);
        assert_eq!(reported(quiet()), Reported::None);
        let intervals = Lines::Intervals(Duration::from_secs(1));
        for options in [
            ShowOptions {
                lines: intervals,
                ..show()
            },
            ShowOptions {
                long: true,
                ..quiet()
            },
        ] {
            assert_eq!(reported(options), Reported::Counted);
        }
        let limited = ShowOptions {
            count: Some(1),
            ..quiet()
        };
        assert_eq!(reported(limited), Reported::All);
    }

    #[test]
    fn details_are_reported_only_if_they_are_shown() {
        let details = |json, by| {
            let show = ShowOptions {
                json,
                listing: Listing {
                    by: GroupBy::into(by),
                    ..Listing::default()
                },
                ..ShowOptions::default()
            };
            Demand::new(&show).details
        };
        assert!(details(true, GroupBy::Address));
        assert!(details(false, GroupBy::Process));
        assert!(!details(false, GroupBy::Address));
        let long = |lines| {
            let show = ShowOptions {
                long: true,
                lines,
                ..ShowOptions::default()
            };
            Demand::new(&show).details
        };
        assert!(long(Lines::Connections));
        assert!(!long(Lines::None));
    }

    #[test]
    fn the_reported_stages_are_watched() {
        let watched = WatchedStages::new([Stage::Syn, Stage::Accepted]);
        let stages = |reported: Reported| Vec::from_iter(reported.stages(&watched));
        assert_eq!(stages(Reported::None), []);
        assert_eq!(stages(Reported::Counted), [Stage::Accepted]);
        assert_eq!(stages(Reported::All), [Stage::Syn, Stage::Accepted]);
    }
}
