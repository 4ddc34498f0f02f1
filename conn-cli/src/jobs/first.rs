//! The connections up to the limit of `--count`.

use std::collections::BTreeMap;

use crate::{
    count::{ranking::Counts, tally::Tally},
    model::{
        connection::{Connection, Source},
        group::Grouping,
        stage::{Stage, WatchedStages},
    },
};

/// The connections up to the limit of `--count`. If the limit is reached, the summary covers only
/// these.
#[derive(Debug)]
pub(super) struct FirstConnections {
    /// At each watched stage.
    stages: BTreeMap<Stage, Tally>,
    by: Grouping,
    /// The stage to which the limit applies.
    counted: Stage,
    /// How many there are at that stage, which would otherwise have to be summed.
    connections: u64,
    /// Those that only the second hook of the pair saw.
    second_hook_only: u64,
}

impl FirstConnections {
    /// No connections yet, by this, at any of these stages; None if all connections are at the same one.
    pub(super) fn new(by: Grouping, stages: Option<&WatchedStages>) -> Self {
        let all = stages.into_iter().flat_map(WatchedStages::all);
        Self {
            stages: all.map(|stage| (stage, Tally::default())).collect(),
            by,
            counted: stages.map_or(Stage::Accepted, WatchedStages::counted),
            connections: 0,
            second_hook_only: 0,
        }
    }

    /// Adds a connection. `counts`: whether the limit applies to it.
    pub(super) fn add(&mut self, connection: &Connection, counts: bool) {
        let stage = if counts {
            self.counted
        } else {
            connection.stage()
        };
        let tally = self.stages.entry(stage).or_default();
        tally.add_key(self.by.what().key(connection), connection.local_port, 1);
        self.connections += u64::from(counts);
        let by_second_hook = connection.source == Source::SecondHook;
        self.second_hook_only += u64::from(by_second_hook);
    }

    /// How many there are.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    /// How many of them only the second hook of the pair saw.
    pub(super) fn second_hook_only(&self) -> u64 {
        self.second_hook_only
    }

    /// Their counts.
    pub(super) fn counts(&self) -> Counts {
        let stages = self.stages.keys().copied().chain([self.counted]);
        let mut counts = Counts::new(stages).by(self.by);
        for (stage, tally) in &self.stages {
            counts.add_tally(*stage, tally.clone());
        }
        counts
    }
}
