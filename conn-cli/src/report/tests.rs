use std::time::Duration;

use super::*;
use crate::{count::tally::Tally, model::hook::Hook};

fn tally(clients: &[(u8, u64)]) -> Tally {
    let mut tally = Tally::default();
    for &(client, connections) in clients {
        tally.add(&Host::at([192, 0, 2, client]), Some(80), connections);
    }
    tally
}

fn summary(stages: &[(Stage, Tally)], top: Top) -> Report {
    let mut counts = Counts::new(stages.iter().map(|(stage, _)| *stage));
    for (stage, tally) in stages {
        counts.add_tally(*stage, tally.clone());
    }
    Report::new(
        counts,
        None,
        Listing {
            top,
            ..Listing::default()
        },
        Discrepancies::default(),
        Origin::Records(ReadStats::default()),
        None,
    )
}

#[test]
fn syn_only_clients_have_a_row() {
    let stages = [
        (Stage::Syn, tally(&[(1, 3), (2, 9), (3, 5)])),
        (Stage::Established, tally(&[(1, 3), (2, 1)])),
        (Stage::Accepted, tally(&[(1, 2)])),
    ];
    let summary = summary(&stages, Top::All);
    let rows: Vec<_> = summary
        .rows
        .iter()
        .map(|row| {
            let earlier: Vec<u64> = row.earlier.values().copied().collect();
            (row.key.to_string(), earlier, row.connections)
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("192.0.2.1".to_owned(), vec![3, 3], 2),
            ("192.0.2.2".to_owned(), vec![9, 1], 0),
            ("192.0.2.3".to_owned(), vec![5, 0], 0),
        ]
    );
    assert_eq!((summary.connections, summary.groups), (2, 1));
}

#[test]
fn left_off_rows_are_summed() {
    let mut counted = tally(&[(1, 5), (2, 3), (3, 2)]);
    counted.add(&Host::Unknown, None, 7);
    counted.add_other(1);
    let summary = summary(&[(Stage::Accepted, counted)], Top::First(1));
    assert_eq!(summary.connections, 18);
    assert_eq!((summary.unknown_clients, summary.other_clients), (7, 1));
    assert_eq!((summary.rows.len(), summary.groups), (1, 3));
    let left_off = summary.left_off.unwrap();
    assert_eq!((left_off.rows, left_off.connections), (2, 5));
}

#[test]
fn new_clients_are_found_before_rows_are_left_off() {
    let mut known = crate::count::known::Known::default();
    let mut counts = Counts::new([Stage::Syn, Stage::Accepted]);
    let clients: Vec<_> = (1..=30).map(|client| (client, u64::from(client))).collect();
    counts.add_tally(Stage::Accepted, tally(&clients));
    // It has only asked.
    counts.add_tally(Stage::Syn, tally(&[(99, 1)]));
    let report = |known: &Known| {
        let listing = Listing {
            top: Top::First(1),
            ..Listing::default()
        };
        let origin = Origin::Records(ReadStats::default());
        let counts = counts.clone();
        Report::new(
            counts,
            None,
            listing,
            Discrepancies::default(),
            origin,
            Some(known),
        )
    };
    let new = report(&known).new_clients.unwrap();
    assert_eq!((new.clients, new.first.len()), (30, 20));
    let most = GroupKey::Client(Host::at([192, 0, 2, 30]));
    assert_eq!(new.first[0], (most, 30));
    // Who was seen is as new as before.
    assert!(known.is_new(&Host::at([192, 0, 2, 30])));
    assert_eq!(report(&known).new_clients, Some(new));
}

#[test]
fn stages_with_missing_connections_are_listed() {
    let stages = |at_least, missed_established| {
        let live = Live {
            missed_established,
            ..Live::sample(Hook::Kretprobe, Duration::from_secs(1))
        };
        let mut summary = Report::sample(&tally(&[(1, 5)]), Origin::Kernel(live));
        summary.discrepancies.at_least = at_least;
        summary.stages_at_least()
    };
    assert_eq!(stages(false, Some(0)), [].into());
    assert_eq!(stages(true, None), [Stage::Accepted].into());
    assert_eq!(stages(false, Some(2)), [Stage::Established].into());
}

#[test]
fn the_screen_leaves_off_what_it_has_no_room_for() {
    let counted = || [(Stage::Accepted, tally(&[(1, 5), (2, 3), (3, 2)]))];
    let fitted = |rows| {
        let mut summary = summary(&counted(), Top::Screen);
        summary.fit(rows);
        summary
    };
    let label = |rows| fitted(rows).without_row().pop();
    assert_eq!(label(1), Some(("2 other addresses".to_owned(), vec![5])));
    assert_eq!(label(2), Some(("1 other address".to_owned(), vec![2])));
    assert_eq!(label(3), None);
    assert!(fitted(1).lacks_room() && !fitted(3).lacks_room());
    assert!(!summary(&counted(), Top::First(1)).lacks_room());
}

#[test]
fn nothing_is_left_off_if_all_rows_fit() {
    let summary = summary(&[(Stage::Accepted, tally(&[(1, 5)]))], Top::First(1));
    assert_eq!(summary.left_off, None);
}
