//! Who listens: the lines on standard error at the start, and their accept queues at the end.

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
