//! What listeners drop from one look at their queues to the next.

use std::{cmp::Reverse, collections::HashMap};

use crate::model::{
    listener::Listener,
    queues::{NamespaceDrops, Queues},
};

/// What had been dropped at the last look.
#[derive(Debug, Default)]
pub(crate) struct DropCounts {
    /// By each listener that had dropped anything: its network namespace and its cookie.
    listeners: HashMap<(u32, u64), u32>,
    /// By all listeners of each network namespace.
    namespaces: HashMap<u32, NamespaceDrops>,
}

/// A listener that has dropped SYNs, or last packets of a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dropped<'a> {
    pub(crate) listener: &'a Listener,
    /// How many packets, or at most how many.
    ///
    /// The listener's own count has more than that: the kernel discards the last packet of every
    /// handshake with `TCP_DEFER_ACCEPT`, and the resets of clients that only check that something
    /// listens, and counts these there too (`discard_and_relse` of `net/ipv4/tcp_ipv4.c`). They are
    /// not in the count of the network namespace (`tcp_listendrop`), so this is the smaller one.
    pub(crate) packets: u64,
    /// Whether its own count is larger than the count of its network namespace, which may be that of
    /// another listener.
    pub(crate) is_at_most: bool,
    /// What was dropped in its network namespace, on any port; None if that is not known.
    pub(crate) in_namespace: Option<Growth>,
}

/// By how much the counts of a network namespace have grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    drops: u64,
    /// How often the accept queue of a listener was full.
    pub(crate) overflows: u64,
}

/// How many packets all of these have dropped: in each network namespace no more than it counts, since
/// a packet may be in the limit of several listeners.
pub(crate) fn sum(dropped: &[Dropped]) -> u64 {
    let mut namespaces = HashMap::new();
    for one in dropped {
        let sum = namespaces.entry(one.listener.netns).or_default();
        *sum += one.packets;
        if let Some(growth) = one.in_namespace {
            *sum = growth.drops.min(*sum);
        }
    }
    namespaces.into_values().sum()
}

impl DropCounts {
    /// Who has dropped packets since the last call, or since the start: most packets first.
    pub(crate) fn advance<'a>(&mut self, queues: &'a Queues) -> Vec<Dropped<'a>> {
        let namespaces: HashMap<_, _> = queues
            .namespaces
            .iter()
            .map(|namespace| (namespace.netns, *namespace))
            .collect();
        let mut listeners = HashMap::new();
        let mut dropped = Vec::new();
        for (listener, since_start) in &queues.listeners {
            let Some(since_start @ 1..) = *since_start else {
                continue;
            };
            let key = (listener.netns, listener.cookie);
            let before = self.listeners.get(&key).copied().unwrap_or_default();
            listeners.insert(key, since_start);
            let counted = u64::from(since_start.wrapping_sub(before));
            let in_namespace = namespaces.get(&listener.netns).map(|namespace| {
                let before = self.namespaces.get(&listener.netns);
                // From before the last look to after this one: all that the listener counted is in it.
                let (drops, overflows) =
                    before.map_or((0, 0), |before| (before.drops_before, before.overflows));
                Growth {
                    drops: namespace.drops.saturating_sub(drops),
                    overflows: namespace.overflows.saturating_sub(overflows),
                }
            });
            let packets = in_namespace.map_or(counted, |growth| growth.drops.min(counted));
            if packets > 0 {
                dropped.push(Dropped {
                    listener,
                    packets,
                    is_at_most: packets < counted,
                    in_namespace,
                });
            }
        }
        dropped.sort_by_key(|dropped| Reverse(dropped.packets));
        *self = Self {
            listeners,
            namespaces,
        };
        dropped
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::queues::GoneDrops;

    fn listener(cookie: u64, netns: u32) -> Listener {
        Listener {
            address: ([127, 0, 0, 1], 80).into(),
            netns,
            is_own_netns: true,
            inode: 1,
            cookie,
            waiting: 0,
            limit: 2,
            drops: Some(7),
            owners: Arc::default(),
            began_too_late: false,
        }
    }

    fn namespace(netns: u32, overflows: u64, drops: u64) -> NamespaceDrops {
        NamespaceDrops {
            netns,
            is_own_netns: true,
            overflows,
            drops,
            drops_before: drops,
        }
    }

    /// Listeners 1 and 2 in one network namespace, 3 in another.
    fn queues(dropped: [u32; 3], namespaces: &[NamespaceDrops]) -> Queues {
        let listeners = [(1, 1), (2, 1), (3, 2)].map(|(cookie, netns)| listener(cookie, netns));
        Queues {
            listeners: listeners.into_iter().zip(dropped.map(Some)).collect(),
            closed: Vec::new(),
            lost_drops: false,
            gone: GoneDrops::default(),
            namespaces: namespaces.to_vec(),
        }
    }

    /// The cookie, the packets and the overflows of each.
    fn advance(counts: &mut DropCounts, queues: &Queues) -> Vec<(u64, u64, Option<u64>)> {
        let dropped = counts.advance(queues);
        let overflows = |one: &Dropped| one.in_namespace.map(|growth| growth.overflows);
        let figures = |one: &Dropped| (one.listener.cookie, one.packets, overflows(one));
        dropped.iter().map(figures).collect()
    }

    #[test]
    fn only_what_is_new_counts() {
        let mut counts = DropCounts::default();
        let first = queues([3, 0, 5], &[namespace(1, 3, 3), namespace(2, 4, 5)]);
        assert_eq!(
            advance(&mut counts, &first),
            [(3, 5, Some(4)), (1, 3, Some(3))]
        );
        assert_eq!(advance(&mut counts, &first), []);
        let second = queues([4, 9, 5], &[namespace(1, 13, 13), namespace(2, 4, 5)]);
        assert_eq!(
            advance(&mut counts, &second),
            [(2, 9, Some(10)), (1, 1, Some(10))]
        );
    }

    #[test]
    fn packets_that_are_no_lost_connections_do_not_count() {
        let mut counts = DropCounts::default();
        // As with `TCP_DEFER_ACCEPT`, and with one that was dropped for some other reason.
        let deferred = queues([1000, 0, 1000], &[namespace(1, 0, 0), namespace(2, 0, 1)]);
        assert_eq!(advance(&mut counts, &deferred), [(3, 1, Some(0))]);
        let without_counters = queues([1010, 0, 1000], &[]);
        assert_eq!(advance(&mut counts, &without_counters), [(1, 10, None)]);
    }

    #[test]
    fn drops_of_another_listener_are_summed_once() {
        let queues = queues([1000, 34, 5], &[namespace(1, 33, 34), namespace(2, 4, 5)]);
        let mut counts = DropCounts::default();
        let dropped = counts.advance(&queues);
        let limits = dropped.iter().map(|one| (one.packets, one.is_at_most));
        assert_eq!(
            limits.collect::<Vec<_>>(),
            [(34, true), (34, false), (5, false)]
        );
        assert_eq!(sum(&dropped), 34 + 5);
    }

    #[test]
    fn a_drop_between_two_queries_is_not_lost() {
        let mut counts = DropCounts::default();
        // In the count of the listener, and in that of the namespace only after it was read first.
        let during = NamespaceDrops {
            drops_before: 0,
            ..namespace(1, 1, 1)
        };
        assert_eq!(advance(&mut counts, &queues([0, 0, 0], &[during])), []);
        let later = queues([1, 0, 0], &[namespace(1, 1, 1)]);
        assert_eq!(advance(&mut counts, &later), [(1, 1, Some(0))]);
    }

    #[test]
    fn counts_of_the_kernel_wrap_around() {
        let mut counts = DropCounts::default();
        counts.advance(&queues([u32::MAX, 0, 0], &[]));
        assert_eq!(
            advance(&mut counts, &queues([2, 0, 0], &[])),
            [(1, 3, None)]
        );
    }
}
