//! The accept queues of the listeners at the end of a run.

use std::io;

use super::{Listener, NamespaceDrops, Survey};

/// The accept queues of the listeners when watching ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Each listener with what it has dropped meanwhile, if the kernel reports it.
    pub listeners: Vec<(Listener, Option<u32>)>,
    /// Listeners that have been closed. What they dropped is in the count of their namespace.
    pub closed: Vec<Listener>,
    /// What all listeners of a namespace have dropped, on any port.
    pub namespaces: Vec<NamespaceDrops>,
}

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
