//! Checks of the cases themselves, which run everywhere.

use std::time::Duration;

use lab::machine::{Line, Machine, Processors};
use serde_json::json;

use crate::cases::{resets, waits};
use crate::list::CASES;
use crate::plan::{Depth, planned};
use crate::rfc3339;

/// The name and the body of each check.
pub(crate) const CHECKS: [(&str, fn()); 7] = [
    (
        "self-check/case-names-are-distinct",
        case_names_are_distinct,
    ),
    (
        "self-check/every-machine-has-cases",
        every_machine_has_cases,
    ),
    (
        "self-check/every-case-runs-with-each-of-its-hooks",
        every_case_runs_with_each_of_its_hooks,
    ),
    (
        "self-check/server-end-is-recognized",
        server_end_is_recognized,
    ),
    ("self-check/quantiles-are-computed", quantiles_are_computed),
    ("self-check/time-of-day-is-parsed", time_of_day_is_parsed),
    ("self-check/timestamps-are-parsed", timestamps_are_parsed),
];

fn case_names_are_distinct() {
    for (index, case) in CASES.iter().enumerate() {
        assert!(CASES[..index].iter().all(|other| other.name != case.name));
    }
}

fn every_machine_has_cases() {
    let runs = |machine, depth| planned(machine, depth).count();
    for machine in Line::ALL.map(Machine::Guest) {
        assert!(runs(machine, Depth::Usual) > 70, "{machine}");
    }
    assert!(runs(Machine::Native { has_kprobes: false }, Depth::Usual) > 20);
    assert!(runs(Machine::Native { has_kprobes: true }, Depth::Usual) > 30);
    assert!(runs(Machine::LockedDown, Depth::Usual) > 0);
    let preemptible = Machine::Preemptible(Line::V6_1, Processors::Two);
    assert!(runs(preemptible, Depth::All) > 100 && runs(preemptible, Depth::Usual) == 0);
}

fn every_case_runs_with_each_of_its_hooks() {
    for case in CASES {
        for hook in case.hooks {
            let runs = |machine| (case.runs)(machine, *hook);
            assert!(Machine::all().any(runs), "{}/{hook}", case.name);
        }
    }
}

fn server_end_is_recognized() {
    let line = "   1: 0100007F:0050 0200007F:9C42 01 00000000:00000000 00:00000000 00000000";
    assert!(resets::is_established(line, 80));
    assert!(!resets::is_established(line, 81));
    assert!(!resets::is_established(line, 0x9C42));
    assert!(!resets::is_established(&line.replace(" 01 ", " 0A "), 80));
}

fn quantiles_are_computed() {
    assert_eq!(waits::quantile(&[1.0, 2.0, 3.0, 4.0], 50), 2.0);
    assert_eq!(waits::quantile(&[1.0, 2.0, 3.0, 4.0], 99), 4.0);
    assert_eq!(waits::quantile(&[1.0], 50), 1.0);
}

fn time_of_day_is_parsed() {
    for zone in ["Z", "+00:00"] {
        let line = json!({"time": format!("2026-11-22T01:02:03.5{zone}")});
        assert_eq!(waits::time_of_day(&line).unwrap(), 3723.5);
    }
    assert!(waits::time_of_day(&json!({"time": null})).is_err());
}

fn timestamps_are_parsed() {
    for (text, micros) in [
        ("2024-02-29T23:59:59.999999+00:00", 1_709_251_199_999_999),
        ("2024-03-01T00:00:00.000000+00:00", 1_709_251_200_000_000),
        ("2026-11-22T14:25:30.000001+00:00", 1_795_357_530_000_001),
    ] {
        assert_eq!(rfc3339::parse(text).unwrap(), Duration::from_micros(micros));
    }
    assert!(rfc3339::parse("2026-11-22T14:25:30.000001+01:00").is_err());
    assert!(rfc3339::parse("1970-01-01T00:00:00.000000+00:00").is_err());
}
