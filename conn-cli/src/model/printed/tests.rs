use super::{
    connection::line,
    message::{interval, is_count, is_message},
};

#[test]
fn lines_of_other_programs_are_no_connections() {
    for text in [
        "0.000000 192.0.2.1 -> 192.0.2.9 TCP 74 37822 > 80 [SYN] Seq=0",
        "1 0.000000 192.0.2.1 -> 192.0.2.9 TCP 74",
        "14:25:37.482496 IP 192.0.2.3.41455 > 192.0.2.1.80: Flags [S], seq 1",
        "14:25:37.482496 192.0.2.3:41455 -> 192.0.2.1:80 GET /index.html HTTP/1.1",
        "14:25:37.482496 192.0.2.3:41455 -> 192.0.2.1",
        "Nov 22 14:25:37 host sshd[7]: Accepted password for root from 192.0.2.1 port 4 ssh2",
        "Nov 22 14:25:37 Accepted password from 192.0.2.1",
        "1795357537: New connection from 192.0.2.1:54321 on port 1883.",
        "2026-11-22 14:25:37 New connection from 192.0.2.1:54321",
        "Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1 on port 80",
        "Sun Nov 22 14:25:37 2026 New connection from 192.0.2.1 to port http",
        "Sun Nov 22 14:25:37 2026 New connection from 192.0.2",
        "Sun Nov 22 14:25:37 2026 New connection from 192.0.2.256",
        "Sun Nov 22 14:25:37 2026 New connection 192.0.2.1:4 -> 192.0.2.9:80",
        "New connection from 192.0.2.1",
    ] {
        assert_eq!(line(text), None, "{text}");
    }
}

#[test]
fn messages_are_told_from_those_of_others() {
    for text in [
        "DEBUG aya::bpf: BPF Feature Detection: Features {",
        "INFO conn_cli::jobs::trace: fentry counts",
        "listening: 192.0.2.9:80 httpd[812], 8 threads in accept, accept queue 0/511",
        "192.0.2.9:80 httpd[812] has stopped listening",
        "own.log: text, 9 lines",
    ] {
        assert!(is_message(text), "{text}");
    }
    for text in [
        "3 lines not shown",
        "at least 3 SYNs",
        "2 new addresses: 192.0.2.1 (2)",
    ] {
        assert!(is_count(text), "{text}");
    }
    for text in [
        "INFO started",
        "INFO [main] started",
        "WARN 2026-11-22: full",
        "3 apples",
        "192.0.2.9:80 is down",
    ] {
        assert!(!is_message(text) && !is_count(text), "{text}");
    }
}

#[test]
fn rows_of_intervals_have_a_count() {
    for (text, count) in [
        (
            "14:25:30     123 connections     17 addresses      12.3/s   192.0.2.1 (45)   ██▌",
            Some(123),
        ),
        (
            "+100:01:01       1 connection       1 address       0.1/s",
            Some(1),
        ),
        ("14:25:40  (31000 intervals without a connection)", Some(0)),
        ("14:25:40  (not measured)", Some(0)),
        ("14:25:40  5 connections", None),
        ("5 connections     3 addresses", None),
    ] {
        assert_eq!(interval(text), count, "{text}");
    }
}
