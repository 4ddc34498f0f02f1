//! Two counts side by side, by address.

use std::cmp::Reverse;

use super::tally::Tally;
use crate::model::{connection::Host, group::GroupKey};

/// The counts of two inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// The first.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// The addresses, those whose count has changed most first.
    pub rows: Vec<ComparedRow>,
    /// How many addresses `--top` leaves off, and their sums.
    pub left_off: Option<(usize, Change)>,
    /// The connections whose client is not known, if there are any.
    pub unknown: Option<Change>,
    /// How many addresses are only in the second.
    pub new: usize,
    /// How many addresses are only in the first.
    pub gone: usize,
}

/// One of the inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// Its name, safe to show.
    pub name: String,
    /// All its connections.
    pub connections: u64,
    /// How many addresses they are from.
    pub addresses: usize,
}

/// An address in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ComparedRow {
    /// Its address, or its name.
    pub host: Host,
    /// Its connections.
    pub change: Change,
}

/// The connections in either input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// In the first.
    pub before: u64,
    /// In the second.
    pub after: u64,
}

impl Change {
    /// How many more there are in the second.
    #[must_use]
    pub(crate) fn difference(self) -> i128 {
        i128::from(self.after) - i128::from(self.before)
    }

    /// Whether there are none in the first.
    #[must_use]
    pub(crate) fn is_new(self) -> bool {
        self.before == 0
    }

    /// Whether there are none in the second.
    #[must_use]
    pub(crate) fn is_gone(self) -> bool {
        self.after == 0
    }

    fn add(&mut self, other: Self) {
        self.before = self.before.saturating_add(other.before);
        self.after = self.after.saturating_add(other.after);
    }
}

impl Comparison {
    /// Compares the counts of two inputs with these names. `top`: how many rows at most.
    #[must_use]
    pub(crate) fn new(names: [String; 2], tallies: [Tally; 2], top: Option<usize>) -> Self {
        let connections = tallies.each_ref().map(Tally::connections);
        let [before, after] = tallies;
        let mut unknown = Change {
            before: before.other(),
            after: after.other(),
        };
        // Sorted in place, since a table of all addresses takes much more memory.
        let mut rows = Vec::new();
        add_rows(&mut rows, before, |before| Change { before, after: 0 });
        add_rows(&mut rows, after, |after| Change { before: 0, after });
        rows.sort_unstable_by(|one, other| one.host.cmp(&other.host));
        rows.dedup_by(|next, kept| {
            let is_same = next.host == kept.host;
            if is_same {
                kept.change.add(next.change);
            }
            is_same
        });
        if let Some(index) = rows.iter().position(|row| row.host == Host::Unknown) {
            unknown.add(rows.swap_remove(index).change);
        }
        let size = |change: Change| (change.difference().abs(), change.before.max(change.after));
        rows.sort_unstable_by(|one, other| {
            let sizes = Reverse(size(one.change)).cmp(&Reverse(size(other.change)));
            sizes.then_with(|| one.host.cmp(&other.host))
        });
        let addresses =
            |is_none: fn(Change) -> bool| rows.iter().filter(|row| is_none(row.change)).count();
        let (new, gone) = (addresses(Change::is_new), addresses(Change::is_gone));
        let [before, after] = names;
        let side = |name, connections, missing: usize| Side {
            name,
            connections,
            addresses: rows.len() - missing,
        };
        let before = side(before, connections[0], new);
        let after = side(after, connections[1], gone);
        let shown = top.unwrap_or(rows.len()).min(rows.len());
        let mut sums = Change::default();
        for row in &rows[shown..] {
            sums.add(row.change);
        }
        let left_off = (shown < rows.len()).then_some((rows.len() - shown, sums));
        rows.truncate(shown);
        Self {
            before,
            after,
            rows,
            left_off,
            unknown: Some(unknown).filter(|unknown| *unknown != Change::default()),
            new,
            gone,
        }
    }
}

/// Adds a row for each address and port of one of the inputs.
fn add_rows(rows: &mut Vec<ComparedRow>, tally: Tally, change: impl Fn(u64) -> Change) {
    rows.reserve_exact(tally.pairs().iter().sum());
    rows.extend(tally.into_pairs().filter_map(|(key, _, connections)| {
        let GroupKey::Client(host) = key else {
            return None;
        };
        let change = change(connections);
        Some(ComparedRow { host, change })
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(clients: &[(u8, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (client, connections) in clients {
            let host = Host::at([192, 0, 2, *client]);
            // One of them to another port.
            tally.add(&host, Some(443), 1);
            tally.add(&host, Some(80), connections - 1);
        }
        tally
    }

    fn compare(before: &[(u8, u64)], after: &[(u8, u64)], top: Option<usize>) -> Comparison {
        let names = ["a".to_owned(), "b".to_owned()];
        Comparison::new(names, [tally(before), tally(after)], top)
    }

    fn rows(comparison: &Comparison) -> Vec<(String, i128)> {
        let rows = comparison.rows.iter();
        rows.map(|row| (row.host.to_string(), row.change.difference()))
            .collect()
    }

    #[test]
    fn the_largest_difference_is_first() {
        let (before, after) = (
            [(1, 9), (2, 5), (3, 7), (10, 1)],
            [(1, 1), (3, 9), (4, 5), (10, 1)],
        );
        let comparison = compare(&before, &after, None);
        let expected = [("1", -8), ("2", -5), ("4", 5), ("3", 2), ("10", 0)];
        let expected = expected.map(|(host, difference)| (format!("192.0.2.{host}"), difference));
        assert_eq!(rows(&comparison), expected);
        assert_eq!((comparison.new, comparison.gone), (1, 1));
        let sides = [&comparison.before, &comparison.after];
        let sides = sides.map(|side| (side.connections, side.addresses));
        assert_eq!(sides, [(22, 4), (16, 4)]);
        assert_eq!((comparison.left_off, comparison.unknown), (None, None));
        let top = compare(&before, &after, Some(2));
        assert_eq!(rows(&top), expected[..2]);
        let sums = Change {
            before: 8,
            after: 15,
        };
        assert_eq!(top.left_off, Some((3, sums)));
        assert_eq!((top.new, top.gone), (1, 1));
    }

    #[test]
    fn unknown_clients_are_no_address() {
        let (mut before, mut after) = (tally(&[(1, 2)]), tally(&[]));
        before.add(&Host::Unknown, None, 3);
        after.add_other(u64::MAX);
        let names = [String::new(), String::new()];
        let comparison = Comparison::new(names, [before, after], None);
        assert_eq!(rows(&comparison), [("192.0.2.1".to_owned(), -2)]);
        let unknown = comparison.unknown.unwrap();
        assert_eq!((unknown.before, unknown.after), (3, u64::MAX));
        assert_eq!((comparison.new, comparison.gone), (0, 1));
    }
}
