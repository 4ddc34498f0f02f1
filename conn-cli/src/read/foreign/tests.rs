use super::*;

#[test]
fn what_is_not_read_is_named() {
    for (text, name) in [
        (
            "    1 0.000000000 192.0.2.15 → 198.51.100.136 TCP 74 42062 → 80 [SYN] Seq=0",
            "tshark",
        ),
        (
            "  1   0.000000  192.0.2.1 -> 192.0.2.9 TCP 74 42062 > 80 [SYN] Seq=0",
            "tshark",
        ),
        ("192.0.2.1 → 192.0.2.9 TCP 74 42062 → 80 [SYN]", "tshark"),
        (
            "Frame 1: 74 bytes on wire (592 bits), 74 bytes captured (592 bits)",
            "tshark",
        ),
        (
            "\"No.\",\"Time\",\"Source\",\"Destination\",\"Protocol\"",
            "Wireshark",
        ),
        (
            "% time     seconds  usecs/call     calls    errors syscall",
            "strace -c",
        ),
        (
            "<166>Aug 27 12:15:30 fw %ASA-6-302013: Built inbound TCP connection 1 for ..",
            "ASA",
        ),
        (
            "Nov 22 14:25:37 fw RT_FLOW: RT_FLOW_SESSION_CREATE: session created 192.0.2.1/1",
            "JunOS",
        ),
        (
            "date=2026-11-22 time=14:25:37 devname=\"fw\" type=\"traffic\" srcip=192.0.2.1",
            "FortiGate",
        ),
        ("interfaces=[any]\nfilters=[port 80]", "sniffer"),
        (
            "[vs_0][fw_1] eth0:i[60]: 192.0.2.1 -> 192.0.2.9 (TCP) len=60 id=1",
            "fw monitor",
        ),
        (
            "#Software: Microsoft Windows Firewall\n#Fields: date time action protocol",
            "Windows",
        ),
        (
            "192.0.2.1 - - [22/Nov/2026:14:25:37 +0000] \"GET / HTTP/1.1\" 200 5",
            "nginx",
        ),
        (
            "Nov 22 14:25:37 web1 haproxy[7]: 192.0.2.1:1 [22/Nov/2026:14:25:37.1] web web/a 0/0 200",
            "HAProxy",
        ),
        (
            "type=SYSCALL msg=audit(1770153810.123:17): arch=c000003e syscall=288",
            "audit",
        ),
        (
            "State  Recv-Q Send-Q Local Address:Port  Peer Address:Port",
            "ss prints",
        ),
        (
            "Active Internet connections (servers and established)",
            "netstat",
        ),
        (
            "   client -> server TCP D=80 S=1234 Syn Seq=1 Len=0 Win=1",
            "snoop",
        ),
        (
            "Nov 22 14:25:37 fw kernel: Packet log: input DENY eth0 PROTO=6 192.0.2.1:1 192.0.2.9:80 L=60",
            "ipchains",
        ),
        (
            "Nov 22 14:25:37 fw kernel: IP fw-in rej eth0 TCP 192.0.2.1:1633 192.0.2.9:23 L=44",
            "ipchains",
        ),
        (
            "2026-11-22 14:25:37 DROP TCP 192.0.2.1 192.0.2.9 37822 80 60 S 1 0 64240 - - - RECEIVE",
            "Windows firewall",
        ),
        (
            "Nov 22 14:25:37 fw kernel: ipfw: 65500 Deny TCP 192.0.2.1:37822 192.0.2.9:80 in via em0",
            "ipfw",
        ),
        (
            "Nov 22 14:25:37 fw ns5gt: NetScreen device_id=ns5gt  [Root]system-notification-00257(traffic): src=192.0.2.1",
            "NetScreen",
        ),
        (
            "<134> id=firewall sn=0017C5 time=\"2026-11-22 14:25:37\" fw=192.0.2.9 pri=6 c=1 m=98 src=192.0.2.1:1:X1",
            "SonicWall",
        ),
        (
            "14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: tcp 0",
            "tcpdump -q",
        ),
        (
            "12 14:25:37.1 0 nginx (7) < accept fd=4 tuple=192.0.2.1:1->192.0.2.9:80",
            "sysdig",
        ),
        (
            "PID     COMM         IP SADDR            DADDR            DPORT",
            "tcpconnect",
        ),
        (
            "PID   COMM       LADDR     LPORT RADDR   RPORT TX_KB RX_KB MS",
            "tcplife",
        ),
        (
            "11/22-14:25:37.1  [**] [1:1000:1] text [**] {TCP} 192.0.2.1:1 -> 192.0.2.9:80",
            "Snort",
        ),
        (
            "all tcp 192.0.2.9:80 <- 192.0.2.1:1       ESTABLISHED:ESTABLISHED",
            "pfctl",
        ),
        ("    _TRANSPORT=kernel", "journalctl"),
        (
            "#separator \\x09\n#path\tdns\n#fields\tts\tuid\tquery",
            "Zeek other than conn.log",
        ),
        (
            r#"{"ts":1700000000.5,"uid":"C1","id.orig_h":"192.0.2.1","query":"a.example"}"#,
            "Zeek other than conn.log",
        ),
        (
            r#"{"timestamp":"2026-11-22T14:25:37.1+0000","flow_id":1,"event_type":"flow","src_ip":"192.0.2.1","src_port":1,"dest_ip":"192.0.2.9","dest_port":80,"proto":"TCP","flow":{},"tcp":{"tcp_flags":"00","tcp_flags_ts":"00","tcp_flags_tc":"00"}}"#,
            "Suricata whose flows have no TCP flags",
        ),
        (
            "2 123456789012 eni-1 192.0.2.1 192.0.2.9 1 80 6 5 400 1700000000 1700000060 ACCEPT OK",
            "AWS without TCP flags",
        ),
        (
            "version srcaddr dstaddr srcport dstport protocol\n2 192.0.2.1 192.0.2.9 1 80 6",
            "AWS without TCP flags",
        ),
        (
            "3 eni-1 192.0.2.1 192.0.2.9 37822 80 6 1700000000 ACCEPT 2 OK",
            "nothing names the columns",
        ),
        (
            r#"{"jsonPayload":{"connection":{"src_ip":"192.0.2.1"},"reporter":"DEST"}}"#,
            "Google Cloud",
        ),
    ] {
        let foreign = find(text.as_bytes(), false).unwrap_or_else(|| panic!("{text}"));
        assert!(foreign.what.contains(name), "{text}: {}", foreign.what);
    }
    for text in ["", "a b c", "Nov 22 14:25:37 web1 cron[7]: started"] {
        assert!(find(text.as_bytes(), false).is_none(), "{text}");
    }
}

#[test]
fn a_log_with_few_lines_of_a_server_is_a_log() {
    let access = "Nov 22 14:25:37 web1 nginx: 192.0.2.1 - - [22/Nov/2026:14:25:37 +0000] \"GET / HTTP/1.1\" 200";
    let other = "Nov 22 14:25:37 web1 cron[7]: started";
    let most = [access, access, other].join("\n");
    assert!(find(most.as_bytes(), true).is_some());
    let few = [access, other, other].join("\n");
    assert!(find(few.as_bytes(), true).is_none());
}

#[test]
fn the_first_line_is_quoted_and_escaped() {
    let unknown = describe(b"\n  \x1b[2Jevil \n").to_string();
    assert!(unknown.contains(r"'\u{1b}[2Jevil'"), "{unknown}");
    let long = describe("é".repeat(100).as_bytes()).to_string();
    assert!(long.contains(&format!("'{}'", "é".repeat(60))), "{long}");
}

#[test]
fn text_in_utf16_is_named() {
    for text in [b"\xff\xfeN\0o\0v\0\n\0", b"\xfe\xff\0N\0o\0v\0\n"] {
        assert!(describe(text).to_string().contains("iconv -f UTF-16"));
    }
}
