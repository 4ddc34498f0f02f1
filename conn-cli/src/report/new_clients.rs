//! The clients of a run that are not in the file of known ones.

use crate::{
    count::{known::Known, ranking::Ranking},
    model::group::GroupKey,
};

/// How many new clients are named at most.
const MAX_NAMED: usize = 20;

/// The clients of a run that are not in the file of known ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClients {
    /// How many there are.
    pub clients: usize,
    /// The first ones, most connections first, and how many each has.
    pub first: Vec<(GroupKey, u64)>,
}

impl NewClients {
    /// Those of the clients that have a connection and are not known.
    pub(super) fn among(ranking: &Ranking, known: &Known) -> Self {
        let connected = ranking.counts().take(ranking.connected());
        let mut new = Self {
            clients: 0,
            first: Vec::new(),
        };
        for (key, connections) in connected.filter(|(key, _)| !known.lists(key)) {
            if new.clients < MAX_NAMED {
                new.first.push((key, connections));
            }
            new.clients += 1;
        }
        new
    }
}
