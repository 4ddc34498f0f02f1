use super::*;
use crate::read::parse::scan;

/// Clocks go forward at 02:00 on 2026-03-29 and back at 03:00 on 2026-10-25.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

/// The moments of these times of one input that was changed last at this time.
fn moments(lacks: Lacks, changed: &str, zone: TimeZone, times: &[&str]) -> Vec<Option<Moment>> {
    let mut dates = Dates::new(zone, true);
    dates.begin(InputDates {
        changed: Some(changed.parse().unwrap()),
        ..InputDates::default()
    });
    let moment = |text: &&str| {
        let mut time = scan::recorded(text.as_bytes(), lacks);
        dates.record(&mut time);
        time.moment()
    };
    times.iter().map(moment).collect()
}

#[track_caller]
fn assert_dates(lacks: Lacks, changed: &str, zone: TimeZone, times: &[(&str, &str)]) {
    let (texts, expected): (Vec<_>, Vec<_>) = times.iter().copied().unzip();
    let found = moments(lacks, changed, zone, &texts);
    let expected = expected
        .iter()
        .map(|time| Some(Moment::At(time.parse().unwrap())));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn the_year_rolls_from_december_to_january() {
    let times = [
        ("Dec 30 10:00:00", "2026-12-30T10:00:00Z"),
        ("Dec 31 23:59:59.5", "2026-12-31T23:59:59.5Z"),
        ("Jan  1 00:00:01", "2027-01-01T00:00:01Z"),
        // Another machine's clock is slow.
        ("Dec 31 23:59:58", "2026-12-31T23:59:58Z"),
        ("Jan  3 00:00:00", "2027-01-03T00:00:00Z"),
        ("Jan10 09:30", "2027-01-10T09:30:00Z"),
    ];
    assert_dates(Lacks::Year, "2027-01-10T12:00:00Z", TimeZone::UTC, &times);
}

#[test]
fn the_year_is_the_last_in_which_the_record_is_not_in_the_future() {
    for (time, changed, expected) in [
        (
            "Dec 24 18:00:00",
            "2027-01-02T00:00:00Z",
            "2026-12-24T18:00:00Z",
        ),
        (
            "Nov 22 17:34:45",
            "2026-11-22T17:34:46Z",
            "2026-11-22T17:34:45Z",
        ),
        // The other machine may be in Auckland.
        (
            "Nov 23 06:34:45",
            "2026-11-22T17:34:46Z",
            "2026-11-23T06:34:45Z",
        ),
        (
            "Nov 24 06:34:45",
            "2026-11-22T17:34:46Z",
            "2025-11-24T06:34:45Z",
        ),
        (
            "Feb 29 12:00:00",
            "2027-11-22T17:34:46Z",
            "2024-02-29T12:00:00Z",
        ),
    ] {
        assert_dates(Lacks::Year, changed, TimeZone::UTC, &[(time, expected)]);
    }
    // Sorted the other way round: no year follows this one.
    let times = [
        ("Nov 22 10:00:00", "2026-11-22T10:00:00Z"),
        ("Mar  1 10:00:00", "2026-03-01T10:00:00Z"),
    ];
    assert_dates(Lacks::Year, "2026-11-22T17:34:46Z", TimeZone::UTC, &times);
}

#[test]
fn the_day_rolls_at_midnight() {
    let times = [
        ("22:00:00.1", "2026-11-26T22:00:00.1Z"),
        ("23:59:59.9", "2026-11-26T23:59:59.9Z"),
        ("00:00:00.1", "2026-11-27T00:00:00.1Z"),
        // Captured by another thread.
        ("23:59:59.95", "2026-11-26T23:59:59.95Z"),
        ("00:09:00", "2026-11-27T00:09:00Z"),
    ];
    assert_dates(Lacks::Date, "2026-11-27T00:10:00Z", TimeZone::UTC, &times);
    let east = TimeZone::fixed(jiff::tz::offset(9));
    let times = [
        ("09:00:00", "2026-11-27T00:00:00Z"),
        ("08:00:00", "2026-11-27T23:00:00Z"),
    ];
    assert_dates(Lacks::Date, "2026-11-27T00:10:00Z", east, &times);
}

#[test]
fn the_hour_that_comes_twice_is_no_new_day() {
    for (lacks, prefix) in [
        (Lacks::Date, ""),
        (Lacks::Zone, "2026-10-25 "),
        (Lacks::Year, "Oct 25 "),
    ] {
        let times = [
            ("02:10:00", "2026-10-25T00:10:00Z"),
            ("02:59:59", "2026-10-25T00:59:59Z"),
            ("02:00:00", "2026-10-25T01:00:00Z"),
            ("02:30:00", "2026-10-25T01:30:00Z"),
            ("03:00:00", "2026-10-25T02:00:00Z"),
        ];
        let texts = times.map(|(text, time)| (format!("{prefix}{text}"), time));
        let times: Vec<_> = texts.iter().map(|(text, time)| (&**text, *time)).collect();
        assert_dates(lacks, "2026-10-25T03:00:00Z", berlin(), &times);
    }
    // In spring one hour is left out.
    let times = [
        ("01:59:59", "2026-03-29T00:59:59Z"),
        ("03:00:00", "2026-03-29T01:00:00Z"),
    ];
    assert_dates(Lacks::Date, "2026-03-29T03:00:00Z", berlin(), &times);
}

#[test]
fn times_without_a_zone_are_local() {
    let times = [
        ("2026-11-22 14:25:37.5", "2026-11-22T13:25:37.5Z"),
        ("2026-11-22T14:25:37", "2026-11-22T13:25:37Z"),
        ("Sun 2026-11-22 14:25:37 CET", "2026-11-22T13:25:37Z"),
        ("Sun Nov 22 14:25:37 2026", "2026-11-22T13:25:37Z"),
        ("Sun Nov  1 14:25:37 2026", "2026-11-01T13:25:37Z"),
        ("Nov  1 14:25:37 2026", "2026-11-01T13:25:37Z"),
    ];
    assert_dates(Lacks::Zone, "2026-11-22T17:00:00Z", berlin(), &times);
}

#[test]
fn times_since_boot_tell_boots_apart() {
    let at = |boot, millis| {
        let time = Duration::from_millis(millis);
        Some(Moment::SinceBoot { boot, time })
    };
    let longest = "18446744073709549568.0";
    let times = ["157.5", "160.0", "159.0", "1.25", "200.0", longest];
    assert_eq!(
        moments(Lacks::Boot, "2026-11-22T17:00:00Z", TimeZone::UTC, &times),
        [
            at(1, 157_500),
            at(1, 160_000),
            at(1, 159_000),
            at(2, 1_250),
            at(2, 200_000),
            Some(Moment::SinceBoot {
                boot: 2,
                time: Duration::from_secs(18_446_744_073_709_549_568)
            })
        ]
    );
}

#[test]
fn what_is_no_time_has_no_moment() {
    for lacks in [
        Lacks::Date,
        Lacks::Year,
        Lacks::Zone,
        Lacks::Boot,
        Lacks::Before,
    ] {
        for text in [
            "",
            "-",
            "x",
            "Nov",
            "Nov ",
            "Nov 31 10:00:00",
            "Nov 5 25:00:00",
            "-00:00:01",
            "2026-02-30 10:00:00",
            "2026-02-3",
            "nan",
            "-1",
            "1e400",
            "Sun Nov 22 14:25:37 99999",
        ] {
            let found = moments(lacks, "2026-11-22T17:00:00Z", TimeZone::UTC, &[text]);
            assert_eq!(found, [None], "{lacks:?} {text}");
        }
    }
}

#[test]
fn only_summaries_are_parsed_to_find_runs() {
    let summary = r#"{"type":"summary","start":"2026-11-22T14:25:37+00:00"}"#;
    let connection = r#"{"type":"connection","time":"2026-11-22T14:25:37+00:00"}"#;
    let without_date = r#"{"type":"connection","recorded_time":"14:25:37","lacks":"date"}"#;
    let rest = |lines: &[&str]| {
        let piece = Piece::Lines(Encoding::plain(Format::Json), lines.join("\n").into_bytes());
        match without_complete_lines(piece) {
            Piece::Lines(_, bytes) => String::from_utf8(bytes).unwrap(),
            piece => panic!("{piece:?}"),
        }
    };
    assert_eq!(rest(&[connection, connection]), "");
    let lines = [connection, summary, connection];
    assert_eq!(rest(&lines), format!("{summary}\n"));
    let lines = [connection, summary, without_date];
    assert_eq!(rest(&lines), lines.join("\n"));
}
