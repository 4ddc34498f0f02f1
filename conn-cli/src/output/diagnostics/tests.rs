use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use lab::diagnostics::is_informational;

use super::*;
use crate::{
    count::{tally::Tally, waits::Quantiles},
    model::{
        connection::Host,
        discrepancies::Discrepancies,
        exactness::is_at_least,
        group::GroupKey,
        hook::Hook,
        listener::{Listener, Owner, Unseen},
        options::{ShowOptions, TimeFormat},
        queues::{GoneDrops, Queues},
        scope::Scope,
    },
    output::{Clock, Counted, listening, total, total::last_line},
};

const README: &str = include_str!("../../../../README.md");

fn kernel(hook: Hook) -> Origin {
    Origin::Kernel(Live::sample(hook, Duration::from_millis(1500)))
}

fn report(origin: Origin) -> Report {
    let mut tally = Tally::default();
    tally.add(&Host::at([192, 0, 2, 1]), Some(80), 1);
    Report::sample(&tally, origin)
}

#[test]
fn what_is_zero_is_not_said() {
    let kretprobe = report(kernel(Hook::Kretprobe));
    let none: [&str; 0] = [];
    assert_eq!(diagnostics(&kretprobe, Some(LineCounts::default())), none);
    let lines = LineCounts {
        not_shown: 2,
        ..LineCounts::default()
    };
    assert_eq!(diagnostics(&kretprobe, Some(lines)), ["2 lines not shown"]);
    let fentry = Report {
        connections: 7,
        other_clients: 6,
        ..report(kernel(Hook::Fentry))
    };
    assert_eq!(
        diagnostics(&fentry, None),
        ["6 connections of clients beyond --max-clients under \"other\""]
    );
}

#[test]
fn what_limits_the_count_is_repeated() {
    let live = Live {
        limits: vec!["without BTF, it may be wrong".to_owned()],
        self_test: SelfTestOutcome::NotTested("there are no ports".to_owned()),
        ..Live::sample(Hook::Fentry, Duration::from_millis(1500))
    };
    assert_eq!(
        diagnostics(&report(Origin::Kernel(live)), None),
        [
            "note: without BTF, it may be wrong",
            "note: not self-tested to the end: there are no ports"
        ]
    );
}

#[test]
fn lack_of_memory_is_a_warning() {
    let live = Live {
        out_of_memory: 3,
        ..Live::sample(Hook::Fentry, Duration::from_millis(1500))
    };
    let lines = diagnostics(&report(Origin::Kernel(live)), Some(LineCounts::default()));
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("warning: 3 connections under \"other\""),
        "{}",
        lines[0]
    );
}

#[test]
fn each_discrepancy_is_a_warning() {
    let discrepancies = Discrepancies {
        at_least: true,
        unreadable: 1,
        unreadable_packets: 4,
        missed_runs: Some(2),
        unaccounted: 3,
    };
    let lines = diagnostics(
        &Report {
            discrepancies,
            ..report(kernel(Hook::Fentry))
        },
        Some(LineCounts::default()),
    );
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[0],
        "warning: the count is at least 1: the kernel skipped the probe 2 times"
    );
    assert!(lines[1].contains("1 socket could not be read"));
    assert!(lines[2].contains("4 packets could not be read"));
    assert!(lines[3].contains("3 connections"));
}

#[test]
fn connections_missed_in_a_new_cgroup_are_the_reason() {
    let live = Live {
        missed_in_cgroup: true,
        ..Live::sample(Hook::Fentry, Duration::from_millis(1500))
    };
    let report = Report {
        discrepancies: Discrepancies {
            at_least: true,
            ..Discrepancies::default()
        },
        ..report(Origin::Kernel(live))
    };
    assert_eq!(
        diagnostics(&report, None).join("|"),
        "warning: the count is at least 1; connections were accepted in the new cgroup before it counted"
    );
}

#[test]
fn an_inexact_hook_is_reported_at_the_end() {
    let line = |exactness, missed_runs| {
        let discrepancies = Discrepancies {
            at_least: is_at_least(&exactness, missed_runs),
            missed_runs,
            ..Discrepancies::default()
        };
        let live = Live {
            exactness,
            ..Live::sample(Hook::Kretprobe, Duration::from_millis(1500))
        };
        let report = Report {
            discrepancies,
            ..report(Origin::Kernel(live))
        };
        diagnostics(&report, None).join("|")
    };
    let reason = || "this kernel is preemptible (full)".to_owned();
    assert_eq!(
        line(Exactness::Inexact(reason()), Some(2)),
        "warning: the count is at least 1: the kernel skipped the probe 2 times; this kernel is \
         preemptible (full)"
    );
    assert_eq!(
        line(Exactness::Inexact(reason()), Some(0)),
        "note: this kernel is preemptible (full); it skipped none in this run"
    );
    assert_eq!(
        line(Exactness::Inexact(reason()), None),
        "warning: connections may be missing: this kernel is preemptible (full)"
    );
    assert_eq!(
        line(Exactness::Lost(reason()), None),
        "warning: the count is at least 1; this kernel is preemptible (full)"
    );
    assert_eq!(line(Exactness::Exact(reason()), None), "");
}

#[test]
fn records_that_are_not_counted_are_reported() {
    let stats = ReadStats {
        lines: 20,
        packets: 3,
        repeated: 3,
        repeated_by_ports: 2,
        duplicates: 1,
        forgot_syns: true,
        not_understood: 2,
        first_not_understood: Some("line 4 of log: it is cut".to_owned()),
        unknown_port: 5,
        unknown_type: 3,
        inner: 7,
        ..ReadStats::default()
    };
    let origin = Origin::Records(stats);
    assert_eq!(
        diagnostics(&report(origin), None),
        [
            "3 retransmitted SYNs not counted; 1 record of a packet that another record shows, not counted; 7 SYNs \
             in tunnels not counted (--inner)",
            "note: 2 SYNs are known as retransmitted only by addresses, ports and times, as the records have no \
             sequence numbers",
            "note: there were more SYNs within two minutes than conn-cli remembers: one that was retransmitted may \
             count again",
            "warning: 2 of 23 records could not be parsed, first line 4 of log: it is cut",
            "3 JSON objects of a type that this conn-cli does not know, skipped",
            "warning: 5 connections not counted: the record has no local port",
        ]
    );
}

#[test]
fn unsupported_link_types_are_named_once() {
    let mut stats = ReadStats {
        packets: 5,
        not_understood: 4,
        first_not_understood: Some("packet 1 of a: unsupported".to_owned()),
        unknown_link_types: [(127, 1), (999, 3)].into(),
        ..ReadStats::default()
    };
    let expected = [
        "warning: 1 packet of link type 127 (IEEE802_11_RADIOTAP) could not be read: it is not supported",
        "warning: 3 packets of link type 999 could not be read: it is not supported",
        "warning: 5 records could not be parsed, first packet 1 of a: unsupported",
    ];
    let lines = diagnostics(&report(Origin::Records(stats.clone())), None);
    assert_eq!(lines, expected[..2]);
    stats.not_understood = 5;
    let lines = diagnostics(&report(Origin::Records(stats)), None);
    assert_eq!(lines, expected);
}

#[test]
fn losses_between_the_stages_are_reported() {
    let ms = Duration::from_millis;
    let live = Live {
        stages: [
            (Stage::Syn, 200),
            (Stage::Established, 120),
            (Stage::Accepted, 100),
        ]
        .into(),
        repeated: 300,
        waits: Some(Quantiles {
            known: 100,
            p50: ms(50),
            p90: ms(99),
            p99: ms(150),
            longest: ms(1234),
        }),
        ..Live::sample(Hook::Fentry, ms(1500))
    };
    let lines = diagnostics(&report(Origin::Kernel(live.clone())), None);
    assert_eq!(
        lines,
        [
            "200 SYNs and 300 retransmitted; 120 established, 80 never completed; 100 accepted, \
             20 not accepted",
            "accept wait: median 50 ms, p90 99 ms, p99 150 ms, max 1.2 s",
        ]
    );
    let live = Live {
        missed_established: Some(1),
        ..live
    };
    let lines = diagnostics(&report(Origin::Kernel(live)), None);
    assert_eq!(
        lines[0],
        "200 SYNs and 300 retransmitted; at least 120 established, at most 80 never completed; 100 \
         accepted, at least 20 not accepted"
    );
}

/// The messages of the sample run.
#[test]
fn the_readme_shows_what_is_printed() {
    let listener = Listener {
        address: ([0, 0, 0, 0], 80).into(),
        netns: 4_026_531_840,
        is_own_netns: true,
        inode: 1,
        cookie: 1,
        waiting: 0,
        limit: 511,
        drops: Some(0),
        owners: [Owner {
            pid: 812,
            name: "httpd".into(),
            in_accept: Some(8),
        }]
        .into(),
        began_too_late: false,
    };
    let mut lines = listening(
        &"80".parse().unwrap(),
        std::slice::from_ref(&listener),
        Unseen::default(),
        false,
    );
    let us = Duration::from_micros;
    let mut tally = Tally::default();
    tally.add(&Host::at([192, 168, 122, 1]), Some(80), 2);
    tally.add(&Host::at([192, 168, 122, 23]), Some(80), 1);
    let live = Live {
        second_hook_only: 1,
        waits: Some(Quantiles {
            known: 3,
            p50: us(41),
            p90: us(77),
            p99: us(77),
            longest: us(80),
        }),
        queues: Some(Queues {
            listeners: vec![(listener, Some(0))],
            closed: Vec::new(),
            lost_drops: false,
            gone: GoneDrops::default(),
            namespaces: Vec::new(),
        }),
        ..Live::sample(Hook::Kretprobe, Duration::from_millis(4900))
    };
    let started = Timestamp::from_second(1_795_357_535).unwrap();
    let ports = "80".parse().unwrap();
    let report = Report {
        scope: Scope::for_records(&ShowOptions {
            ports,
            ..ShowOptions::default()
        }),
        period: Some((started, started + Duration::from_secs(5))),
        ..Report::sample(&tally, Origin::Kernel(live))
    };
    let counted = Counted {
        number: report.connections,
        at_least: false,
        stage: Stage::Accepted,
    };
    let tracing = format!("Tracing TCP connections {}", report.scope);
    assert!(README.contains(&format!("\n{tracing}\n")), "{tracing}");
    let total = total(counted, &report.origin);
    assert!(README.contains(&format!("\n^C{total}\n")), "{total}");
    lines.push(last_line(
        &report,
        &Clock::new(TimeZone::UTC, TimeFormat::Ctime),
    ));
    lines.extend(diagnostics(&report, Some(LineCounts::default())));
    assert_eq!(lines.len(), 4);
    // The live cases tell messages from warnings by how they begin.
    for line in [&lines[0], &lines[2], &lines[3]] {
        assert!(is_informational(line), "{line}");
    }
    for line in lines {
        assert!(README.contains(&format!("\n{line}\n")), "{line}");
    }
}

#[test]
fn new_clients_are_named_most_connections_first() {
    let named = |clients: usize, connections: &[u64]| {
        let client = |(number, connections): (usize, &u64)| {
            let host = Host::at([192, 0, 2, number as u8]);
            (GroupKey::Client(host), *connections)
        };
        let report = Report {
            new_clients: Some(NewClients {
                clients,
                first: connections.iter().enumerate().map(client).collect(),
            }),
            ..report(kernel(Hook::Fentry))
        };
        let lines = diagnostics(&report, Some(LineCounts::default()));
        assert!(is_informational(&lines[0]), "{lines:?}");
        lines[0].clone()
    };
    assert_eq!(named(0, &[]), "no new addresses");
    assert_eq!(named(1, &[7]), "1 new address: 192.0.2.0 (7)");
    assert_eq!(
        named(2, &[7, 1]),
        "2 new addresses: 192.0.2.0 (7), 192.0.2.1 (1)"
    );
    assert!(named(32, &[1; 20]).ends_with(", 192.0.2.19 (1) and 12 more"));
}

#[test]
fn a_report_on_new_clients_says_so() {
    let new = Report {
        only_new: true,
        ..report(kernel(Hook::Fentry))
    };
    let line = last_line(&new, &Clock::new(TimeZone::UTC, TimeFormat::Ctime));
    assert!(
        line.starts_with("1 connection from 1 new address"),
        "{line}"
    );
}
