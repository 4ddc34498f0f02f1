//! What became of the queues of those who listen.

use std::io;

use super::{Listener, NamespaceDrops, Survey};

/// The queues of those who listen, when watching ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Each with what it has dropped meanwhile, if the kernel tells.
    pub listeners: Vec<(Listener, Option<u32>)>,
    /// Those that are no longer there; what they dropped is in the count of their namespace.
    pub closed: Vec<Listener>,
    /// What all listeners of a namespace have dropped, on whatever port.
    pub namespaces: Vec<NamespaceDrops>,
}

impl Survey {
    /// Asks once more, at the end.
    ///
    /// # Errors
    /// The system's.
    pub fn queues(&mut self) -> io::Result<Queues> {
        let now = self.now()?;
        let is_gone = |before: &&Listener| !now.iter().any(|listener| listener.is_same(before));
        Ok(Queues {
            closed: self.at_start().iter().filter(is_gone).cloned().collect(),
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
