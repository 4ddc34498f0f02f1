//! Decides which of the lines that name a stage are the connections of a run.
//!
//! The last of the watched stages counts, and the text does not say which that is before the run ends: a SYN
//! is a connection if nothing later was watched.

use std::mem;

use crate::model::{connection::Connection, stage::Stage};

/// The most connections that wait for a later stage. More of them than this, and none of a later stage: they
/// are of the last one.
const MAX_HELD: usize = 1 << 18;

/// The connections of the last stage so far.
#[derive(Debug, Default)]
pub(super) struct Stages {
    last: Option<Stage>,
    held: Vec<Connection>,
}

impl Stages {
    /// Takes a line. Returns those that now are certain to be connections.
    pub(super) fn take(&mut self, stage: Stage, connection: Connection) -> Vec<Connection> {
        if self.last.is_some_and(|last| stage < last) {
            return Vec::new();
        }
        if self.last < Some(stage) {
            self.last = Some(stage);
            self.held.clear();
        }
        self.held.push(connection);
        // No stage is later.
        if stage == Stage::Accepted || self.held.len() >= MAX_HELD {
            return mem::take(&mut self.held);
        }
        Vec::new()
    }

    /// Ends a run: those at its last stage are its connections.
    pub(super) fn end(&mut self) -> Vec<Connection> {
        self.last = None;
        mem::take(&mut self.held)
    }
}
