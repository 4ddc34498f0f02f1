//! Who listens: the lines on standard error at the start, and their accept queues at the end.

use std::cmp::Reverse;

use super::brief::plural;
use crate::model::{listener::Listener, ports::PortSet, queues::Queues};

/// How many listeners are named one by one at most.
const MAX_NAMED_LISTENERS: usize = 8;

/// The listeners at the start. `hidden_namespaces`: how many network namespaces could not be
/// inspected.
#[must_use]
pub(crate) fn listening(
    ports: &PortSet,
    listeners: &[Listener],
    hidden_namespaces: usize,
) -> Vec<String> {
    let mut lines = Vec::new();
    if !ports.is_all() {
        let named = listeners.iter().take(MAX_NAMED_LISTENERS);
        lines.extend(named.map(|listener| format!("listening: {}", listener.describe())));
        if listeners.len() > MAX_NAMED_LISTENERS {
            let more = listeners.len() - MAX_NAMED_LISTENERS;
            lines.push(format!("listening: {more} more"));
        }
    }
    if listeners.is_empty() {
        lines.push(if ports.is_all() {
            "no listeners".to_owned()
        } else {
            format!("no listener on {ports}")
        });
    }
    if hidden_namespaces > 0 {
        let namespaces = plural(
            hidden_namespaces as u64,
            "network namespace",
            "network namespaces",
        );
        lines.push(format!("{namespaces} could not be inspected"));
    }
    lines
}

/// The listeners for which connections wait, after no new one for so many seconds: the longest queues,
/// since anybody can make many.
#[must_use]
pub(crate) fn waiting(seconds: u64, listeners: &[Listener]) -> Vec<String> {
    let is_waiting = |listener: &&Listener| listener.waiting > 0;
    let mut waiting: Vec<_> = listeners.iter().filter(is_waiting).collect();
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

/// The accept queues at the end. Of many listeners only those with trouble are named.
pub(super) fn queues_at_end(queues: &Queues) -> Vec<String> {
    let mut lines = Vec::new();
    let name_all = queues.listeners.len() <= MAX_NAMED_LISTENERS;
    for (listener, dropped) in &queues.listeners {
        let dropped = *dropped;
        if name_all || listener.waiting > 0 || dropped.is_some_and(|dropped| dropped > 0) {
            lines.push(queue(listener, dropped));
        }
    }
    let lacks_count = queues
        .listeners
        .iter()
        .any(|(_, dropped)| dropped.is_none());
    for namespace in &queues.namespaces {
        // The kernel's count for each listener is more precise.
        if (lacks_count || !queues.closed.is_empty()) && namespace.drops > 0 {
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
    for listener in queues.closed.iter().take(MAX_NAMED_LISTENERS) {
        lines.push(format!("{} has stopped listening", listener.name()));
    }
    lines
}

fn queue(listener: &Listener, dropped: Option<u32>) -> String {
    let mut line = format!(
        "{}: accept queue {}/{}",
        listener.name(),
        listener.waiting,
        listener.limit
    );
    if let Some(dropped) = dropped {
        line += &format!(", {} dropped", plural(dropped.into(), "packet", "packets"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_waiting_queues_the_longest_are_named() {
        let listener = |waiting: u32| Listener {
            address: ([127, 0, 0, 1], 1000 + waiting as u16).into(),
            netns: 1,
            is_own_netns: true,
            inode: waiting,
            cookie: waiting.into(),
            waiting,
            limit: 128,
            drops: None,
            owners: Vec::new(),
        };
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
