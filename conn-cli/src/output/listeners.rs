//! Who listens: the lines on standard error at the start, what they drop meanwhile, and their accept
//! queues at the end.

use std::{cmp::Reverse, collections::HashSet};

use super::brief::plural;
use crate::{
    count::drops::{self, DropCounts, Dropped},
    model::{
        listener::{Listener, Unseen},
        ports::PortSet,
        queues::Queues,
    },
};

/// How many listeners are named one by one at most.
const MAX_NAMED_LISTENERS: usize = 8;

/// The listeners at the start: the first one and the number of the others, or, if `verbose`, all.
/// `unseen`: what could not be searched.
#[must_use]
pub(crate) fn listening(
    ports: &PortSet,
    listeners: &[Listener],
    unseen: Unseen,
    verbose: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    let named = |listener: &Listener| format!("listening: {}", listener.describe());
    match listeners {
        _ if ports.is_all() => (),
        [first, _, ..] if !verbose => {
            let more = listeners.len() - 1;
            lines.push(format!("{}, and {more} more", named(first)));
        }
        _ => lines.extend(listeners.iter().map(named)),
    }
    if listeners.is_empty() {
        lines.push(match ports.left_out() {
            _ if ports.is_all() => "no listeners".to_owned(),
            Some(others) => format!("no listener on any port but {}", others.numbers()),
            None => format!("no listener on {ports}"),
        });
    }
    if unseen.namespaces > 0 {
        let namespaces = plural(
            unseen.namespaces as u64,
            "network namespace",
            "network namespaces",
        );
        lines.push(format!("note: {namespaces} could not be inspected"));
    }
    if unseen.later > 0 {
        let namespaces = plural(
            unseen.later as u64,
            "network namespace",
            "network namespaces",
        );
        lines.push(format!(
            "note: queues and drops in {namespaces} are not watched: too few files may be open (ulimit -n)"
        ));
    }
    let is_unknown = |listener: &Listener| listener.owners.is_empty();
    if unseen.processes > 0 && listeners.iter().any(is_unknown) {
        let processes = plural(unseen.processes as u64, "process", "processes");
        lines.push(format!("note: {processes} could not be searched"));
    }
    lines
}

/// Why the process of this listener is not known.
#[must_use]
pub(crate) fn began_too_late(listener: &Listener) -> String {
    let address = listener.address;
    format!("note: process not known: {address} began after conn-cli gave up its privileges")
}

/// The listeners for which connections wait, after no new one for so many seconds: the longest queues,
/// since anybody can make many.
#[must_use]
pub(crate) fn waiting<'a>(
    seconds: u64,
    listeners: impl IntoIterator<Item = &'a Listener>,
) -> Vec<String> {
    let is_waiting = |listener: &&Listener| listener.waiting > 0;
    let mut waiting: Vec<_> = listeners.into_iter().filter(is_waiting).collect();
    waiting.sort_by_key(|listener| Reverse(listener.waiting));
    let named = waiting.iter().take(MAX_NAMED_LISTENERS).map(|listener| {
        let listener = listener.describe();
        format!("no new connection for {seconds} s, but some wait to be accepted: {listener}")
    });
    let mut lines: Vec<String> = named.collect();
    if waiting.len() > MAX_NAMED_LISTENERS {
        let more = waiting.len() - MAX_NAMED_LISTENERS;
        lines.push(format!("some wait to be accepted: {more} more listeners"));
    }
    lines
}

/// Warnings about listeners that have dropped packets in the last seconds.
#[must_use]
pub(crate) fn dropping(dropped: &[Dropped], seconds: u64) -> Vec<String> {
    warnings(dropped, &format!(" in the last {seconds} s"))
}

/// The accept queues at the end, first those without a drop. Of many listeners only those with trouble
/// are named.
pub(super) fn queues_at_end(queues: &Queues) -> Vec<String> {
    let dropped = DropCounts::default().advance(queues);
    let have_dropped: HashSet<_> = dropped.iter().map(|one| one.listener.id()).collect();
    let name_all = queues.listeners.len() <= MAX_NAMED_LISTENERS;
    let mut lines = Vec::new();
    for (listener, _) in &queues.listeners {
        if (name_all || listener.waiting > 0) && !have_dropped.contains(&listener.id()) {
            lines.push(format!("{}: {}", listener.name(), listener.queue()));
        }
    }
    lines.append(&mut warnings(&dropped, ""));
    let lacks_count = queues
        .listeners
        .iter()
        .any(|(_, dropped)| dropped.is_none());
    for namespace in &queues.namespaces {
        // The kernel's count for each listener is more precise.
        let is_incomplete = lacks_count || queues.lost_drops || !queues.closed.is_empty();
        if is_incomplete && namespace.drops > 0 {
            let place = match namespace.is_own_netns {
                true => "this network namespace".to_owned(),
                false => format!("network namespace {}", namespace.netns),
            };
            lines.push(format!(
                "all listeners in {place}: {} packets dropped, {} of them by a full accept queue",
                namespace.drops, namespace.overflows
            ));
        }
    }
    if queues.gone.drops > 0 {
        let gone = queues.gone;
        lines.push(format!(
            "all listeners in {} that have none any more: {} dropped, {} of them by a full accept queue",
            plural(gone.namespaces, "network namespace", "network namespaces"),
            plural(gone.drops, "packet", "packets"),
            gone.overflows
        ));
    }
    // After a restart, there is another listener: the service is not gone.
    let place = |listener: &Listener| (listener.netns, listener.address);
    let places: HashSet<_> = queues.listeners.iter().map(|(one, _)| place(one)).collect();
    let gone = queues
        .closed
        .iter()
        .filter(|closed| !places.contains(&place(closed)));
    for listener in gone.take(MAX_NAMED_LISTENERS) {
        lines.push(format!("{} has stopped listening", listener.name()));
    }
    lines
}

/// Those that have dropped most, and how many the others have dropped. That a queue is full was seen;
/// that it was, only the count of all listeners of the namespace says.
fn warnings(dropped: &[Dropped], when: &str) -> Vec<String> {
    let (named, others) = dropped.split_at(dropped.len().min(MAX_NAMED_LISTENERS));
    let mut lines: Vec<_> = named.iter().map(|one| warning(one, when)).collect();
    if !others.is_empty() {
        lines.push(format!(
            "warning: {} dropped {}{when}",
            plural(others.len() as u64, "more listener", "more listeners"),
            packets(
                drops::sum(others),
                others.iter().any(|other| other.is_at_most)
            )
        ));
    }
    lines
}

fn warning(dropped: &Dropped, when: &str) -> String {
    let listener = dropped.listener;
    let name = listener.name();
    let packets = packets(dropped.packets, dropped.is_at_most);
    if listener.is_full() {
        let full = listener.full_queue();
        return format!("warning: accept queue of {name} is full {full}: {packets} dropped{when}");
    }
    let mut line = format!(
        "warning: {name} dropped {packets}{when}, {}",
        listener.queue()
    );
    if let Some(growth) = dropped.in_namespace
        && growth.overflows > 0
    {
        let times = plural(growth.overflows, "time", "times");
        line += &format!("; accept queues in its network namespace overflowed {times}");
        if dropped.is_at_most {
            line += ", on any port";
        }
    }
    line
}

fn packets(number: u64, is_at_most: bool) -> String {
    let up_to = if is_at_most { "up to " } else { "" };
    up_to.to_owned() + &plural(number, "packet", "packets")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::queues::{GoneDrops, NamespaceDrops};

    fn listener(waiting: u32) -> Listener {
        Listener {
            address: ([127, 0, 0, 1], 1000 + waiting as u16).into(),
            netns: 1,
            is_own_netns: true,
            inode: waiting,
            cookie: waiting.into(),
            waiting,
            limit: 128,
            drops: None,
            owners: Arc::default(),
            began_too_late: false,
        }
    }

    fn queues(listeners: Vec<(Listener, Option<u32>)>) -> Queues {
        let drops: u32 = listeners.iter().filter_map(|(_, dropped)| *dropped).sum();
        Queues {
            listeners,
            closed: Vec::new(),
            lost_drops: false,
            gone: GoneDrops::default(),
            namespaces: vec![NamespaceDrops {
                netns: 1,
                is_own_netns: true,
                overflows: drops.into(),
                drops: drops.into(),
                drops_before: drops.into(),
            }],
        }
    }

    #[test]
    fn only_a_queue_that_is_full_is_called_full() {
        let queues = queues(vec![
            (listener(0), Some(0)),
            (listener(128), Some(7)),
            (listener(129), Some(1)),
        ]);
        assert_eq!(
            queues_at_end(&queues),
            [
                "127.0.0.1:1000 process not known: accept queue 0/128",
                "warning: 127.0.0.1:1128 process not known dropped 7 packets, accept queue 128/128; \
                 accept queues in its network namespace overflowed 8 times",
                "warning: accept queue of 127.0.0.1:1129 process not known is full (129 waiting, \
                 backlog 128): 1 packet dropped",
            ]
        );
        let lines = dropping(&DropCounts::default().advance(&queues), 10);
        assert_eq!(
            lines[1],
            "warning: accept queue of 127.0.0.1:1129 process not known is full (129 waiting, backlog \
             128): 1 packet dropped in the last 10 s"
        );
    }

    #[test]
    fn no_cause_is_given_without_an_overflow() {
        let mut queues = queues(vec![(listener(0), Some(2))]);
        queues.namespaces[0].overflows = 0;
        let expected =
            "warning: 127.0.0.1:1000 process not known dropped 2 packets, accept queue 0/128";
        assert_eq!(queues_at_end(&queues), [expected]);
        queues.namespaces.clear();
        assert_eq!(queues_at_end(&queues), [expected]);
    }

    #[test]
    fn drops_that_may_be_those_of_another_listener_are_a_limit() {
        let mut queues = queues(vec![(listener(0), Some(7)), (listener(129), Some(7))]);
        queues.namespaces[0].drops = 2;
        queues.namespaces[0].overflows = 1;
        assert_eq!(
            queues_at_end(&queues),
            [
                "warning: 127.0.0.1:1000 process not known dropped up to 2 packets, accept queue \
                 0/128; accept queues in its network namespace overflowed 1 time, on any port",
                "warning: accept queue of 127.0.0.1:1129 process not known is full (129 waiting, \
                 backlog 128): up to 2 packets dropped",
            ]
        );
        queues.listeners = (0..=9).map(|port| (listener(port), Some(7))).collect();
        assert_eq!(
            queues_at_end(&queues)[8],
            "warning: 2 more listeners dropped up to 2 packets"
        );
    }

    #[test]
    fn of_many_listeners_those_that_dropped_most_are_named() {
        let queues = queues((0..=10).map(|port| (listener(port), Some(port))).collect());
        let lines = queues_at_end(&queues);
        assert_eq!(lines.len(), 9, "{lines:?}");
        assert!(lines[0].contains("127.0.0.1:1010 ") && lines[7].contains("127.0.0.1:1003 "));
        assert_eq!(lines[8], "warning: 2 more listeners dropped 3 packets");
    }

    #[test]
    fn a_listener_that_was_replaced_has_not_stopped() {
        let mut queues = queues(vec![(listener(0), Some(0))]);
        let old = |port| Listener {
            cookie: 99,
            ..listener(port)
        };
        queues.closed = vec![old(0), old(1)];
        assert_eq!(
            queues_at_end(&queues),
            [
                "127.0.0.1:1000 process not known: accept queue 0/128",
                "127.0.0.1:1001 process not known has stopped listening",
            ]
        );
    }

    #[test]
    fn what_a_listener_dropped_that_came_and_went_is_in_the_sum() {
        let mut queues = queues(Vec::new());
        queues.namespaces[0].drops = 7;
        queues.namespaces[0].overflows = 6;
        assert_eq!(queues_at_end(&queues), [""; 0]);
        queues.lost_drops = true;
        assert_eq!(
            queues_at_end(&queues),
            [
                "all listeners in this network namespace: 7 packets dropped, 6 of them by a full accept \
              queue"
            ]
        );
    }

    #[test]
    fn what_was_dropped_in_namespaces_that_are_gone_is_one_sum() {
        let mut queues = queues(vec![(listener(0), Some(0))]);
        for drops in [0, 4, 5] {
            queues.gone.add(NamespaceDrops {
                netns: 2,
                is_own_netns: false,
                overflows: 1,
                drops,
                drops_before: 0,
            });
        }
        assert_eq!(
            queues_at_end(&queues)[1],
            "all listeners in 2 network namespaces that have none any more: 9 packets dropped, 3 of them \
             by a full accept queue"
        );
    }

    #[test]
    fn several_listeners_are_one_line_unless_all_are_wanted() {
        let ports: PortSet = "1000-1099".parse().unwrap();
        let many: Vec<_> = (0..20).map(listener).collect();
        let line = format!("listening: {}", many[0].describe());
        assert_eq!(
            listening(&ports, &many[..1], Unseen::default(), false),
            [&*line]
        );
        let summed = format!("{line}, and 19 more");
        let none_unseen = Unseen::default();
        let unseen = Unseen {
            namespaces: 2,
            later: 4,
            processes: 3,
        };
        let note = "note: 2 network namespaces could not be inspected";
        let later = "note: queues and drops in 4 network namespaces are not watched: too few files may be \
                     open (ulimit -n)";
        let searched = "note: 3 processes could not be searched";
        assert_eq!(
            listening(&ports, &many, unseen, false),
            [&*summed, note, later, searched]
        );
        assert_eq!(listening(&ports, &many, none_unseen, true).len(), 20);
        let none: [&str; 0] = [];
        assert_eq!(listening(&PortSet::all(), &many, none_unseen, false), none);
        assert_eq!(
            listening(&ports, &[], none_unseen, false),
            ["no listener on ports 1000-1099"]
        );
        assert_eq!(
            listening(&PortSet::all().without(&ports), &[], none_unseen, false),
            ["no listener on any port but 1000-1099"]
        );
    }

    #[test]
    fn of_many_waiting_queues_the_longest_are_named() {
        let listeners: Vec<_> = (0..=10).map(listener).collect();
        let lines = waiting(2, &listeners);
        assert_eq!(lines.len(), 9, "{lines:?}");
        assert!(
            lines[0].starts_with("no new connection for 2 s"),
            "{lines:?}"
        );
        assert!(lines[0].contains("127.0.0.1:1010 ") && lines[7].contains("127.0.0.1:1003 "));
        assert_eq!(lines[8], "some wait to be accepted: 2 more listeners");
        assert_eq!(waiting(2, &listeners[..1]), Vec::<String>::new());
    }
}
