//! SYNs that were sent, captured or logged more than once.

use serde_json::Value;

use crate::{read_from, text};

/// The connections, `repeated`, `repeated_by_ports` and `duplicates` of the summary, which are the same whether
/// times are shown or not.
#[track_caller]
fn numbers(input: &[u8], arguments: &[&str]) -> [u64; 4] {
    let numbers = |more: &[&str]| {
        let output = read_from(input, &[&["--json"], arguments, more].concat());
        let summary = text(&output.stdout).lines().last().unwrap();
        let summary: Value = serde_json::from_str(summary).unwrap();
        ["connections", "repeated", "repeated_by_ports", "duplicates"]
            .map(|field| summary[field].as_u64().unwrap_or(0))
    };
    let [quiet, shown, long] = [&["-q"][..], &[], &["--long"]].map(numbers);
    assert_eq!(quiet, shown);
    assert_eq!(quiet, long);
    quiet
}

/// A record of the kernel, after `before`.
fn record(before: &str, id: u16, port: u16, flags: &str) -> String {
    format!(
        "{before} IN=eth0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=192.0.2.33 DST=198.51.100.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID={id} DF PROTO=TCP SPT={port} DPT=22 WINDOW=64240 RES=0x00 {flags} URGP=0\n"
    )
}

/// The same in a syslog file.
fn logged(time: &str, prefix: &str, id: u16, port: u16, flags: &str) -> String {
    record(&format!("{time} gw kernel: {prefix}"), id, port, flags)
}

#[test]
fn ufw_logs_a_packet_twice() {
    let packet = |second: [&str; 2], id, port, verdict: &str| {
        [("AUDIT", second[0]), (verdict, second[1])].map(|(verdict, second)| {
            let time = format!("Jan 17 22:50:{second}");
            logged(&time, &format!("[UFW {verdict}]"), id, port, "SYN")
        })
    };
    let log = [
        packet(["57", "57"], 64565, 60361, "ALLOW"),
        packet(["58", "59"], 1201, 41072, "BLOCK"),
    ];
    assert_eq!(numbers(log.concat().concat().as_bytes(), &[]), [2, 0, 0, 2]);
    let output = read_from(log.concat().concat().as_bytes(), &["-q"]);
    let said = "2 records of a packet that another record shows, not counted";
    assert!(text(&output.stdout).contains(said) || text(&output.stderr).contains(said));
    // Without a time, and with IPv6, which has no id.
    let twice = record("[UFW AUDIT]", 7, 60361, "SYN") + &record("[UFW BLOCK]", 7, 60361, "SYN");
    let arguments = ["--format", "kernel-log"];
    assert_eq!(numbers(twice.as_bytes(), &arguments), [1, 0, 0, 1]);
    let ipv6 = log[0]
        .concat()
        .replace("192.0.2.33", "2001:0db8:0000:0000:0000:0000:0000:0021")
        .replace("198.51.100.1", "2001:0db8:0000:0000:0000:0000:0000:0001")
        .replace(
            "TOS=0x00 PREC=0x00 TTL=64 ID=64565 DF",
            "TC=0 HOPLIMIT=64 FLOWLBL=1",
        );
    assert_eq!(numbers(ipv6.as_bytes(), &[]), [1, 0, 0, 1]);
}

#[test]
fn a_trace_numbers_what_a_rule_logs_without_a_number() {
    let trace = record(
        "[90332.179725] TRACE: raw:PREROUTING:policy:2",
        7,
        36877,
        "SYN",
    )
    .replace("WINDOW", "SEQ=501 ACK=0 WINDOW");
    let rule = record("[90332.179790] NEW:", 7, 36877, "SYN");
    for log in [[&trace[..], &rule, &trace], [&rule, &trace, &rule]] {
        assert_eq!(numbers(log.concat().as_bytes(), &[]), [1, 0, 0, 2]);
    }
}

#[test]
fn a_log_without_numbers_has_retransmissions_by_ports() {
    for [first, again, late] in [
        ["Mar 20 14:03:24", "Mar 20 14:03:27", "Mar 20 14:05:32"],
        ["Dec 31 23:59:59", "Jan  1 00:00:02", "Jan  1 00:02:07"],
        [
            "2026-03-20T14:03:24+00:00",
            "2026-03-20T14:03:27+00:00",
            "2026-03-20T14:05:32+00:00",
        ],
    ] {
        let other = logged(first, "drop:", 18579, 53578, "SYN");
        let log = [
            logged(first, "drop:", 18578, 53577, "SYN"),
            other,
            logged(again, "drop:", 18595, 53577, "SYN"),
            logged(late, "drop:", 18596, 53577, "SYN"),
        ];
        assert_eq!(numbers(log.concat().as_bytes(), &[]), [3, 1, 1, 0]);
        // Its lines are not in order.
        let swapped = [&log[2][..], &log[0]];
        assert_eq!(numbers(swapped.concat().as_bytes(), &[]), [1, 1, 1, 0]);
        // The same port again after an end.
        let end = logged(first, "out:", 18580, 53577, "ACK RST");
        let reused = [&log[0][..], &end, &log[2]];
        assert_eq!(numbers(reused.concat().as_bytes(), &[]), [2, 0, 0, 0]);
        // An answer is neither an end nor a connection.
        let answer = logged(first, "out:", 0, 53577, "ACK SYN");
        let answered = [&log[0][..], &answer, &log[2]];
        assert_eq!(numbers(answered.concat().as_bytes(), &[]), [1, 1, 1, 0]);
    }
    let log = logged("Mar 20 14:03:24", "a:", 1, 5, "SYN")
        + &logged("Mar 20 14:03:27", "a:", 2, 5, "SYN");
    let output = read_from(log.as_bytes(), &["-q"]);
    let said = text(&output.stdout).to_owned() + text(&output.stderr);
    assert!(said.contains("1 retransmitted SYN not counted\n"), "{said}");
    assert!(
        said.contains(
            "note: 1 SYN is known as retransmitted only by addresses, ports and times, as"
        ),
        "{said}"
    );
    // The summary can be read back.
    let run = read_from(log.as_bytes(), &["-q", "--json"]).stdout;
    assert_eq!(numbers(&run, &[]), [1, 1, 1, 0]);
}

#[test]
fn a_packet_on_several_interfaces_is_one_before_and_after_dnat() {
    let packet = |time: &str, interface: &str, server: &str, flags: &str| {
        let (client, length) = ("192.0.2.106.65340", "win 65535, length 0");
        match flags {
            "S" => {
                format!("{time} {interface} IP {client} > {server}: Flags [S], seq 37, {length}\n")
            }
            _ => format!(
                "{time} {interface} IP {server} > {client}: Flags [S.], seq 7, ack 38, {length}\n"
            ),
        }
    };
    for (date, late) in [("", "05:26:54.700000"), ("2026-11-22 ", "05:26:54.700000")] {
        let at = |time: &str| format!("{date}05:26:53.{time}");
        let text = [
            packet(&at("599218"), "eno1 In ", "198.51.100.89.8080", "S"),
            packet(&at("599329"), "docker0 Out", "172.17.0.3.80", "S"),
            packet(&at("599344"), "veth1 Out", "172.17.0.3.80", "S"),
            packet(&at("599483"), "veth1 P  ", "172.17.0.3.80", "S."),
            packet(&at("599522"), "eno1 Out", "198.51.100.89.8080", "S."),
        ];
        assert_eq!(numbers(text.concat().as_bytes(), &[]), [1, 0, 0, 2]);
        // Not another server, more than a second later.
        let other = packet(
            &format!("{date}{late}"),
            "eno1 In ",
            "198.51.100.90.80",
            "S",
        );
        let both = text.concat() + &other;
        assert_eq!(numbers(both.as_bytes(), &[]), [2, 0, 0, 2]);
    }
}

/// A capture of packets between 192.0.2.9:4444 and 192.0.2.1:80: second, flags, sequence number and
/// acknowledgment number. Those with a number of 1000 or more are from the server.
fn capture(packets: &[(u32, u8, u32, u32)]) -> Vec<u8> {
    let u32s = |numbers: &[u32]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    };
    let mut file = u32s(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 101]);
    for (second, flags, sequence, acknowledged) in packets {
        file.extend(u32s(&[1_700_000_000 + second, 0, 40, 40]));
        let ends: [(u8, u16); 2] = match sequence {
            1000.. => [(1, 80), (9, 4444)],
            _ => [(9, 4444), (1, 80)],
        };
        file.extend([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0]);
        file.extend(ends.iter().flat_map(|(host, _)| [192, 0, 2, *host]));
        file.extend(ends.iter().flat_map(|(_, port)| port.to_be_bytes()));
        file.extend(sequence.to_be_bytes());
        file.extend(acknowledged.to_be_bytes());
        file.extend([0x50, *flags, 1, 0, 0, 0, 0, 0]);
    }
    file
}

#[test]
fn an_end_allows_a_client_to_use_a_port_and_a_number_again() {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 0x10;
    for end in [FIN | ACK, RST, RST | ACK] {
        let connection = |n: u32| {
            [
                (n * 5, SYN, 77, 0),
                (n * 5, SYN | ACK, 1000 + n, 78),
                (n * 5 + 1, ACK, 78, 1001 + n),
                (n * 5 + 2, end, 78, 1001 + n),
            ]
        };
        let packets: Vec<_> = (0..5).flat_map(connection).collect();
        assert_eq!(numbers(&capture(&packets), &[]), [5, 0, 0, 0]);
        let every: Vec<_> = packets.repeat(2);
        assert_eq!(
            numbers(&capture(&every), &["--every-packet"]),
            [10, 0, 0, 0]
        );
        // In text, which is without the acknowledgment of each line.
        let flags = if end & FIN > 0 { "F." } else { "R" };
        let text = "14:25:37.1 IP 192.0.2.9.4 > 192.0.2.1.80: Flags [S], seq 77, win 1, length 0\n\
            14:25:37.2 IP 192.0.2.1.80 > 192.0.2.9.4: Flags [S.], seq 5, ack 78, win 1, length 0\n\
            14:25:37.3 IP 192.0.2.9.4 > 192.0.2.1.80: Flags [END], seq 78, win 1, length 0\n"
            .replace("END", flags);
        let again = text.replace(":37.", ":38.");
        assert_eq!(numbers((text + &again).as_bytes(), &[]), [2, 0, 0, 0]);
    }
}

/// The clock of a record is known whatever writes its time, shown or not.
#[test]
fn a_syn_is_known_again_by_ports_in_any_kind_of_log() {
    let json = |second: u8, id: u16| {
        let record = record("gw kernel:", id, 60361, "SYN");
        let time = format!("2026-11-22T14:03:{second}.000Z");
        serde_json::json!({ "@timestamp": time, "message": record.trim_end() }).to_string() + "\n"
    };
    let ulogd =
        |second: u8, id: u16| record(&format!("Nov 22 14:03:{second} gw NEW:"), id, 60361, "SYN");
    let quoted = |second: u8, id: u16| {
        let time = format!("> Nov 22 14:03:{second}");
        logged(&time, "NEW:", id, 60361, "SYN")
    };
    for line in [json, ulogd, quoted] as [fn(u8, u16) -> String; 3] {
        let log = line(24, 7) + &line(27, 8);
        assert_eq!(numbers(log.as_bytes(), &[]), [1, 1, 1, 0], "{log}");
    }
}
