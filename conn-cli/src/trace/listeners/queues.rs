//! The accept queues, and what was dropped.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use super::{Namespace, Survey, find_same};
use crate::model::{
    listener::Listener,
    queues::{NamespaceDrops, Queues},
};

impl Survey {
    /// Queries the listeners and the counters of their namespaces again, without any privilege.
    ///
    /// # Errors
    /// If a query fails.
    pub fn queues(&mut self) -> io::Result<Queues> {
        let before: HashMap<_, _> = self
            .namespace_drops()
            .into_iter()
            .map(|namespace| (namespace.netns, namespace))
            .collect();
        let now = self.now()?;
        // Those that were not kept cannot be queried again.
        let is_closed = |before: &&Listener| {
            !self.not_kept.contains(&before.netns) && find_same(&now, before).is_none()
        };
        let closed = self.at_start().iter().filter(is_closed).cloned().collect();
        let with_dropped = |listener| {
            let dropped = self.dropped(&listener);
            (listener, dropped)
        };
        let listeners: Vec<_> = now.into_iter().map(with_dropped).collect();
        self.remember_drops(&listeners);
        let dropping: HashSet<_> = self.had_dropped.iter().map(|(netns, _)| *netns).collect();
        let drops = |namespace: &Namespace| {
            let before = *before.get(&namespace.inode)?;
            // To read the counters takes longer than to query a few listeners, and elsewhere nobody asks
            // what was dropped meanwhile.
            if !dropping.contains(&namespace.inode) {
                return Some(before);
            }
            let now = namespace.drops()?;
            Some(NamespaceDrops {
                drops_before: before.drops,
                ..now
            })
        };
        let namespaces = self.namespaces.iter().filter_map(drops).collect();
        Ok(Queues {
            closed,
            lost_drops: self.lost_drops,
            gone: self.gone,
            namespaces,
            listeners,
        })
    }

    /// Only that some were closed: a server may start anew as often as it likes.
    fn remember_drops(&mut self, listeners: &[(Listener, Option<u32>)]) {
        let has_dropped = listeners
            .iter()
            .filter(|(_, dropped)| dropped.is_some_and(|dropped| dropped > 0))
            .map(|(listener, _)| (listener.netns, listener.cookie))
            .collect();
        self.lost_drops |= !self.had_dropped.is_subset(&has_dropped);
        self.had_dropped = has_dropped;
    }
}
