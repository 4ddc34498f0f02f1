//! The accept queues, and what was dropped.

use std::{collections::HashMap, io};

use super::{Survey, find_same};
use crate::model::{listener::Listener, queues::Queues};

impl Survey {
    /// Queries the listeners and the counters of their namespaces again, without any privilege.
    ///
    /// # Errors
    /// If a query fails.
    pub fn queues(&mut self) -> io::Result<Queues> {
        let before: HashMap<_, _> = self
            .namespace_drops()
            .into_iter()
            .map(|namespace| (namespace.netns, namespace.drops))
            .collect();
        let now = self.now()?;
        let mut namespaces = self.namespace_drops();
        for namespace in &mut namespaces {
            if let Some(drops) = before.get(&namespace.netns) {
                namespace.drops_before = *drops;
            }
        }
        let is_closed = |before: &&Listener| find_same(&now, before).is_none();
        Ok(Queues {
            closed: self.at_start().iter().filter(is_closed).cloned().collect(),
            namespaces,
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
