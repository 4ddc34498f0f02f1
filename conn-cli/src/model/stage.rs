//! The stages of a connection, and those that a run watches.

use std::collections::BTreeSet;

use conn_common::Stages;
use serde::{Deserialize, Serialize};

/// How far a connection has got, in the order in which it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The client's SYN has arrived
    Syn,
    /// The handshake is complete
    Established,
    /// The server has accepted it
    Accepted,
}

impl Stage {
    /// All stages, ascending.
    pub const ALL: [Self; 3] = [Self::Syn, Self::Established, Self::Accepted];

    /// As `--event` accepts it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Established => "established",
            Self::Accepted => "accepted",
        }
    }

    /// How many connections got here.
    #[must_use]
    pub(crate) fn of(self, stages: &Stages) -> u64 {
        match self {
            Self::Syn => stages.syn,
            Self::Established => stages.established,
            Self::Accepted => stages.accepted,
        }
    }
}

/// The watched stages: the one that is counted, and those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedStages {
    counted: Stage,
    earlier: BTreeSet<Stage>,
}

impl WatchedStages {
    /// Only the stage that is counted.
    #[must_use]
    pub fn only(counted: Stage) -> Self {
        Self {
            counted,
            earlier: BTreeSet::new(),
        }
    }

    /// These stages, of which the last is counted; accepts without any.
    pub fn new(stages: impl IntoIterator<Item = Stage>) -> Self {
        let mut earlier: BTreeSet<Stage> = stages.into_iter().collect();
        let counted = earlier.pop_last().unwrap_or(Stage::Accepted);
        Self { counted, earlier }
    }

    /// The stage that is counted, which the summary and `--count` are about.
    #[must_use]
    pub fn counted(&self) -> Stage {
        self.counted
    }

    /// The stages before it, ascending.
    pub fn earlier(&self) -> impl DoubleEndedIterator<Item = Stage> + ExactSizeIterator {
        self.earlier.iter().copied()
    }

    /// All stages, ascending.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = Stage> {
        self.earlier().chain([self.counted])
    }

    /// Whether a stage is watched.
    #[must_use]
    pub fn contains(&self, stage: Stage) -> bool {
        self.counted == stage || self.earlier.contains(&stage)
    }

    /// Whether there are several.
    #[must_use]
    pub fn are_several(&self) -> bool {
        !self.earlier.is_empty()
    }

    /// The same with another counted stage, and those of the earlier stages that come before it.
    #[must_use]
    pub fn counting(&self, counted: Stage) -> Self {
        Self {
            counted,
            earlier: self.earlier().filter(|stage| *stage < counted).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_is_counted() {
        let stages = WatchedStages::new([Stage::Accepted, Stage::Syn]);
        assert_eq!(stages.counted(), Stage::Accepted);
        assert_eq!(Vec::from_iter(stages.earlier()), [Stage::Syn]);
        assert_eq!(Vec::from_iter(stages.all()), [Stage::Syn, Stage::Accepted]);
        assert!(stages.are_several());
        assert_eq!(WatchedStages::new([]), WatchedStages::only(Stage::Accepted));
    }

    #[test]
    fn another_counted_stage_keeps_those_before_it() {
        let all = WatchedStages::new([Stage::Syn, Stage::Established, Stage::Accepted]);
        let handshakes = WatchedStages::new([Stage::Syn, Stage::Established]);
        assert_eq!(all.counting(Stage::Established), handshakes);
        let accepted = WatchedStages::only(Stage::Accepted);
        assert_eq!(
            accepted.counting(Stage::Established),
            WatchedStages::only(Stage::Established)
        );
        assert!(!handshakes.contains(Stage::Accepted));
    }
}
