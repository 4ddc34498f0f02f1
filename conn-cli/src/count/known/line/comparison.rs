//! The shapes of the text of `conn-cli compare`.

use super::{Entry, host};
use crate::model::printed::{is_number, words};

/// A row of a comparison: `0  40  +40  192.168.122.61  new`, or `107  174  +67  3 other addresses`.
pub(super) fn row(line: &str) -> Option<Option<Entry>> {
    let words: Vec<_> = words(line).collect();
    let [before, after, difference, ref last @ ..] = words[..] else {
        return None;
    };
    let difference = difference.strip_prefix(['+', '-']).unwrap_or(difference);
    if ![before, after, difference].into_iter().all(is_number) {
        return None;
    }
    match *last {
        [key] | [key, "new" | "gone"] => host(key),
        [number, "other", "address" | "addresses"] if is_number(number) => Some(None),
        _ => None,
    }
}

/// Whether this is the last line of a comparison: `a: 408 connections from 4 addresses; b: 192
/// connections from 4 addresses; 1 new address, 1 gone`. The names of the inputs can be anything.
pub(super) fn is_total(line: &str) -> bool {
    let is_side = |side: &str| {
        let counts = side.rsplit(": ").next().unwrap_or_default();
        let words: Vec<_> = words(counts).collect();
        matches!(
            words[..],
            [connections, "connection" | "connections", "from", addresses, "address" | "addresses"]
                if is_number(connections) && is_number(addresses)
        )
    };
    let is_change = |change: &str| {
        let words: Vec<_> = words(change).collect();
        matches!(
            words[..],
            [new, "new", "address," | "addresses,", gone, "gone"] if is_number(new) && is_number(gone)
        )
    };
    // From the end, as the names come first.
    let mut parts = line.rsplitn(3, "; ");
    parts.next().is_some_and(is_change) && parts.next().is_some_and(is_side)
}
