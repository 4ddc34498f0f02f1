use std::{rc::Rc, time::Duration};

use jiff::tz::TimeZone;

use super::*;
use crate::{
    count::{profile::Profiles, ranking::Counts},
    model::{
        connection::{Connection, Host, Source, When},
        discrepancies::Discrepancies,
        group::{GroupKey, Grouping},
        hook::Hook,
        options::{Listing, TimeFormat, Top},
        read_stats::ReadStats,
        stage::Stage,
    },
    report::Live,
};

/// Thu Nov 26 18:33:24 2026 in UTC
const START: i64 = 1_795_718_004;

/// A client's connections: how many, of which some come at the same time, a second apart from the others.
struct Client {
    address: [u8; 4],
    connections: u64,
    peak: u64,
    wait: Option<Duration>,
}

const BUSY: Client = Client {
    address: [127, 0, 0, 3],
    connections: 289,
    peak: 104,
    wait: Some(Duration::from_micros(1200)),
};

fn connection(client: &Client, second: i64) -> Connection {
    Connection {
        time: When::At(Timestamp::from_second(second).unwrap()),
        remote: Host::at(client.address),
        local_port: Some(80),
        wait: client.wait,
        ..Connection::unknown(Source::Hook(Hook::Fentry))
    }
}

/// A report on clients that were seen first at the start, and last after so many seconds.
fn report(clients: &[Client], seconds: i64, top: Option<usize>, origin: Origin) -> Report {
    let listing = Listing {
        top: top.map_or(Top::All, Top::First),
        ..Listing::default()
    };
    let stages = origin_stages(&origin);
    let (mut counts, mut profiles) = (Counts::new(stages.iter().copied()), Profiles::default());
    for client in clients {
        let key = GroupKey::Client(Host::at(client.address));
        for stage in &stages {
            counts.add(*stage, key.clone(), Some(80), client.connections);
        }
        for _ in 0..client.peak {
            profiles.add(listing.by, &connection(client, START));
        }
        profiles.add(listing.by, &connection(client, START + seconds));
    }
    Report::new(
        counts,
        Some(Rc::new(profiles)),
        listing,
        Discrepancies::default(),
        origin,
        None,
    )
}

fn origin_stages(origin: &Origin) -> Vec<Stage> {
    match origin {
        Origin::Kernel(live) if !live.stages.is_empty() => live.stages.keys().copied().collect(),
        _ => vec![Stage::Accepted],
    }
}

fn records() -> Origin {
    Origin::Records(ReadStats::default())
}

fn table(report: &Report, is_long: bool, format: TimeFormat) -> String {
    let mut clock = Clock::new(TimeZone::UTC, format);
    let look = Look {
        long: is_long,
        ..Look::default()
    };
    let columns = Columns::new(report, &mut clock, &look);
    columns.lines((Style::new(), Style::new())).collect()
}

#[test]
fn the_count_is_first_and_the_address_last() {
    let clients = [
        BUSY,
        Client {
            address: [10, 0, 0, 10],
            connections: 12,
            peak: 7,
            wait: None,
        },
        Client {
            address: [10, 0, 0, 11],
            connections: 1,
            peak: 1,
            wait: None,
        },
    ];
    let report = report(&clients, 3, Some(2), records());
    assert_eq!(
        table(&report, true, TimeFormat::Short),
        "count  share  peak/s  mean wait  max wait  first     last      address
  289   96 %     104     1.2 ms    1.2 ms  18:33:24  18:33:27  127.0.0.3
   12    4 %       7          -         -  18:33:24  18:33:27  10.0.0.10
    1  < 1 %                                                   1 other address
  302                                                          total
"
    );
}

/// The table of `--long` with large counts, long waits and long addresses fits a terminal.
#[test]
fn ipv4_fits_80_columns() {
    let clients = [
        Client {
            address: [203, 113, 100, 101],
            connections: 999_999,
            peak: 100_000,
            wait: Some(Duration::from_millis(51)),
        },
        Client {
            address: [203, 113, 100, 102],
            connections: 1,
            peak: 1,
            wait: Some(Duration::from_micros(640)),
        },
    ];
    let report = report(&clients, 86_400 / 8, None, records());
    let table = table(&report, true, TimeFormat::Short);
    assert!(
        table.ends_with(
            "\n1000000                                                          total\n"
        ),
        "{table}"
    );
    let longest = table.lines().map(|line| line.chars().count()).max();
    assert_eq!(longest, Some(80), "{table}");
}

#[test]
fn columns_without_a_value_are_left_out_and_said() {
    let no_wait = || Client { wait: None, ..BUSY };
    let live = Live::sample(Hook::SockOps, Duration::from_secs(1));
    let live = report(&[no_wait()], 0, None, Origin::Kernel(live));
    assert_eq!(
        table(&live, true, TimeFormat::Short),
        "count  share  peak/s  first     last      address
  289  100 %     105  18:33:24  18:33:24  127.0.0.3
  289                                     total
"
    );
    assert_eq!(
        missing_columns(&live),
        ["note: waits are not known: sock_ops of the root cgroup does not see them"]
    );
    let all = report(&[BUSY], 0, None, records());
    assert!(missing_columns(&all).is_empty());

    let mut counts = Counts::new([Stage::Accepted]);
    counts.add(
        Stage::Accepted,
        GroupKey::Client(Host::at([127, 0, 0, 3])),
        None,
        2,
    );
    let profiles = Some(Rc::new(Profiles::default()));
    let untimed = Report::new(
        counts,
        profiles,
        Listing::default(),
        Discrepancies::default(),
        records(),
        None,
    );
    assert_eq!(
        table(&untimed, true, TimeFormat::Short),
        "count  share  address\n    2  100 %  127.0.0.3\n    2         total\n"
    );
    assert_eq!(
        missing_columns(&untimed),
        [
            "note: first, last and peak/s are not known: no record of a connection has a complete time",
            "note: waits are not known: no record has one"
        ]
    );
}

#[test]
fn a_pair_is_two_columns() {
    let mut counts = Counts::new([Stage::Accepted]);
    let by: Grouping = "address,port".parse().unwrap();
    for (client, port, connections) in [(1, Some(443), 289), (2, Some(80), 7), (10, None, 5)] {
        let key = by.group(GroupKey::Client(Host::at([10, 0, 0, client])), port);
        counts.add(Stage::Accepted, key, port, connections);
    }
    counts.add_other(Stage::Accepted, 3);
    let listing = Listing {
        by,
        top: Top::First(2),
    };
    let none = Some(Rc::new(Profiles::default()));
    let report = Report::new(
        counts,
        none,
        listing,
        Discrepancies::default(),
        records(),
        None,
    );
    assert_eq!(
        table(&report, true, TimeFormat::Short),
        "count  share  port  address
  289   95 %   443  10.0.0.1
    7    2 %    80  10.0.0.2
    5    2 %        1 other pair of address and port
    3  < 1 %        other
  304               total
"
    );
}

#[test]
fn stages_come_before_the_last_one() {
    let stages = [(Stage::Syn, 300), (Stage::Accepted, 289)].into();
    let live = Live {
        stages,
        refused: Some(11),
        ..Live::sample(Hook::Fentry, Duration::from_secs(1))
    };
    let report = report(&[BUSY], 0, None, Origin::Kernel(live));
    assert_eq!(
        table(&report, false, TimeFormat::Ctime),
        "syn  refused  accepted  address
289        0       289  127.0.0.3
300       11       289  total
"
    );
}

#[test]
fn times_have_the_date_only_if_the_run_spans_days() {
    let at = |seconds, format| {
        let report = report(&[BUSY], seconds, None, records());
        let table = table(&report, true, format);
        let row = table.lines().nth(1).unwrap();
        row.split("1.2 ms  ").last().unwrap().to_owned()
    };
    let day = 86_400;
    assert_eq!(at(3, TimeFormat::Ctime), "18:33:24  18:33:27  127.0.0.3");
    assert_eq!(
        at(day, TimeFormat::Short),
        "2026-11-26 18:33:24  2026-11-27 18:33:24  127.0.0.3"
    );
    assert_eq!(
        at(day, TimeFormat::Epoch),
        "1795718004.000000  1795804404.000000  127.0.0.3"
    );
    assert!(at(3, TimeFormat::Iso).starts_with("2026-11-26T18:33:24.000000+00:00  "));
}

#[test]
fn no_part_is_nothing_and_none_but_all_is_all() {
    for (part, all, text) in [
        (0, 0, "-"),
        (0, 7, "0 %"),
        (1, 1000, "< 1 %"),
        (9, 1000, "< 1 %"),
        (10, 1000, "1 %"),
        (125, 1000, "13 %"),
        (996, 1000, "99 %"),
        (1000, 1000, "100 %"),
        (u64::MAX - 1, u64::MAX, "99 %"),
        (u64::MAX, u64::MAX, "100 %"),
    ] {
        assert_eq!(share(part, all), text, "{part} of {all}");
    }
}
