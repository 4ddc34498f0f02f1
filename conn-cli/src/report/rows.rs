//! The rows of a report.

use std::{collections::BTreeMap, rc::Rc};

use super::names::Names;
use crate::{
    count::{
        profile::{Profile, Profiles},
        ranking::{Client, Ranking, Sums},
    },
    model::{group::GroupKey, stage::Stage},
};

/// A client, or another group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The group.
    pub key: GroupKey,
    /// Its connections.
    pub connections: u64,
    /// If that is a lower bound: how many more there may be.
    pub error: Option<u64>,
    /// Its connections to each known local port, ascending.
    pub ports: BTreeMap<u16, u64>,
    /// How many reached each earlier watched stage.
    pub earlier: BTreeMap<Stage, u64>,
    /// Its SYNs that were refused, as far as is known.
    pub refused: u64,
    /// Further details, if they were requested.
    pub profile: Option<Profile>,
}

/// Rows, most connections first. There is one at a time: all of them would take many times the memory
/// of what they are made from.
#[derive(Clone, Debug)]
pub struct Rows {
    ranking: Ranking,
    names: Names,
    profiles: Option<Rc<Profiles>>,
}

impl Rows {
    /// The rows of these clients.
    pub(super) fn new(ranking: Ranking, names: Names, profiles: Option<Rc<Profiles>>) -> Self {
        Self {
            ranking,
            names,
            profiles,
        }
    }

    /// Keeps only the first ones, and sums up the others.
    pub(super) fn split_off(&mut self, rows: usize) -> Sums {
        self.ranking.split_off(rows)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranking.len()
    }

    /// The details of all clients of the run, if they were requested, in any order.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = Profile> {
        self.profiles.iter().flat_map(|profiles| profiles.iter())
    }

    /// How many clients have details, those that came first, if details were requested and there were too many
    /// clients to have those of each.
    pub(crate) fn detailed(&self) -> Option<usize> {
        let profiles = self.profiles.as_ref();
        profiles.and_then(|profiles| profiles.of_first())
    }

    /// Whether the connections of some are a lower bound.
    pub(crate) fn has_lower_bounds(&self) -> bool {
        self.ranking.has_errors() && self.counts().any(|(.., at_least)| at_least)
    }

    /// Their keys and connections, and whether these are a lower bound, without the rest.
    pub fn counts(&self) -> impl Iterator<Item = (GroupKey, u64, bool)> {
        let counts = self.ranking.counts();
        counts.map(|(key, connections)| {
            let at_least = self.ranking.error(&key).is_some();
            (self.names.named(key), connections, at_least)
        })
    }

    /// Makes one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Row> {
        self.ranking.clients().map(|client| {
            let Client {
                key,
                connections,
                ports,
                earlier,
                refused,
            } = client;
            Row {
                error: self.ranking.error(&key),
                profile: self.profiles.as_ref().map(|profiles| profiles.get(&key)),
                key: self.names.named(key),
                connections,
                ports,
                earlier,
                refused,
            }
        })
    }
}
