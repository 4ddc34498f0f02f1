use std::net::IpAddr;

use super::*;
use crate::model::connection::Host;

fn style() -> RowStyle {
    RowStyle {
        zone: TimeZone::UTC,
        format: TimeFormat::Ctime,
        length: Duration::from_secs(10),
        dated: false,
        colour: false,
    }
}

fn interval(start: &str, connections: u64) -> Interval {
    Interval {
        start: start.parse().unwrap(),
        since_boot: false,
        length: Duration::from_secs(10),
        connections,
        lost: 0,
        dropped: None,
        addresses: 17,
        busiest: Some((Host::at([192, 168, 122, 1]), connections / 2)),
        partial: false,
        skipped_empty: 0,
        not_measured: 0,
    }
}

fn first() -> Interval {
    interval("2026-11-22T14:25:30Z", 123)
}

fn empty() -> Interval {
    Interval {
        addresses: 0,
        busiest: None,
        ..interval("2026-11-22T14:25:40Z", 0)
    }
}

fn rows(style: RowStyle, intervals: &[Interval]) -> String {
    rows_on(None, style, intervals)
}

fn rows_on(columns: Option<usize>, style: RowStyle, intervals: &[Interval]) -> String {
    let (mut rows, mut out) = (Rows::new(style), Vec::new());
    for interval in intervals {
        rows.row(&mut out, interval, columns);
    }
    String::from_utf8(out).unwrap()
}

fn times(style: RowStyle, starts: &[&str]) -> Vec<String> {
    let intervals: Vec<_> = starts.iter().map(|start| interval(start, 1)).collect();
    let rows = rows(style, &intervals);
    let time = |row: &str| row.split("  ").next().unwrap().to_owned();
    rows.lines().map(time).collect()
}

#[test]
fn columns_are_aligned() {
    let one = Interval {
        addresses: 1,
        busiest: Some((Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]), 1)),
        ..interval("2026-11-22T14:25:50Z", 1)
    };
    assert_eq!(
        rows(style(), &[first(), empty(), one]),
        "14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (61)\n\
         14:25:40       0 connections      0 addresses       0.0/s\n\
         14:25:50       1 connection       1 address         0.1/s   2001:db8::1 (1)\n"
    );
}

#[test]
fn drops_have_a_column_once_there_are_some() {
    let dropped = |packets| Interval {
        dropped: packets,
        ..first()
    };
    let intervals = [Some(0), Some(37), None, Some(0)].map(dropped);
    assert_eq!(
        rows(style(), &intervals),
        "14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (61)\n\
         14:25:30     123 connections     17 addresses      12.3/s    37 dropped   192.168.122.1 (61)\n\
         14:25:30     123 connections     17 addresses      12.3/s                 192.168.122.1 (61)\n\
         14:25:30     123 connections     17 addresses      12.3/s     0 dropped   192.168.122.1 (61)\n"
    );
}

#[test]
fn partial_lost_and_skipped_are_noted() {
    let partial = Interval {
        partial: true,
        length: Duration::from_millis(3_210),
        lost: 12,
        ..first()
    };
    let short = Interval {
        partial: true,
        length: Duration::from_millis(3),
        ..empty()
    };
    let skipped = Interval {
        skipped_empty: 31_000,
        ..empty()
    };
    let not_measured = |not_measured| Interval {
        not_measured,
        since_boot: true,
        start: jiff::Timestamp::from_second(360_061).unwrap(),
        ..empty()
    };
    let rows = rows(
        style(),
        &[partial, short, skipped, not_measured(1), not_measured(12)],
    );
    let rows: Vec<_> = rows.lines().collect();
    let note = "38.3/s   192.168.122.1 (61)   (partial, 3.2 s; 12 connections without a line)";
    assert!(rows[0].ends_with(note), "{}", rows[0]);
    assert!(rows[1].ends_with("0.0/s   (partial, 3 ms)"), "{}", rows[1]);
    assert_eq!(rows[2], "14:25:40  (31000 intervals without a connection)");
    assert_eq!(rows[3], "+100:01:01  (not measured)");
    assert_eq!(rows[4], "+100:01:01  (12 intervals not measured)");
}

#[test]
fn bars_have_a_fixed_logarithmic_scale() {
    for (connections, expected) in [
        (0, ""),
        (1, "█"),
        (2, "██"),
        (3, "██▋"),
        (4, "███"),
        (1024, "███████████"),
        (u64::MAX, "████████████████████"),
    ] {
        assert_eq!(bar(connections, 20), expected);
    }
    assert_eq!(bar(4, 19), "");
    let rise = [5, 23, 46, 92, 148];
    let rise = rise.map(|connections| interval("2026-11-22T14:25:30Z", connections));
    let of_each = rows_on(Some(120), style(), &rise);
    let bars = of_each.lines().map(|row| row.matches('█').count());
    assert_eq!(bars.collect::<Vec<_>>(), [3, 5, 6, 7, 8]);
    let reversed: Vec<_> = rise.into_iter().rev().collect();
    let reversed = rows_on(Some(120), style(), &reversed);
    assert!(reversed.lines().rev().eq(of_each.lines()), "{reversed}");
}

#[test]
fn rows_fit_the_screen() {
    let long = Host::at([
        0x2001, 0xdb8, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666_u16,
    ]);
    let long = Interval {
        busiest: Some((long, 61)),
        ..first()
    };
    let partial = Interval {
        partial: true,
        length: Duration::from_millis(428),
        ..first()
    };
    let dropped = Interval {
        dropped: Some(37),
        ..partial.clone()
    };
    let intervals = [first(), long, partial];
    for columns in 80..140 {
        let rows = rows_on(Some(columns), style(), &intervals);
        for row in rows.lines() {
            assert!(row.chars().count() <= columns, "{columns}: {row}");
        }
        // Behind a long client it starts further right, from then on.
        assert_eq!(rows.contains('█'), columns >= 105, "{columns}: {rows}");
    }
    let rows = rows_on(Some(80), style(), &intervals);
    assert_eq!(
        rows,
        "14:25:30     123 connections     17 addresses      12.3/s   192.168.122.1 (61)\n\
         14:25:30     123 connections     17 addresses      12.3/s   2001:db8:1111:… (61)\n\
         14:25:30     123 connections     17 addresses     287.4/s   (partial, 428 ms)\n"
    );
    assert_eq!(
        rows_on(Some(80), style(), &[dropped]),
        "14:25:30     123 connections     17 addresses     287.4/s    37 dropped  (partial)\n"
    );
}

#[test]
fn bars_start_in_the_same_column() {
    let host = |text: &str| Host::at(text.parse::<IpAddr>().unwrap());
    let busiest = |busiest| Interval {
        busiest,
        ..interval("2026-11-22T14:25:30Z", 1000)
    };
    let long = host("2001:db8:1111:2222:3333:4444:5555:6666");
    let rows = rows_on(
        Some(140),
        style(),
        &[
            busiest(Some((long, 1000))),
            busiest(Some((host("10.0.0.1"), 1))),
            busiest(None),
        ],
    );
    let columns: Vec<_> = rows.lines().map(|row| row.find('█').unwrap()).collect();
    assert!(columns.iter().all(|column| *column == columns[0]), "{rows}");
}

#[test]
fn the_date_is_shown_where_it_is_not_obvious() {
    let two_days = [
        "2026-11-22T23:59:50Z",
        "2026-11-23T00:00:00Z",
        "2026-11-23T00:00:10Z",
    ];
    let changed = ["23:59:50", "2026-11-23 00:00:00", "2026-11-23 00:00:10"];
    assert_eq!(times(style(), &two_days), changed);
    let east = RowStyle {
        zone: TimeZone::fixed(jiff::tz::offset(9)),
        ..style()
    };
    let local = ["08:59:50", "09:00:00", "09:00:10"];
    assert_eq!(times(east, &two_days), local);
    for dated in [
        RowStyle {
            dated: true,
            ..style()
        },
        RowStyle {
            length: DAY,
            ..style()
        },
    ] {
        assert_eq!(times(dated, &two_days[..1]), ["2026-11-22 23:59:50"]);
    }
}

#[test]
fn times_have_the_requested_format() {
    let formats = [
        (TimeFormat::Iso, "2026-11-22T14:25:37.482000+00:00"),
        (TimeFormat::Epoch, "1795357537.482000"),
        (TimeFormat::Ctime, "14:25:37"),
        (TimeFormat::Delta, "14:25:37"),
    ];
    for (format, time) in formats {
        let style = RowStyle { format, ..style() };
        assert_eq!(times(style, &["2026-11-22T14:25:37.482Z"]), [time]);
    }
    let short = RowStyle {
        length: Duration::from_millis(100),
        ..style()
    };
    assert_eq!(times(short, &["2026-11-22T14:25:37.4Z"]), ["14:25:37.400"]);
}

#[test]
fn colour_adds_escapes_and_nothing_else() {
    let render = |colour| {
        let style = RowStyle { colour, ..style() };
        rows_on(Some(120), style, &[first(), empty()])
    };
    let coloured = render(true);
    assert!(coloured.contains('\x1b'));
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(stripped, render(false));
}
