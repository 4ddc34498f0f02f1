mod tunnels;

use crate::read::parse::{lines::lines, tcpdump::*};

const SYN: &str = "192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 4294967290, win 64000, \
    options [mss 1460], length 0";
const HEADER: &str = "IP (tos 0x0, ttl 64, id 1, offset 0, flags [none], proto TCP (6), length 44)";

/// Describes each event as `client -> server number` or `answer: ..`, with its time, and each
/// parse error.
fn describe_all(text: impl AsRef<[u8]>) -> Vec<String> {
    describe_wanted(text, &Wanted::with_times())
}

fn describe_wanted(text: impl AsRef<[u8]>, wanted: &Wanted) -> Vec<String> {
    let mut parser = Lines::new(wanted);
    let mut descriptions = Vec::new();
    for line in lines(text.as_ref()) {
        let mut events = Vec::new();
        let parsed = parser.line(line, &mut events);
        descriptions.extend(events.iter().map(event_text));
        descriptions.extend(parsed.err().map(str::to_owned));
    }
    descriptions
}

fn describe(text: impl AsRef<[u8]>) -> String {
    describe_all(text).join("; ")
}

fn event_text(event: &Event) -> String {
    let (label, connection, number) = match event {
        Event::Syn(connection, id) => ("", connection, id.sequence.unwrap().to_string()),
        Event::Answer(connection, id) => ("answer: ", connection, id.sequence.unwrap().to_string()),
        Event::End(connection) => ("end: ", connection, "?".to_owned()),
        Event::Connection(connection) => ("", connection, "?".to_owned()),
        Event::Inner => return "inner".to_owned(),
        _ => panic!("{event:?}"),
    };
    let Connection {
        remote,
        remote_port,
        local,
        local_port,
        ..
    } = connection;
    let port = |port: &Option<u16>| port.map_or("?".to_owned(), |port| port.to_string());
    let time = match &connection.time {
        When::At(time) => format!(" at {time}"),
        When::Recorded(time) => format!(" at {} ({:?})", time.text, time.lacks),
        When::Clock(_) | When::Unknown => String::new(),
    };
    format!(
        "{label}{remote} {} -> {local} {} {number}{time}",
        port(remote_port),
        port(local_port)
    )
}

/// The description of [`SYN`].
const SYN_TEXT: &str = "192.0.2.1 37822 -> 192.0.2.9 80 4294967290";

#[test]
fn every_time_format_is_parsed() {
    for (time, expected_time) in [
        ("", ""),
        ("16:59:36.240144 ", " at 16:59:36.240144 (Date)"),
        ("16:59:36.240144123 ", " at 16:59:36.240144123 (Date)"),
        (" 00:00:00.000018 ", " at 00:00:00.000018 (Before)"),
        ("1795366776.240144 ", " at 2026-11-22T16:59:36.240144Z"),
        (
            "2026-11-22 16:59:36.240144 ",
            " at 2026-11-22 16:59:36.240144 (Zone)",
        ),
        ("    1  ", ""),
        ("    1  16:59:36.240144 ", " at 16:59:36.240144 (Date)"),
        ("   12   00:00:00.000018 ", " at 00:00:00.000018 (Before)"),
        ("123456  16:59:36.240144 ", " at 16:59:36.240144 (Date)"),
    ] {
        let expected = format!("{SYN_TEXT}{expected_time}");
        assert_eq!(describe(format!("{time}IP {SYN}")), expected, "{time}");
        let two = format!("{time}{HEADER}\n    {SYN}\n");
        assert_eq!(describe(&two), expected, "{two}");
        assert_eq!(
            form(two.lines().next().unwrap().as_bytes()),
            Some(Form::Own)
        );
    }
    let mut parser = Lines::new(&Wanted::default());
    let mut events = Vec::new();
    let line = format!("16:59:36.240144 IP {SYN}");
    parser.line(line.as_bytes(), &mut events).unwrap();
    assert_eq!(event_text(&events[0]), SYN_TEXT);
}

#[test]
fn syn_is_found_after_any_link_header_and_tunnel() {
    for start in [
        "IP ",
        "lo    In  IP ",
        "enp0s31f6 Out IP ",
        "IP truncated-ip - 9 bytes missing! ",
        "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype IPv4 (0x0800), length 58: ",
        "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype 802.1Q (0x8100), length 62: vlan 100, \
         p 0, ethertype IPv4 (0x0800), ",
        "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype 802.1Q (0x8100), length 62: vlan 100, \
         p 0, ethertype IPv4, ",
        "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype 802.1Q-QinQ (0x88a8), length 62: vlan 5, \
         p 0, ethertype 802.1Q, vlan 100, p 0, ethertype IPv4, ",
        "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype IPv4, length 58: IP ",
        "00:00:00:00:00:00 (oui Ethernet) > 00:00:00:00:00:00 (oui Ethernet), ethertype IPv4 \
         (0x0800), length 74: ",
        "lo    In  ifindex 1 00:00:00:00:00:00 (oui Ethernet) ethertype IPv4 (0x0800), length 80: ",
        "  In 00:00:00:00:00:00 ethertype IPv4 (0x0800), length 76: ",
        "PPPoE  IP ",
        "PPPoE  [ses 0x1] IP (0x0021), length 42: ",
        "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype PPPoE S (0x8864), length 62: PPPoE  \
         [ses 0x1] IP (0x0021), length 42: ",
        "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype PPPoE S (0x8864), length 62: PPPoE  \
         [ses 0x1] PPP-IP (0x0021), length 42: ",
        "IP (0x0021), length 44: ",
        "MPLS (label 16, tc 0, ttl 64) (label 17, tc 0, [S], ttl 64) IP ",
        "0a:00:00:00:00:02 > 0a:00:00:00:00:01, ethertype MPLS unicast (0x8847), length 62: MPLS \
         (label 17, tc 0, [S], ttl 64) ",
        "version 0, resource ID 5, family IPv4 (2), length 72: ",
        "unicast, ethertype IPv4 (0x0800), length 44: ",
        "AF IPv4 (2), length 64: ",
        "IP6 (hlim 64, next-header TCP (6) payload length: 24) ",
    ] {
        let line = format!("{start}{SYN}");
        assert_eq!(describe(&line), SYN_TEXT, "{line}");
        assert_eq!(form(line.as_bytes()), Some(Form::Own), "{line}");
    }
}

#[test]
fn a_packet_without_its_first_line_has_no_time() {
    let text = format!("16:59:36.1 {HEADER}\n    {SYN}\nIP cut 44)\n    {SYN}\n    {SYN}\n");
    let described = describe_all(text);
    assert_eq!(described[0], format!("{SYN_TEXT} at 16:59:36.1 (Date)"));
    let rest: Vec<_> = described
        .iter()
        .skip(1)
        .filter(|text| text.contains(" -> "))
        .collect();
    assert_eq!(rest, [SYN_TEXT, SYN_TEXT]);
}

#[test]
fn the_second_line_of_a_packet_may_have_another_indent() {
    for indent in ["", " ", "  ", "\t", "        "] {
        let text =
            format!("16:59:36.1 {HEADER}\n{indent}{SYN}\n{indent}{SYN}\n16:59:37.1 {HEADER}\n");
        let described = describe_all(text);
        let expected = format!("{SYN_TEXT} at 16:59:36.1 (Date)");
        assert_eq!(described[0], expected, "{indent:?}");
        let counted = described.iter().filter(|text| text.contains(" -> "));
        assert!(counted.count() == 1 || indent.len() > 4, "{described:?}");
        // The quoted packet was sent earlier.
        let quoted = format!(
            "16:59:36.1 {HEADER}\n{indent}192.0.2.9 > 192.0.2.1: ICMP host 192.0.2.9 unreachable, length 68\n\
             {HEADER}\n{indent}{SYN}\n"
        );
        assert_eq!(describe(&quoted), "", "{indent:?}");
    }
}

#[test]
fn text_that_somebody_sent_is_no_packet() {
    let text = format!(
        "LLDP, length 76: IP {SYN}\nPPPoE PADO [Service-Name] [AC-Name \"IP {SYN}\"]\n\
         CDPv2, ttl: 180s, Device-ID 'IP {SYN}\n\
         0a:00:00:00:00:02 > 01:80:c2:00:00:0e, ethertype LLDP (0x88cc), length 76: LLDP, length \
         62: ethertype IPv4 (0x0800), length 9: {SYN}\n\
         eth0  M   LLDP, length 76: x In IP {SYN}\nrule of thumb: IP {SYN}\n\
         IP 198.51.100.9.5353 > 192.0.2.9.53: 1+ A? x > 203.0.113.6.1: IP {SYN}\n\
         IP x y {SYN}\n",
    );
    let described: Vec<_> = describe_all(
        text.lines()
            .map(|line| format!("17:33:43.611589 {line}\n"))
            .collect::<String>(),
    );
    let counted = described.iter().filter(|text| text.contains(" -> "));
    assert_eq!(counted.count(), 0, "{described:?}");
}

#[test]
fn lines_of_pf_and_of_old_versions_are_parsed() {
    for line in [
        "rule def/(match) pass in on em1: 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "rule 5/0(match): pass in on em0: IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 4294967290, win 1",
        "rule 0..16777216/0(match): block in on em0: (tos 0x0, ttl 64, id 1) 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840",
        "192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "0a:00:00:00:00:02 0a:00:00:00:00:01 0800 74: 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "a:0:0:0:0:2 a:0:0:0:0:1 ip 74: 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "< a:0:0:0:0:2 ip 76: 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "802.1Q vid 10 pri 0 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "802.1Q vlan#10 P0 CFI 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "0a:00:00:00:00:02 0a:00:00:00:00:01 8100 78: 802.1Q vid 10 pri 0 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "eth0 < 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "eth0 > 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840 (DF)",
        "rule 5/0(match): pass in on em0: 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 4294967290, win 1",
        "rule 2.anchor.1/0(match): block out on vlan0.5: 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 4294967290, win 1",
        "rule 39/(match) [uid 0, pid 9] pass in on em1: 192.0.2.1.37822 > 192.0.2.9.80: S 4294967290:4294967290(0) win 5840",
        "IP (tos 0x0, ttl  42, id 43689, offset 0, flags [DF], proto: TCP (6), length: 60) 192.0.2.1.37822 > 192.0.2.9.80: S, cksum 0x6c45 (correct), 4294967290:4294967290(0) win 5840",
    ] {
        assert_eq!(
            describe(format!("05:50:22.683986 {line}")),
            format!("{SYN_TEXT} at 05:50:22.683986 (Date)"),
            "{line}"
        );
        for stamp in ["Sep  8 05:50:22.683986", "Sep 8 05:50:22.683986"] {
            assert_eq!(
                describe(format!("{stamp} {line}")),
                format!("{SYN_TEXT} at {stamp} (Year)"),
                "{line}"
            );
        }
        assert_eq!(
            describe(format!(" 02:00:00.000000 {line}")),
            format!("{SYN_TEXT} at 02:00:00.000000 (Before)"),
            "{line}"
        );
        assert_eq!(
            describe(format!("000013 {line}")),
            format!("{SYN_TEXT} at 000013 (Before)"),
            "{line}"
        );
        assert_eq!(describe(format!("1. 013365 {line}")), SYN_TEXT, "{line}");
        // Cisco ASA
        assert_eq!(
            describe(format!("  17: 05:50:22.683986       {line}")),
            format!("{SYN_TEXT} at 05:50:22.683986 (Date)"),
            "{line}"
        );
    }
    // Only OpenBSD has no label before addresses and new flags; without a time, nobody.
    assert_eq!(describe(format!("05:50:22.683986 {SYN}")), NOT_TCPDUMP);
    assert_eq!(describe(SYN), NOT_TCPDUMP);
    assert_eq!(
        describe("192.0.2.1.3 > 192.0.2.9.80: S 1:1(0) win 5840"),
        NOT_TCPDUMP
    );
    for line in [
        "Sep 28 05:50:26.605638 rule 11/(match) block in on em1: 192.0.2.12.59331 > 239.255.255.250.1900: udp 132 (DF) [ttl 1]",
        "Sep 28 05:50:26.605638 rule 11/(match) block in on em1: arp who-has 192.0.2.1 tell 192.0.2.9",
        "Sep 28 05:50:26.605638 802.1Q vid 10 pri 0 arp who-has 192.0.2.1 tell 192.0.2.9",
        "Sep 28 05:50:26.605638 0a:00:00:00:00:02 ff:ff:ff:ff:ff:ff 0806 42: arp who-has 192.0.2.1 tell 192.0.2.9",
        "^C",
    ] {
        assert_eq!(describe(line), "", "{line}");
    }
}

#[test]
fn an_old_line_with_details_is_parsed() {
    let text = "\
05:44:57.401053 IP (tos 0x0, ttl  42, id 43689, offset 0, flags [DF], proto: TCP (6), length: 60) client.example.net.51097 > www.example.org.www: S, cksum 0x6c45 (correct), 2044068990:2044068990(0) win 5840 <mss 1460,sackOK,timestamp 16931451 0,nop,wscale 2>
05:44:57.418354 IP (tos 0x0, ttl  64, id 0, offset 0, flags [DF], proto: TCP (6), length: 60) www.example.org.www > client.example.net.51097: S, cksum 0x53d7 (incorrect (-> 0x1234), 2683782954:2683782954(0) ack 2044068991 win 5792 <mss 1460,sackOK,timestamp 215877 16931451,nop,wscale 2>
05:44:57.686975 IP (tos 0x0, ttl  42, id 43690, offset 0, flags [DF], proto: TCP (6), length: 52) client.example.net.51097 > www.example.org.www: ., cksum 0x9343 (correct), 1:1(0) ack 1 win 1460 <nop,nop,timestamp 16931522 215877>
05:44:57.686975 00:00:5e:00:53:01 > 00:00:5e:00:53:02, ethertype IPv4 (0x0800), length 66: IP (tos 0x0, ttl  42, id 43690, offset 0, flags [DF], proto: TCP (6), length: 52) client.example.net.51097 > www.example.org.www: F 1:1(0) ack 1 win 1460
";
    let ends = "client.example.net 51097 -> www.example.org 80 2044068990 at 05:44:57";
    assert_eq!(
        describe_all(text),
        [
            format!("{ends}.401053 (Date)"),
            format!("answer: {ends}.418354 (Date)"),
            format!(
                "end: {}",
                ends.replace("2044068990", "?") + ".686975 (Date)"
            ),
        ]
    );
}

#[test]
fn flags_determine_kind_of_packet() {
    let with = |flags: &str| describe(format!("IP {}", SYN.replace("[S]", flags)));
    for flags in ["[S]", "[SEW]", "[SE]", "[SW]", "[SPU]", "[SWe]"] {
        assert_eq!(with(flags), SYN_TEXT, "{flags}");
    }
    for flags in ["[FS]", "[SR]", "[none]", "[.]", "[P.]", "[PU.]", "[]"] {
        assert_eq!(with(flags), "", "{flags}");
    }
    for flags in ["[R]", "[R.]", "[F.]", "[FP.]", "[RW]"] {
        let end = "end: 192.0.2.1 37822 -> 192.0.2.9 80 ?";
        assert_eq!(with(flags), end, "{flags}");
    }
    let checked = "IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], cksum 0x0000 (incorrect -> \
        0x8611), seq 5:23, win 64000, length 18: HTTP: GET / HTTP/1.0";
    assert_eq!(describe(checked), "192.0.2.1 37822 -> 192.0.2.9 80 5");
    assert_eq!(describe(format!("IP {}", &SYN[..47])), CUT);
}

#[test]
fn ports_after_ipv6_extension_headers_are_found() {
    for headers in ["HBH", "HBH (padn)", "HBH DSTOPT", "frag (0|1448)"] {
        let line = |rest: &str| format!("IP6 2001:db8::2 > ::1: {headers} {rest}, win 1");
        assert_eq!(
            describe(line("37895 > 80: Flags [S], seq 17")),
            "2001:db8::2 37895 -> ::1 80 17"
        );
        assert_eq!(
            describe(line("37895 > http: Flags [S.], seq 7, ack 18")),
            "answer: ::1 80 -> 2001:db8::2 37895 17"
        );
    }
}

#[test]
fn answer_has_addresses_and_number_of_its_syn() {
    for (flags, ack) in [("[S.]", "4294967291"), ("[S.E]", "4294967291")] {
        let line = format!(
            "IP 192.0.2.9.80 > 192.0.2.1.37822: Flags {flags}, seq 7, ack {ack}, win 64000, length 0"
        );
        assert_eq!(describe(line), format!("answer: {SYN_TEXT}"));
    }
    let line = "IP6 ::1.18080 > ::1.53360: Flags [S.], cksum 0x0030 (correct), seq 7, ack 0, win 1";
    assert_eq!(describe(line), "answer: ::1 53360 -> ::1 18080 4294967295");
    assert_eq!(
        describe("IP 192.0.2.9.80 > 192.0.2.1.37822: Flags [S.], seq 7"),
        CUT
    );
}

#[test]
fn endpoints_have_addresses_or_names() {
    let syn = |ends: &str| describe(format!("IP {ends}: Flags [S], seq 1, win 1"));
    for (ends, expected) in [
        (
            "2001:db8::1.37822 > 2001:db8::9.80",
            "2001:db8::1 37822 -> 2001:db8::9 80 1",
        ),
        (
            "::ffff:10.0.0.1.5 > 10.0.0.9.80",
            "10.0.0.1 5 -> 10.0.0.9 80 1",
        ),
        (
            "client-1.example.org.37822 > server.https",
            "client-1.example.org 37822 -> server 443 1",
        ),
        (
            "192.0.2.1.http-alt > server_2.ssh",
            "192.0.2.1 8080 -> server_2 22 1",
        ),
        (
            "localhost.1 > localhost.no-such-service",
            "localhost 1 -> localhost ? 1",
        ),
    ] {
        assert_eq!(syn(ends), expected);
    }
    for ends in [
        "192.0.2.1 > 192.0.2.9",
        "192.0.2.1.1 > 192.0.2.9.65536",
        "192.0.2.1.1 > 192.0.2.999.80",
        "192.0.2.1.1 > a\x1bb.80",
        "192.0.2.1.1 > 192.0.2.9.",
        ".80 > 192.0.2.9.80",
        "a > b",
    ] {
        assert_eq!(syn(ends), NO_ENDPOINT, "{ends}");
    }
}

#[test]
fn other_lines_are_ignored_or_parse_errors() {
    for line in [
        "",
        "reading from file a.pcap, link-type EN10MB (Ethernet), snapshot length 262144",
        "tcpdump: verbose output suppressed, use -v[v]... for full protocol decode",
        "listening on lo, link-type EN10MB (Ethernet), snapshot length 262144 bytes",
        "^C31 packets captured",
        "62 packets received by filter",
        "0 packets dropped by kernel",
        "ARP, Request who-has 192.0.2.9 tell 192.0.2.1, length 28",
        "16:59:36.2 ARP, Ethernet (len 6), IPv4 (len 4), Request who-has 192.0.2.9, length 28",
        "IP 192.0.2.1 > 192.0.2.9: ip-proto-6",
        "IP 192.0.2.1 > 192.0.2.9: tcp",
        "IP 192.0.2.1.5555 > 192.0.2.9.53: 5+ A? a > b: Flags [S]. (30)",
        "IP6 2001:db8::9 > 2001:db8::1: ICMP6, destination unreachable, 2001:db8::9 tcp port 80",
        "PPPoE  [len 376 > 1!]  [|ppp]",
        "\t0x0000:  4500 003c 912a 4000 4006 ab8f 7f00 0001  E..<.*@.@.......",
        "    192.0.2.1.37822 > 192.0.2.9.80: Flags [.], cksum 0x1 (correct), ack 1, win 64",
    ] {
        assert_eq!(describe(line), "", "{line}");
    }
    for (line, parse_error) in [
        ("IP 192.0.2.1.37822 > 192.0.2.9.80: tcp 0", NO_FLAGS),
        ("IP 192.0.2.1.37822 > 192.0.2.9.80:  [|tcp]", CUT),
        ("sshd[12]: Connection from 192.0.2.1", NOT_TCPDUMP),
        ("0:00:00:02:08:00 SRC=192.0.2.1 DST=192.0.2.9", NOT_TCPDUMP),
    ] {
        assert_eq!(describe(line), parse_error, "{line}");
    }
}

#[test]
fn quoted_packets_and_payload_do_not_count() {
    let text = format!(
        "{HEADER}\n    192.0.2.9 > 192.0.2.1: ICMP 192.0.2.9 tcp port 80 unreachable, length 52\n\
         \t{HEADER}\n    {SYN}\n\
         {HEADER}\n    192.0.2.1.7 > 192.0.2.9.80: Flags [P.], seq 6:177, length 171: HTTP\n\
         \tPOST / HTTP/1.0\n\t12:00:00.000001 IP {SYN}\n\t    {SYN}\n\t{HEADER}\n"
    );
    assert!(describe_all(text).is_empty());
}

#[test]
fn ascii_dump_is_parse_errors() {
    let text = format!("IP {SYN}\nE..>....@....\t...P....GET / HTTP/1.0\nHost: x\n\n");
    assert_eq!(describe_all(&text)[0], SYN_TEXT);
    assert!(
        describe_all(&text)[1..]
            .iter()
            .all(|description| description == NOT_TCPDUMP)
    );
}

fn line_ends(text: &str) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)
}

#[test]
fn hold_back_keeps_packets_together() {
    let text = format!(
        "16:59:36.1 {HEADER}\n    {SYN}\n    2  16:59:36.2 IP {SYN}\n\t0x0000:  4500\n\
         16:59:36.3 {HEADER}\n    192.0.2.9 > 192.0.2.1: ICMP host unreachable, length 52\n\
         \t{HEADER}\n    {SYN}\n16:59:36.4 {HEADER}\n    10.0.0.1 > 10.0.0.2: {HEADER}\n    {SYN}\n"
    );
    let whole = describe_all(&text);
    assert_eq!(whole.len(), 3, "{whole:?}");
    assert_eq!(whole[2], "inner");
    for end in line_ends(&text) {
        let at = hold_back(&text.as_bytes()[..end]);
        let is_header = text[..end].ends_with(")\n");
        assert!(
            at == end || is_header || text[at..end].contains("ICMP"),
            "{end}"
        );
        let mut parts = describe_all(&text[..at]);
        parts.extend(describe_all(&text[at..]));
        assert_eq!(parts, whole, "cut at {at}");
    }
}

#[test]
fn cut_or_damaged_line_gives_no_wrong_event() {
    let line = format!("16:59:36.240144 lo    In  IP {SYN}");
    let unknown = SYN_TEXT.replace("4294967290", "?");
    for end in 0..line.len() {
        for damage in ["", "\r\n", "\0", "\u{e9}"] {
            let shown = describe(format!("{}{damage}", &line[..end]));
            let shown = shown.split(" at ").next().unwrap();
            assert!(
                shown == SYN_TEXT || shown == unknown || !shown.contains(" -> "),
                "{end}: {shown}"
            );
        }
        let mut bytes = line.clone().into_bytes();
        bytes[end] = 0xff;
        describe_all(&bytes);
        for bytes in [&bytes[..], &line.as_bytes()[..end]] {
            assert!(hold_back(bytes) <= bytes.len());
            assert!(!lines(bytes).any(|line| form(line).is_some() && line.len() < 50));
        }
    }
    assert_eq!(describe(format!("IP {SYN}\r\n")), SYN_TEXT);
}

#[test]
fn lines_of_other_programs_are_not_recognised() {
    for line in [
        "[pid 12] 14:25:37.1 accept4(3, NULL, NULL, 0) = 4",
        "14:25:37 write(1, \"14:25:37.1 IP 192.0.2.1.3 > 192.0.2.9.80: Flags [S]\"..., 99) = 99",
        "Nov 22 14:25:37 host kernel: IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.9 PROTO=TCP SYN",
        "{\"type\":\"summary\",\"clients\":[]}",
        "a > b: c",
        "14:25:37.123456 INFO started",
        "     289 192.0.2.1",
        "    1 0.000000 192.0.2.1 -> 192.0.2.9 TCP 74 37822 > 80 [SYN] Seq=0",
        "192.0.2.1 -> 192.0.2.9 TCP D=80 S=37822 Syn Seq=17 Len=0 Win=5840",
        "Sep 28 05:50:22 host rule 5/0(match): pass in on em0",
        "Warning: something",
    ] {
        assert_eq!(form(line.as_bytes()), None, "{line}");
    }
    let possible = b"14:25:37.1 IP 192.0.2.1.5 > 192.0.2.9.53: UDP, length 4";
    assert_eq!(form(possible), Some(Form::Own));
    assert_eq!(form(b""), Some(Form::Shared));
    assert_eq!(form(b"\tat Main.main"), Some(Form::Shared));
    let banner = b"tcpdump: listening on lo, link-type EN10MB (Ethernet), snapshot length 9 bytes";
    assert_eq!(form(banner), Some(Form::Own));
}

/// Whether a line is of this format, as the recogniser sees it.
fn form(line: &[u8]) -> Option<Form> {
    Lines::new(&Wanted::default())
        .line(line, &mut Vec::new())
        .ok()
}

#[test]
fn a_line_that_continues_no_header_is_in_no_tunnel() {
    let packet = "    192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 17, win 64240, length 0\n";
    let alone = describe_all(packet);
    assert_eq!(alone.len(), 1);
    let after = format!("14:25:37.1 IP 192.0.2.1.5 > 192.0.2.9.6: UDP, length 9\n{packet}");
    assert_eq!(describe_all(&after), alone);
}
