use std::collections::HashSet;

use conn_common::{Stages, WAIT_STEPS};
use jiff::Timestamp;

use super::{Format, render};
use crate::model::{
    discrepancies::Discrepancies,
    hook::Hook,
    listener_gauges::{ListenerGauge, ListenerGauges, QueueGauges},
    metrics::{Incomplete, Reading, Series, Waits},
    names::NetworkNames,
    stage::Stage,
};

fn names() -> &'static NetworkNames {
    // The names that options accept may still be foreign.
    let named = ["b\u{fc}ro-1=10.0.0.0/8", "a.b_c=192.0.2.0/24"].map(|text| text.parse().unwrap());
    Box::leak(Box::new(NetworkNames::new(&named).unwrap()))
}

fn accepted(accepted: u64) -> Stages {
    Stages {
        accepted,
        ..Stages::default()
    }
}

fn listener(address: &str, is_own_netns: bool, dropped: u64) -> ListenerGauge {
    ListenerGauge {
        address: address.parse().unwrap(),
        netns: 4_026_531_840,
        is_own_netns,
        queues: QueueGauges {
            sockets: 1,
            length: 3,
            limit: 2,
            dropped,
        },
    }
}

fn reading() -> Reading {
    let mut steps = vec![0; WAIT_STEPS];
    // From 32 µs on, and from 1.07 s on.
    (steps[15 << 3], steps[30 << 3]) = (2, 1);
    let series = |port, name, number| Series {
        port,
        name,
        stages: accepted(number),
    };
    Reading {
        started: Timestamp::from_microsecond(1_795_000_000_250_000).unwrap(),
        hooks: vec![(Stage::Accepted, Hook::Fentry)],
        is_exact: true,
        self_test: Some((true, Timestamp::from_second(1_795_000_001).unwrap())),
        series: vec![
            series(Some(80), 1, 7),
            series(Some(80), 0, 1),
            series(None, 2, u64::MAX),
        ],
        names: names(),
        knows_refused: false,
        waits: Some(Waits {
            steps,
            sum_ns: 1_500_000_001,
        }),
        new_clients: Some(5),
        clients: Some((
            vec![("2001:db8::1".parse().unwrap(), accepted(4))],
            accepted(6),
        )),
        listeners: ListenerGauges {
            listeners: vec![
                listener("0.0.0.0:80", true, 0),
                listener("[::]:80", false, 9),
            ],
            dropped: 11,
            ..ListenerGauges::default()
        },
        discrepancies: Discrepancies {
            missed_runs: Some(0),
            unreadable: 1,
            ..Discrepancies::default()
        },
        incomplete: Incomplete {
            not_shown: accepted(2),
            ..Incomplete::default()
        },
    }
}

fn text(reading: Reading, format: Format) -> String {
    String::from_utf8(render(reading, format).unwrap()).unwrap()
}

#[test]
fn text_has_a_type_and_a_help_for_each_metric() {
    let text = text(reading(), Format::Text);
    for line in [
        "# HELP conn_cli_connections_total Connections that got to a stage.",
        "# TYPE conn_cli_connections_total counter",
        "conn_cli_connections_total{port=\"80\",network_name=\"b\u{fc}ro-1\",stage=\"accepted\"} 7",
        "conn_cli_connections_total{port=\"other\",network_name=\"a.b_c\",stage=\"accepted\"} 18446744073709551615",
        "# TYPE conn_cli_build_info gauge",
        "conn_cli_hook_info{stage=\"accepted\",hook=\"fentry\"} 1",
        "conn_cli_hook_exact 1",
        "conn_cli_lower_bound 0",
        "conn_cli_start_time_seconds 1795000000.25",
        "conn_cli_self_test_ok 1",
        "conn_cli_self_test_last_success_timestamp_seconds 1795000001.0",
        "# TYPE conn_cli_accept_wait_seconds histogram",
        "conn_cli_accept_wait_seconds_bucket{le=\"3.2767e-05\"} 0",
        "conn_cli_accept_wait_seconds_bucket{le=\"6.5535e-05\"} 2",
        "conn_cli_accept_wait_seconds_bucket{le=\"1.073741823\"} 2",
        "conn_cli_accept_wait_seconds_bucket{le=\"2.147483647\"} 3",
        "conn_cli_accept_wait_seconds_bucket{le=\"+Inf\"} 3",
        "conn_cli_accept_wait_seconds_sum 1.500000001",
        "conn_cli_accept_wait_seconds_count 3",
        "conn_cli_client_connections_total{client=\"2001:db8::1\",stage=\"accepted\"} 4",
        "conn_cli_client_connections_total{client=\"other\",stage=\"accepted\"} 6",
        "conn_cli_listener_drops_total{listener=\"[::]:80\",netns=\"4026531840\"} 9",
        "conn_cli_accept_queue_limit{listener=\"other\",netns=\"\"} 0",
        "conn_cli_accept_queue_length{listener=\"0.0.0.0:80\",netns=\"\"} 3",
        "conn_cli_drops_total 11",
        "conn_cli_missed_runs_total 0",
        "conn_cli_unreadable_total{what=\"socket\"} 1",
        "conn_cli_not_shown_total{stage=\"accepted\"} 2",
    ] {
        assert!(text.lines().any(|given| given == line), "{line}\n{text}");
    }
    // promtool wants both of each, before its series, which are together.
    let mut known = HashSet::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap();
            assert!(known.insert(current), "{current} twice");
            assert!(help.ends_with('.'), "{help}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind.split(' ').next().unwrap(), current);
        } else {
            assert!(line.starts_with(current), "{line} in {current}");
        }
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let text = text(
        Reading {
            self_test: None,
            waits: None,
            new_clients: None,
            clients: None,
            listeners: ListenerGauges::default(),
            discrepancies: Discrepancies::default(),
            ..reading()
        },
        Format::Text,
    );
    for part in ["self_test", "wait", "client", "missed", "syn", "refused"] {
        assert!(
            !text.contains(&format!("conn_cli_{part}")),
            "{part}\n{text}"
        );
        assert!(!text.contains(&format!("conn_cli_accept_{part}")), "{part}");
    }
    assert!(!text.contains("2001:db8::1"), "{text}");
}

#[test]
fn every_stage_is_told() {
    let stages = Stages {
        syn: 1,
        repeated: 2,
        refused: 3,
        established: 4,
        accepted: 5,
    };
    let mut reading = reading();
    reading.hooks = [Hook::Requests, Hook::Tracepoint, Hook::Lsm]
        .map(|hook| (hook.stage(), hook))
        .to_vec();
    reading.knows_refused = true;
    reading.series = vec![Series {
        port: Some(443),
        name: 0,
        stages,
    }];
    let text = text(reading, Format::OpenMetrics);
    let ends = "port=\"443\",network_name=\"other\"";
    for line in [
        format!("conn_cli_connections_total{{{ends},stage=\"syn\"}} 1"),
        format!("conn_cli_connections_total{{{ends},stage=\"established\"}} 4"),
        format!("conn_cli_connections_total{{{ends},stage=\"accepted\"}} 5"),
        format!("conn_cli_syn_retransmissions_total{{{ends}}} 2"),
        format!("conn_cli_refused_total{{{ends}}} 3"),
        "# TYPE conn_cli_build info".to_owned(),
        "# UNIT conn_cli_accept_wait_seconds seconds".to_owned(),
    ] {
        assert!(text.lines().any(|given| given == line), "{line}\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"), "{text}");
}

#[test]
fn protobuf_has_the_native_histogram() {
    let bytes = render(reading(), Format::Protobuf).unwrap();
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(b"conn_cli_accept_wait_seconds"));
    // MetricFamily is io.prometheus.client's: name is field 1. The whole is as long as its parts say.
    let mut rest = &bytes[..];
    let mut families = 0;
    while !rest.is_empty() {
        let mut length = 0;
        let mut shift = 0;
        loop {
            let (first, others) = rest.split_first().unwrap();
            rest = others;
            length |= usize::from(first & 0x7f) << shift;
            shift += 7;
            if first & 0x80 == 0 {
                break;
            }
        }
        assert_eq!(rest[0], 1 << 3 | 2, "a name");
        rest = &rest[length..];
        families += 1;
    }
    let help = text(reading(), Format::Text);
    assert_eq!(families, help.matches("# HELP").count());
}
