//! Lines for connections or intervals, and their timestamps.

use serde_json::json as object;

use super::{DATED, by_hand, json, recorded, text, total, truth};

#[test]
fn interval_shows_a_row_for_each_interval() {
    let (rows, summary) = json("--interval 1s", &[], &by_hand());
    let columns: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["start"].as_str().unwrap(),
                &row["connections"],
                &row["addresses"],
            )
        })
        .collect();
    let at = |second: &str| format!("2026-11-22T15:12:{second}.000000+00:00");
    assert_eq!(
        columns,
        [
            (&*at("01"), &object!(3), &object!(2)),
            (&*at("02"), &object!(0), &object!(0)),
            (&*at("03"), &object!(0), &object!(0)),
            (&*at("04"), &object!(1), &object!(1)),
        ]
    );
    assert_eq!(rows[0]["busiest_address"], "192.0.2.1");
    assert_eq!(rows[0]["busiest_connections"], 2);
    assert_eq!(summary["connections"], 4);
    let (rows, _) = text("--interval 2s", &[], &by_hand());
    let words = |row: &String| -> Vec<String> {
        row.split_whitespace().take(4).map(str::to_owned).collect()
    };
    assert_eq!(
        rows.iter().map(words).collect::<Vec<_>>(),
        [
            ["2026-11-22", "15:12:00", "3", "connections"],
            ["2026-11-22", "15:12:02", "0", "connections"],
            ["2026-11-22", "15:12:04", "1", "connection"],
        ]
    );
    for file in DATED {
        let (rows, summary) = json("--interval 100ms", &[&recorded(file)], "");
        let sum: u64 = rows
            .iter()
            .map(|row| row["connections"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, total(&truth(file)), "{file}");
        assert_eq!(summary["connections"], sum, "{file}");
        assert!(rows.len() > 1, "{file}");
    }
}

#[test]
fn time_chooses_the_form_of_timestamps() {
    let first = |options: &str| text(options, &[], &by_hand()).0[1].clone();
    let rest = "New connection from 192.0.2.2 to port 80";
    for (options, time) in [
        ("", "Sun Nov 22 15:12:01 2026"),
        ("--time ctime", "Sun Nov 22 15:12:01 2026"),
        ("--time iso", "2026-11-22T15:12:01.500000+00:00"),
        ("--time epoch", "1795360321.500000"),
        ("--time delta", "0.250000"),
    ] {
        assert_eq!(first(options), format!("{time} {rest}"), "{options}");
    }
}
