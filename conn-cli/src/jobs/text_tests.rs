//! Every form of the text that is printed is read back. A form that is added needs its place here, and among the
//! shapes in [`crate::model::printed`].

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    count::{
        comparison::Comparison, interval::Interval, profile::Profiles, ranking::Counts,
        tally::Tally,
    },
    model::{
        connection::{Connection, Host, Lacks, Process, Record, Recorded, Source, When},
        discrepancies::Discrepancies,
        filter::EndsFilter,
        format::Format,
        group::{GroupBy, GroupKey, Grouping},
        hook::Hook,
        names::NetworkNames,
        options::{Listing, ShowOptions, TimeFormat, Top},
        period::Period,
        ports::PortSet,
        read_stats::ReadStats,
        scope::Scope,
        stage::Stage,
    },
    output::{self, Clock, Look, RowStyle, Rows, Text},
    read::{
        self,
        event::Event,
        merge::MergeOptions,
        parse::{
            lines::{Line as _, Wanted},
            text::Lines,
        },
    },
    report::{Live, Origin, Report},
};

const TIME: Timestamp = Timestamp::constant(1_795_357_537, 482_000_000);

fn read_back(text: &str) -> anyhow::Result<(Tally, Discrepancies, ReadStats)> {
    let options = MergeOptions {
        ports: PortSet::all(),
        filter: EndsFilter::default(),
        period: Period::default(),
        strict: true,
        every_packet: false,
        lines_only: false,
        all_addresses: false,
        names: None,
    };
    let (findings, end) = read::summarise(text.as_bytes(), Some(Format::Text), options);
    assert!(end.is_ok() || findings.is_err(), "{text}");
    findings
}

#[track_caller]
fn tally(text: &str) -> Tally {
    match read_back(text) {
        Ok((tally, ..)) => tally,
        Err(error) => panic!("{error:#}:\n{text}"),
    }
}

fn hosts() -> [Host; 4] {
    [
        Host::at([192, 0, 2, 1]),
        Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]),
        Host::named(b"web-1.example").unwrap(),
        Host::Unknown,
    ]
}

/// What lines can say of who accepted.
fn processes() -> Vec<Option<Process>> {
    let process = |comm: Option<&[u8; 16]>, pid, tid| {
        Some(Process {
            pid,
            tid,
            uid: None,
            cgroup: None,
            comm: comm.copied(),
            is_kernel_thread: false,
        })
    };
    let names = [
        b"httpd\0\0\0\0\0\0\0\0\0\0\0",
        b"a\x1b[2J\nb\0\0\0\0\0\0\0\0\0",
        b"1 -> 10.0.0.1:5\0",
        b"x waited 1 s\0\0\0\0",
        b"a: 5 [7]\0\0\0\0\0\0\0\0",
    ];
    let mut all = vec![
        None,
        process(None, Some(99), None),
        process(None, None, Some(99)),
    ];
    for name in names {
        all.push(process(Some(name), Some(99), None));
        all.push(process(Some(name), None, Some(99)));
    }
    all
}

fn stages() -> [(Stage, Hook); 3] {
    Stage::ALL.map(|stage| {
        let hook = match stage {
            Stage::Syn => Hook::Requests,
            Stage::Established => Hook::SockOps,
            Stage::Accepted => Hook::Fentry,
        };
        (stage, hook)
    })
}

fn office() -> &'static NetworkNames {
    let office = "office=192.0.2.0/24".parse().unwrap();
    Box::leak(Box::new(NetworkNames::new(&[office]).unwrap()))
}

#[test]
fn lines_of_connections_are_read_back() {
    let looks = [false, true].into_iter().flat_map(|long| {
        [false, true].into_iter().flat_map(move |names_port| {
            [false, true].map(|names_stage| Look {
                names_port,
                names_stage,
                long,
                ..Look::default()
            })
        })
    });
    let looks = looks.flat_map(|look| [None, Some(office())].map(|names| Look { names, ..look }));
    for look in looks {
        // With --long the time is one of the day, unless another format is wanted.
        let formats = if look.long {
            &[TimeFormat::Short][..]
        } else {
            &TimeFormat::ALL
        };
        for &format in formats {
            let mut printer = Text::new(Clock::new(TimeZone::UTC, format), look);
            for connection in connections(look.long) {
                let mut out = Vec::new();
                printer.connection(&mut out, &connection);
                let line = String::from_utf8(out).unwrap();
                let port = (look.long || look.names_port).then_some(443);
                let mut expected = Tally::default();
                expected.add(&connection.remote, port, 1);
                assert_eq!(tally(&line), expected, "{line}");
                let ended = format!("{line}\n=== Summary ===\n");
                assert_eq!(tally(&ended), expected, "{line}");
            }
        }
    }
}

/// Connections of every host at every stage; with all that `--long` shows, if that is wanted.
fn connections(long: bool) -> Vec<Connection> {
    let mut all = Vec::new();
    for (_, hook) in stages() {
        for remote in hosts() {
            let plain = Connection {
                time: When::At(TIME),
                remote,
                remote_port: Some(40000),
                local: Host::at([192, 0, 2, 9]),
                local_port: Some(443),
                ..Connection::unknown(Source::Hook(hook))
            };
            for process in processes() {
                let with_process = Connection {
                    process,
                    ..plain.clone()
                };
                let wait = Some(Duration::from_micros(96));
                let with_wait = Connection {
                    wait,
                    ..with_process.clone()
                };
                all.extend(if long {
                    vec![with_process, with_wait]
                } else {
                    Vec::new()
                });
            }
            all.push(plain);
        }
    }
    all
}

/// Records do not know all of a connection.
#[test]
fn lines_of_records_are_read_back() {
    for (local, local_port) in [
        (Host::Unknown, None),
        (Host::Unknown, Some(443)),
        (Host::named(b"server.example").unwrap(), Some(443)),
        (Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9_u16]), Some(443)),
    ] {
        for process in processes() {
            let connection = Connection {
                remote: Host::at([192, 0, 2, 1]),
                remote_port: Some(40000),
                local: local.clone(),
                local_port,
                process,
                ..Connection::unknown(Source::Record(Record::Strace))
            };
            let mut out = Vec::new();
            let look = Look {
                long: true,
                ..Look::default()
            };
            let clock = Clock::new(TimeZone::UTC, TimeFormat::Short);
            Text::new(clock, look).connection(&mut out, &connection);
            let line = String::from_utf8(out).unwrap();
            let mut expected = Tally::default();
            expected.add(&connection.remote, local_port, 1);
            assert_eq!(tally(&line), expected, "{line}");
        }
    }
}

#[test]
fn times_are_read_back() {
    let lacks = |lacks: Lacks| match lacks {
        Lacks::Date => &["14:25:37", "14:25:37.5"][..],
        Lacks::Year => &[
            "Nov 22 14:25:37",
            "Nov  2 14:25:37.123456",
            "Nov 2 14:25:37",
            "Nov22 14:25",
        ],
        Lacks::Zone => &[
            "2026-11-22T14:25:37",
            "2026-11-22 14:25:37.5",
            "Sun Nov 22 14:25:37 2026",
            "Sun 2026-11-22 14:25:37 CET",
        ],
        Lacks::Boot | Lacks::Before => &["0.000123", "12345.678901"],
    };
    let recorded = [
        Lacks::Date,
        Lacks::Year,
        Lacks::Zone,
        Lacks::Boot,
        Lacks::Before,
    ]
    .into_iter()
    .flat_map(|kind| {
        lacks(kind).iter().map(move |text| {
            // Which of the two it is, the text does not say.
            let lacks = if kind == Lacks::Boot {
                Lacks::Before
            } else {
                kind
            };
            When::Recorded(Box::new(Recorded {
                text: (*text).into(),
                lacks,
                assumed: None,
            }))
        })
    });
    let mut times: Vec<_> = recorded
        .map(|time| (TimeFormat::Ctime, time.clone(), time))
        .collect();
    times.push((TimeFormat::Ctime, When::Unknown, When::Unknown));
    for format in TimeFormat::ALL {
        let text = |text: &str, lacks| {
            When::Recorded(Box::new(Recorded {
                text: text.into(),
                lacks,
                assumed: None,
            }))
        };
        let expected = match format {
            TimeFormat::Iso | TimeFormat::Epoch => When::At(TIME),
            TimeFormat::Ctime => text("Sun Nov 22 14:25:37 2026", Lacks::Zone),
            TimeFormat::Short => text("14:25:37.482000", Lacks::Date),
            TimeFormat::Delta => text("0.000000", Lacks::Before),
        };
        times.push((format, When::At(TIME), expected));
    }
    for (format, time, expected) in times {
        let connection = Connection {
            time,
            remote: Host::at([192, 0, 2, 1]),
            ..Connection::unknown(Source::Record(Record::Pcap))
        };
        let mut out = Vec::new();
        Text::new(Clock::new(TimeZone::UTC, format), Look::default())
            .connection(&mut out, &connection);
        let mut events = Vec::new();
        let mut lines = Lines::new(&Wanted::with_times());
        lines.line(out.trim_ascii(), &mut events).unwrap();
        assert_eq!(lines.time(out.trim_ascii()), expected);
        match &events[..] {
            [Event::Connection(connection)] => assert_eq!(connection.time, expected),
            other => panic!("{other:?}"),
        }
    }
}

fn key(by: GroupBy, number: u8) -> GroupKey {
    let name = || Some(r"a\u{3a} 5 [7]".into());
    match by {
        GroupBy::Address => GroupKey::Client(hosts()[usize::from(number)].clone()),
        GroupBy::Network(..) => GroupKey::Network(if number == 0 {
            "192.0.2.0/24".parse().unwrap()
        } else {
            format!("2001:db8:{number}::/64").parse().unwrap()
        }),
        GroupBy::Name(_) => {
            GroupKey::Name(["other", "office", "192.0.2.0-24"][usize::from(number)])
        }
        GroupBy::Port => GroupKey::Port((number > 0).then_some(443)),
        GroupBy::Process => GroupKey::Process {
            pid: (number > 0).then_some(7),
            name: name(),
            is_kernel_thread: number > 1,
        },
        GroupBy::Cgroup if number == 2 => GroupKey::KernelThreads,
        GroupBy::Cgroup => GroupKey::Cgroup {
            id: 7,
            name: (number > 0).then(|| "/a: 5 b".into()),
        },
        GroupBy::User => GroupKey::User {
            uid: [0, 1, 4_000_000_000][usize::from(number)],
            name: None,
        },
    }
}

fn groupings() -> Vec<Grouping> {
    let kinds = [
        "address", "network", "name", "port", "process", "cgroup", "user",
    ];
    let pairs = kinds.iter().filter(|by| **by != "port");
    let pairs = pairs.map(|by| format!("{by},port"));
    let alone = kinds.iter().map(|by| (*by).to_owned());
    alone.chain(pairs).map(|by| by.parse().unwrap()).collect()
}

/// Reports on these groups, with everything that a report can have.
fn reports(by: Grouping, watched: &[Stage], top: Top) -> Report {
    let counted = *watched.last().unwrap();
    let mut counts = Counts::new(watched.iter().copied());
    let mut profiles = Profiles::default();
    let mut live = Live::sample(Hook::Fentry, Duration::from_millis(4900));
    live.counted = counted;
    for number in 0..3_u8 {
        let key = key(by.what(), number);
        let port = (number != 1).then_some(80);
        let key = if by.with_port() {
            GroupKey::WithPort(Box::new(key), port)
        } else {
            key
        };
        for stage in watched {
            counts.add(*stage, key.clone(), port, 5 - u64::from(number));
        }
        profiles.add(
            by,
            &Connection {
                time: When::At(TIME),
                remote: hosts()[usize::from(number)].clone(),
                wait: Some(Duration::from_micros(96)),
                ..Connection::unknown(Source::Hook(Hook::Fentry))
            },
        );
    }
    for stage in watched {
        counts.add(*stage, GroupKey::Client(Host::Unknown), None, 2);
        counts.add_other(*stage, 3);
    }
    if watched.len() > 1 {
        live.stages = counts.totals();
        live.others = counts.others();
        live.refused = Some(0);
    }
    let listing = Listing { by, top };
    let discrepancies = Discrepancies::default();
    let origin = Origin::Kernel(live);
    let profiles = Some(profiles.into());
    Report {
        period: Some((TIME, TIME + Duration::from_secs(5))),
        ..Report::new(counts, profiles, listing, discrepancies, origin, None)
    }
}

#[test]
fn summaries_are_read_back() {
    let all = [
        &[Stage::Accepted][..],
        &[Stage::Syn],
        &[Stage::Established],
        &[Stage::Syn, Stage::Established],
        &Stage::ALL,
    ];
    for by in groupings() {
        for watched in all {
            for top in [Top::All, Top::First(1)] {
                for (long, names) in [(false, None), (true, None), (true, Some(office()))] {
                    let report = reports(by, watched, top);
                    assert_eq!(report.connections, 17);
                    let look = Look {
                        long,
                        names,
                        ..Look::default()
                    };
                    let clock = Clock::new(TimeZone::UTC, TimeFormat::Ctime);
                    let text: String = Text::new(clock, look).report(&report, "Summary").collect();
                    let read = tally(&text);
                    assert_eq!(read.connections(), 17, "{text}");
                    if by.what() == GroupBy::Address {
                        let of_hosts: BTreeMap<_, u64> =
                            read.each()
                                .fold(BTreeMap::new(), |mut sums, ((key, _), more)| {
                                    *sums.entry(key.to_string()).or_default() += more;
                                    sums
                                });
                        assert_eq!(of_hosts["192.0.2.1"], 5, "{text}");
                        assert_eq!(of_hosts["unknown"], 2, "{text}");
                        let others = if top == Top::All { 3 } else { 3 + 4 + 3 };
                        assert_eq!(read.other(), others, "{text}");
                    }
                    let ports = read.each().any(|((_, port), _)| port.is_some());
                    let has_ports = by.with_port() || by.what() == GroupBy::Port;
                    assert!(ports == has_ports || top != Top::All, "{text}");
                }
            }
        }
    }
}

#[test]
fn screens_without_room_are_read_back() {
    for long in [false, true] {
        let mut report = reports(Grouping::default(), &[Stage::Accepted], Top::All);
        report.fit(1);
        let look = Look {
            long,
            ..Look::default()
        };
        let clock = Clock::new(TimeZone::UTC, TimeFormat::Ctime);
        let text: String = Text::new(clock, look).report(&report, "Summary").collect();
        assert!(text.contains("--top 0"), "{text}");
        assert_eq!(tally(&text).connections(), 17, "{text}");
    }
}

#[test]
fn bounds_and_filters_are_read_back() {
    let mut report = reports(Grouping::default(), &[Stage::Accepted], Top::All);
    report.discrepancies.at_least = true;
    report.scope = Scope::for_records(&ShowOptions {
        ports: "443".parse().unwrap(),
        ..ShowOptions::default()
    });
    let clock = Clock::new(TimeZone::UTC, TimeFormat::Ctime);
    let text: String = Text::new(clock, Look::default())
        .report(&report, "Summary")
        .collect();
    let (tally, discrepancies, _) = read_back(&text).unwrap();
    assert!(discrepancies.at_least);
    assert_eq!(tally.to_ports(&"443".parse().unwrap()).0.connections(), 14);
}

#[test]
fn totals_so_far_are_no_run() {
    let report = reports(Grouping::default(), &[Stage::Accepted], Top::All);
    let clock = Clock::new(TimeZone::UTC, TimeFormat::Ctime);
    let mut printer = Text::new(clock, Look::default());
    let so_far: String = printer.report(&report, "So far").collect();
    let end: String = printer.report(&report, "Summary").collect();
    assert_eq!(tally(&so_far).connections(), 0);
    assert_eq!(tally(&format!("{so_far}{end}")).connections(), 17);
}

#[test]
fn rows_of_intervals_are_read_back() {
    for format in TimeFormat::ALL {
        let style = RowStyle {
            zone: TimeZone::UTC,
            format,
            length: Duration::from_millis(1500),
            dated: format == TimeFormat::Delta,
            colour: false,
        };
        let mut rows = Rows::new(style);
        let mut out = Vec::new();
        let interval = |connections, not_measured, since_boot| Interval {
            start: TIME,
            since_boot,
            length: Duration::from_secs(10),
            connections,
            lost: connections / 2,
            dropped: Some(connections),
            addresses: 2,
            busiest: hosts().first().map(|host| (host.clone(), connections)),
            partial: connections == 1,
            skipped_empty: not_measured,
            not_measured: not_measured / 2,
        };
        for row in [
            interval(123, 0, false),
            interval(1, 0, true),
            interval(0, 1, false),
            interval(0, 2, false),
            interval(0, 4, false),
        ] {
            rows.row(&mut out, &row, None);
        }
        let text = String::from_utf8(out).unwrap();
        let read = tally(&text);
        assert_eq!((read.connections(), read.other()), (124, 124), "{text}");
        // The summary has them, too.
        let report = reports(Grouping::default(), &[Stage::Accepted], Top::All);
        let clock = Clock::new(TimeZone::UTC, format);
        let end: String = Text::new(clock, Look::default())
            .report(&report, "Summary")
            .collect();
        assert_eq!(
            tally(&format!("{text}{end}")).other(),
            3 + 124 - 17,
            "{text}"
        );
    }
}

#[test]
fn a_comparison_is_refused() {
    let mut before = Tally::default();
    before.add(&hosts()[0], None, 3);
    let names = ["a", "b"].map(str::to_owned);
    let comparison = Comparison::new(names, [before, Tally::default()], None);
    let text: String = output::compare(comparison, false).collect();
    let error = read_back(&text).unwrap_err().to_string();
    assert!(error.contains("a comparison of two inputs"), "{error}");
}
