//! The accept queues at the end of a run.

use std::io;

use super::Survey;
use crate::model::{listener::Listener, queues::Queues};

impl Survey {
    /// Queries the listeners once more, at the end.
    ///
    /// # Errors
    /// If a query fails.
    pub fn queues(&mut self) -> io::Result<Queues> {
        let now = self.now()?;
        let is_closed = |before: &&Listener| !now.iter().any(|listener| listener.is_same(before));
        Ok(Queues {
            closed: self.at_start().iter().filter(is_closed).cloned().collect(),
            namespaces: self.namespace_drops(),
            listeners: now
                .into_iter()
                .map(|listener| {
                    let dropped = self.dropped(&listener);
                    (listener, dropped)
                })
                .collect(),
        })
    }
}
