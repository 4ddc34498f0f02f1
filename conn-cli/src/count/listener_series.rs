//! The gauges of listeners from one look at their queues to the next, in bounded memory.

use std::net::SocketAddr;

use super::drops::{self, DropCounts};
use crate::model::{
    listener::{Listener, Unseen},
    listener_gauges::{ListenerGauge, ListenerGauges, MAX_LISTENERS, QueueGauges},
    queues::Queues,
};

/// What is known of the listeners.
#[derive(Debug, Default)]
pub(crate) struct ListenerSeries {
    /// In the order in which they were seen. One that does not listen any more gives up its place when
    /// another one needs it: a server may just be restarting.
    named: Vec<ListenerGauge>,
    other: QueueGauges,
    dropped: u64,
    counts: DropCounts,
}

impl ListenerSeries {
    /// Takes what a look has found.
    pub(crate) fn update(&mut self, queues: &Queues) {
        for gauges in self.all_mut() {
            *gauges = QueueGauges {
                dropped: gauges.dropped,
                ..QueueGauges::default()
            };
        }
        let (known, new): (Vec<_>, Vec<_>) =
            (queues.listeners.iter().map(|(listener, _)| listener))
                .partition(|listener| self.index(listener).is_some());
        for listener in known {
            self.gauges(listener).add(listener);
        }
        for listener in new {
            self.make_room_for(listener);
            self.gauges(listener).add(listener);
        }
        let mut counts = std::mem::take(&mut self.counts);
        let dropped = counts.advance(queues);
        for one in &dropped {
            self.gauges(one.listener).dropped += one.packets;
        }
        self.dropped += drops::sum(&dropped);
        self.counts = counts;
    }

    /// The gauges now, with what the survey of the listeners tells besides.
    pub(crate) fn gauges_now(&self, unseen: Unseen, follows_namespaces: bool) -> ListenerGauges {
        let listen = |gauge: &&ListenerGauge| gauge.queues.sockets > 0;
        ListenerGauges {
            listeners: self.named.iter().filter(listen).cloned().collect(),
            other: self.other,
            dropped: self.dropped,
            unseen,
            follows_namespaces,
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut QueueGauges> {
        let named = self.named.iter_mut().map(|gauge| &mut gauge.queues);
        named.chain([&mut self.other])
    }

    fn index(&self, listener: &Listener) -> Option<usize> {
        let place = place(listener);
        let is_same = |gauge: &ListenerGauge| (gauge.netns, gauge.address) == place;
        self.named.iter().position(is_same)
    }

    /// Gives a new one gauges of its own, if that is possible.
    fn make_room_for(&mut self, listener: &Listener) {
        if self.index(listener).is_some() {
            return;
        }
        if self.named.len() == MAX_LISTENERS {
            let is_gone = |gauge: &ListenerGauge| gauge.queues.sockets == 0;
            let Some(gone) = self.named.iter().position(is_gone) else {
                return;
            };
            self.named.remove(gone);
        }
        self.named.push(ListenerGauge {
            address: listener.address,
            netns: listener.netns,
            is_own_netns: listener.is_own_netns,
            queues: QueueGauges::default(),
        });
    }

    /// Those of its own, or of all others.
    fn gauges(&mut self, listener: &Listener) -> &mut QueueGauges {
        match self.index(listener) {
            Some(index) => &mut self.named[index].queues,
            None => &mut self.other,
        }
    }
}

impl QueueGauges {
    fn add(&mut self, listener: &Listener) {
        self.sockets += 1;
        self.length += u64::from(listener.waiting);
        self.limit += u64::from(listener.limit);
    }
}

/// What a restarted server keeps.
fn place(listener: &Listener) -> (u32, SocketAddr) {
    (listener.netns, listener.address)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::queues::GoneDrops;

    fn listener(port: u16, cookie: u64) -> Listener {
        Listener {
            address: ([127, 0, 0, 1], port).into(),
            netns: 1,
            is_own_netns: true,
            inode: 1,
            cookie,
            waiting: 3,
            limit: 10,
            drops: None,
            owners: Arc::default(),
            began_too_late: false,
        }
    }

    fn queues(listeners: impl IntoIterator<Item = (Listener, u32)>) -> Queues {
        let listeners = listeners.into_iter();
        Queues {
            listeners: listeners.map(|(one, drops)| (one, Some(drops))).collect(),
            closed: Vec::new(),
            lost_drops: false,
            namespaces: Vec::new(),
            gone: GoneDrops::default(),
        }
    }

    fn now(series: &ListenerSeries) -> ListenerGauges {
        series.gauges_now(Unseen::default(), false)
    }

    #[test]
    fn sockets_at_one_address_are_summed_and_a_restart_goes_on() {
        let mut series = ListenerSeries::default();
        series.update(&queues([(listener(80, 1), 2), (listener(80, 2), 3)]));
        let both = QueueGauges {
            sockets: 2,
            length: 6,
            limit: 20,
            dropped: 5,
        };
        assert_eq!(now(&series).listeners[0].queues, both);
        series.update(&queues([]));
        assert_eq!((now(&series).listeners.len(), now(&series).dropped), (0, 5));
        series.update(&queues([(listener(80, 3), 1)]));
        let anew = QueueGauges {
            sockets: 1,
            length: 3,
            limit: 10,
            dropped: 6,
        };
        assert_eq!(now(&series).listeners[0].queues, anew);
        assert_eq!(now(&series).dropped, 6);
    }

    #[test]
    fn the_first_ones_stay_and_the_sum_never_goes_back() {
        let mut series = ListenerSeries::default();
        let ports =
            |first: u16, last: u16| (first..=last).map(|port| (listener(port, port.into()), 1));
        series.update(&queues(ports(101, 170)));
        let first = now(&series);
        assert_eq!((first.listeners.len(), first.other.sockets), (64, 6));
        assert_eq!((first.other.dropped, first.dropped), (6, 70));
        // One of the first is gone: one of the others takes its place, at the end.
        series.update(&queues(ports(102, 170)));
        let second = now(&series);
        let port = |at: usize| second.listeners[at].address.port();
        assert_eq!((port(0), port(62), port(63)), (102, 164, 165));
        assert_eq!((second.other.sockets, second.dropped), (5, 70));
        // New ones each time, for weeks.
        for round in 0..1000 {
            series.update(&queues([(listener(80, 1000 + round), 1)]));
        }
        assert_eq!(now(&series).listeners.len(), 1);
        assert_eq!(now(&series).dropped, 1070);
        assert_eq!(series.named.len(), MAX_LISTENERS);
    }
}
