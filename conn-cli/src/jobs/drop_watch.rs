//! When to look at what listeners drop, and what to say then.

use std::time::Duration;

use tokio::time::Instant;

use crate::{count::drops::DropCounts, model::queues::Queues, output::dropping};

/// The time before the first look, so that a short run has one, too.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(2);

/// The time between two looks. The kernel goes through all its listening sockets each time, and anybody
/// can cause warnings.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// The times of the looks, and what had been dropped at the last one.
#[derive(Debug)]
pub(super) struct DropWatch {
    last: Instant,
    next: Instant,
    counts: DropCounts,
}

impl DropWatch {
    /// Begins to watch now.
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            last: now,
            next: now + FIRST_LOOK_AFTER,
            counts: DropCounts::default(),
        }
    }

    /// How long until the next look.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// Begins a look, if it is time.
    pub(super) fn begin_look(&mut self, now: Instant) -> bool {
        let is_due = self.left(now).is_zero();
        if is_due {
            self.next = now + LOOK_INTERVAL;
        }
        is_due
    }

    /// The warnings after a look; None if it failed.
    pub(super) fn look(&mut self, now: Instant, queues: Option<&Queues>) -> Vec<String> {
        self.next = now + LOOK_INTERVAL;
        let Some(queues) = queues else {
            return Vec::new();
        };
        let seconds = (now - self.last).as_secs_f64().round();
        self.last = now;
        dropping(&self.counts.advance(queues), seconds as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        listener::Listener,
        queues::{GoneDrops, NamespaceDrops},
    };

    /// One listener whose queue is full, and what it has dropped since the start.
    fn queues(dropped: u32) -> Queues {
        let listener = Listener {
            address: ([0, 0, 0, 0], 80).into(),
            netns: 1,
            is_own_netns: true,
            inode: 1,
            cookie: 1,
            waiting: 3,
            limit: 2,
            drops: Some(dropped),
            owners: Arc::default(),
            began_too_late: false,
        };
        let namespace = NamespaceDrops {
            netns: 1,
            is_own_netns: true,
            overflows: dropped.into(),
            drops: dropped.into(),
            drops_before: dropped.into(),
        };
        Queues {
            listeners: vec![(listener, Some(dropped))],
            closed: Vec::new(),
            lost_drops: false,
            gone: GoneDrops::default(),
            namespaces: vec![namespace],
        }
    }

    #[test]
    fn each_drop_is_said_once_and_when_it_happened() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = DropWatch::begin(start);
        assert_eq!(watch.left(at(0)), Duration::from_secs(2));
        assert!(!watch.begin_look(at(1)) && watch.begin_look(at(2)));
        assert!(!watch.begin_look(at(2)), "it has begun");
        assert!(watch.look(at(2), Some(&queues(0))).is_empty());
        assert_eq!(watch.left(at(3)), Duration::from_secs(9));
        let expected = |packets, seconds| {
            let full = "warning: accept queue of 0.0.0.0:80 process not known is full (3 waiting, backlog 2)";
            format!("{full}: {packets} packets dropped in the last {seconds} s")
        };
        assert_eq!(watch.look(at(12), Some(&queues(37))), [expected(37, 10)]);
        assert!(watch.look(at(22), Some(&queues(37))).is_empty());
        assert_eq!(watch.look(at(32), Some(&queues(40))), [expected(3, 10)]);
        // Nothing is lost if the kernel cannot be asked for a while.
        assert!(watch.look(at(42), None).is_empty());
        assert_eq!(watch.left(at(42)), Duration::from_secs(10));
        assert_eq!(watch.look(at(44), Some(&queues(45))), [expected(5, 12)]);
        assert_eq!(watch.left(at(54)), Duration::ZERO);
    }
}
