//! The kinds of text and files that are not read.

use memchr::memmem;

use super::Foreign;
use crate::read::parse::{scan::digits, suricata, vpc_flow, zeek};

const LIST: &str =
    "it shows what is open now, and no connection that ended before: use conn-cli --port";
const REQUESTS: &str = "a connection can have several requests or none: use conn-cli --port";
const FIREWALL: &str = "its records are not read: read a capture of the firewall instead";
const WIRESHARK: &str = "convert it: tshark -r FILE -w - | conn-cli read";

const ACCEPTS: &str = "trace the calls: strace -f -yy -e trace=accept,accept4 -p PID";

pub(super) const ALL: [Foreign; 49] = [
    Foreign {
        what: "text in UTF-16",
        remedy: "convert it: iconv -f UTF-16 -t UTF-8 FILE | conn-cli read",
        is: |line| line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff"),
    },
    Foreign {
        what: "a table of tshark",
        remedy: "read the packets themselves: tshark -r FILE -w - | conn-cli read",
        is: |line| is_tshark(line) || begins(line, b"Frame ") && has(line, b" bytes on wire"),
    },
    Foreign {
        what: "a list of packets of Wireshark",
        remedy: "read the capture itself",
        is: |line| {
            begins(line, b"\"No.\",\"Time\",\"Source\"")
                || has(line, b"<pdml ")
                || has(line, b"\"_index\": \"packets-")
        },
    },
    Foreign {
        what: "the table of strace -c, which has only sums",
        remedy: ACCEPTS,
        is: |line| begins(line.trim_ascii_start(), b"% time ") && has(line, b"usecs/call"),
    },
    Foreign {
        what: "a log of Cisco ASA",
        remedy: FIREWALL,
        is: |line| {
            [&b"%ASA-"[..], b"%FTD-", b"%PIX-"]
                .iter()
                .any(|name| has(line, name))
        },
    },
    Foreign {
        what: "a log of Cisco IOS",
        remedy: FIREWALL,
        is: |line| {
            has(line, b"%SEC-6-IPACCESSLOG")
                || has(line, b"%FW-6-SESS_AUDIT")
                || has(line, b"%SYS-")
        },
    },
    Foreign {
        what: "a log of JunOS",
        remedy: FIREWALL,
        is: |line| has(line, b"RT_FLOW") || has(line, b"PFE_FW_SYSLOG"),
    },
    Foreign {
        what: "the text of FortiGate's sniffer",
        remedy: "its packets are not read: read a capture of the firewall instead",
        is: |line| begins(line, b"interfaces=["),
    },
    Foreign {
        what: "the text of Check Point's fw monitor",
        remedy: "read the packets themselves: fw monitor -o FILE",
        is: |line| begins(line, b"[vs_") && has(line, b"[fw_"),
    },
    Foreign {
        what: "a log of FortiGate",
        remedy: FIREWALL,
        is: |line| (has(line, b"devname=") || has(line, b"devid=")) && has(line, b"type="),
    },
    Foreign {
        what: "a log of Palo Alto's firewall",
        remedy: FIREWALL,
        is: |line| {
            has(line, b",TRAFFIC,start,")
                || has(line, b",TRAFFIC,end,")
                || has(line, b",TRAFFIC,drop,")
        },
    },
    Foreign {
        what: "a log of Check Point's firewall",
        remedy: FIREWALL,
        is: |line| has(line, b"CheckPoint ") && has(line, b"action:"),
    },
    Foreign {
        what: "a log of Sophos UTM",
        remedy: FIREWALL,
        is: |line| has(line, b"id=\"20") && has(line, b"srcip=\"") && has(line, b"dstip=\""),
    },
    Foreign {
        what: "the log of the Windows firewall",
        remedy: "capture the packets, for example with pktmon, and convert them: pktmon etl2pcap",
        is: |line| {
            has(line, b"Microsoft Windows Firewall")
                || begins(line, b"#Fields: date time action protocol")
                || is_windows_record(line)
        },
    },
    Foreign {
        what: "events of the Windows Filtering Platform",
        remedy: "capture the packets, for example with pktmon, and convert them: pktmon etl2pcap",
        is: |line| has(line, b"Windows Filtering Platform"),
    },
    Foreign {
        what: "a log of the web server IIS",
        remedy: REQUESTS,
        is: |line| has(line, b"Microsoft Internet Information Services"),
    },
    Foreign {
        what: "a log of HAProxy",
        remedy: REQUESTS,
        is: |line| has(line, b"haproxy[") && (has(line, b"] ") || has(line, b"Connect from ")),
    },
    Foreign {
        what: "an access log of a web server such as nginx",
        remedy: REQUESTS,
        is: is_access_log,
    },
    Foreign {
        what: "an error log of nginx",
        remedy: REQUESTS,
        is: |line| is_slash_date(line) && has(line, b"] ") && has(line, b"#"),
    },
    Foreign {
        what: "a log of the audit daemon",
        remedy: ACCEPTS,
        is: |line| begins(line, b"type=") && has(line, b" msg=audit("),
    },
    Foreign {
        what: "a list of connections as ss prints it",
        remedy: LIST,
        is: |line| (begins(line, b"State ") || begins(line, b"Netid ")) && has(line, b"Recv-Q"),
    },
    Foreign {
        what: "a list of connections as netstat prints it",
        remedy: LIST,
        is: |line| {
            begins(line, b"Active Internet connections")
                || begins(line, b"Active Connections")
                || begins(line.trim_ascii_start(), b"Proto ") && has(line, b"Local Address")
        },
    },
    Foreign {
        what: "a list of open files as lsof prints it",
        remedy: LIST,
        is: |line| begins(line, b"COMMAND ") && has(line, b" FD ") && has(line, b"DEVICE"),
    },
    Foreign {
        what: "a list of connections as conntrack -L prints it",
        remedy: "it shows what is open now: use conntrack -E, or conn-cli --port",
        is: |line| {
            let line = line.strip_prefix(b"ipv4     2 ").unwrap_or(line);
            let line = line.strip_prefix(b"ipv6     10 ").unwrap_or(line);
            begins(line, b"tcp      6 ") && has(line, b" src=") && has(line, b" dport=")
        },
    },
    Foreign {
        what: "a list of rules as iptables -L prints it",
        remedy: "it has only sums: read the kernel log of a LOG rule, or use conn-cli --port",
        is: |line| {
            begins(line, b"Chain ") && (has(line, b" (policy ") || has(line, b" references)"))
        },
    },
    Foreign {
        what: "a trace of nft monitor",
        remedy: "read the kernel log of a rule with log, or use conn-cli --port",
        is: |line| begins(line, b"trace id ") && has(line, b" packet: "),
    },
    Foreign {
        what: "a list of packets as snoop prints it",
        remedy: "read a capture: snoop -o FILE, then tshark -r FILE -w - | conn-cli read",
        is: |line| has(line, b" -> ") && has(line, b" TCP D="),
    },
    Foreign {
        what: "a capture of snoop",
        remedy: WIRESHARK,
        is: |line| begins(line, b"snoop\0\0\0"),
    },
    Foreign {
        what: "a log of ipchains",
        remedy: "its records are not read: log with iptables or nftables, or use conn-cli --port",
        is: |line| {
            has(line, b"Packet log: ") && has(line, b" PROTO=") || has(line, b"kernel: IP fw-")
        },
    },
    Foreign {
        what: "a log of ipfw",
        remedy: "its records are not read: read what tcpdump captures, or the log of pf",
        is: |line| has(line, b"kernel: ipfw: ") && has(line, b" via "),
    },
    Foreign {
        what: "a log of NetScreen's firewall",
        remedy: FIREWALL,
        is: |line| has(line, b"NetScreen device_id="),
    },
    Foreign {
        what: "a log of SonicWall",
        remedy: FIREWALL,
        is: |line| has(line, b" sn=") && has(line, b" fw=") && has(line, b" pri="),
    },
    Foreign {
        what: "the output of tcpdump -q, which has no TCP flags",
        remedy: "run tcpdump without -q",
        is: is_quick_tcpdump,
    },
    Foreign {
        what: "the output of perf trace",
        remedy: ACCEPTS,
        is: |line| has(line, b" ms): ") && has(line, b"accept"),
    },
    Foreign {
        what: "the output of sysdig",
        remedy: ACCEPTS,
        is: |line| has(line, b" accept") && has(line, b" tuple="),
    },
    Foreign {
        what: "the output of truss",
        remedy: "record the packets instead: tcpdump -w FILE",
        is: |line| has(line, b"accept") && (has(line, b"{ AF_INET") || has(line, b"SOV_DEFAULT")),
    },
    Foreign {
        what: "a table of tcpconnect, which shows the connections that this machine made",
        remedy: "use tcpaccept, or conn-cli --port",
        is: |line| {
            has(line, b"PID ")
                && has(line, b" SADDR ")
                && has(line, b" DADDR ")
                && has(line, b" DPORT")
                && !has(line, b" SPORT")
        },
    },
    Foreign {
        what: "a table of tcplife, which does not tell who made a connection",
        remedy: "use tcpaccept, or conn-cli --port",
        is: |line| has(line, b"PID ") && has(line, b" TX_KB") && has(line, b" RX_KB"),
    },
    Foreign {
        what: "a list of flows of Cilium's hubble",
        remedy: "record the packets instead: tcpdump -w FILE",
        is: |line| has(line, b" -> ") && has(line, b"(TCP Flags: "),
    },
    Foreign {
        what: "alerts of Snort or Suricata",
        remedy: "not each connection has one: read the flows in eve.json",
        is: |line| has(line, b"[**] [") && has(line, b" -> "),
    },
    Foreign {
        what: "a list of connections as pfctl -s states prints it",
        remedy: LIST,
        is: |line| {
            has(line, b" tcp ")
                && (has(line, b" <- ") || has(line, b" -> "))
                && has(line, b"ESTABLISHED:")
        },
    },
    Foreign {
        what: "a log of ipmon",
        remedy: FIREWALL,
        is: |line| has(line, b" PR tcp len ") && has(line, b" -> "),
    },
    Foreign {
        what: "the output of journalctl -o json-pretty, verbose or export",
        remedy: "use -o json or no -o",
        is: |line| {
            let line = line.trim_ascii_start();
            begins(line, b"__CURSOR=")
                || begins(line, b"_TRANSPORT=")
                || begins(line, b"\"_TRANSPORT\" : ")
                || begins(line, b"\"__CURSOR\" : ")
                || has(line, b" [s=") && has(line, b";i=")
        },
    },
    Foreign {
        what: "a log of Zeek other than conn.log",
        remedy: "read conn.log",
        is: zeek::is_of_other_log,
    },
    Foreign {
        what: "an eve.json of Suricata whose flows have no TCP flags, as it did not follow their sessions",
        remedy: "read the capture itself, or run suricata with -k none",
        is: suricata::has_no_flags,
    },
    Foreign {
        what: "a VPC flow log of AWS without TCP flags",
        remedy: "add ${tcp-flags} to its format, or use conn-cli --port",
        is: vpc_flow::has_no_flags,
    },
    Foreign {
        what: "a VPC flow log of AWS of which nothing names the columns",
        remedy: "put its format into the first line, such as 'version srcaddr ..'",
        is: vpc_flow::needs_heading,
    },
    Foreign {
        what: "a VPC flow log of Google Cloud, which has no TCP flags",
        remedy: "use conn-cli --port",
        is: vpc_flow::is_of_google,
    },
    Foreign {
        what: "a file of the systemd journal",
        remedy: "print its kernel messages: journalctl -k --file FILE | conn-cli read",
        is: |line| begins(line, b"LPKSHHRH"),
    },
];

fn begins(line: &[u8], text: &[u8]) -> bool {
    line.starts_with(text)
}

fn has(line: &[u8], text: &[u8]) -> bool {
    memmem::find(line, text).is_some()
}

/// `  1   0.000000 192.0.2.1 → 192.0.2.9 TCP 74 42062 → 80 [SYN] ..`, with `->` in older versions.
fn is_tshark(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
        .take(7)
        .collect();
    // The first column may be a number, and the time may have a date.
    (1..=4).any(|at| match (words.get(at), words.get(at + 2)) {
        (Some(&arrow), Some(_)) if arrow == "→".as_bytes() => true,
        (Some(&arrow), Some(protocol)) if arrow == b"->" => {
            protocol.first().is_some_and(u8::is_ascii_uppercase) && !has(line, b" TCP D=")
        }
        _ => false,
    })
}

/// `192.0.2.1 - - [22/Nov/2026:14:25:37 +0000] "GET / HTTP/1.1" 200 5`
fn is_access_log(line: &[u8]) -> bool {
    let Some(at) = memmem::find(line, b"] \"") else {
        return false;
    };
    let before = &line[..at];
    let date = before.iter().rposition(|byte| *byte == b'[');
    let is_date = |date: &[u8]| matches!(date, [_, _, b'/', _, _, _, b'/', _, _, _, _, b':', ..]);
    date.is_some_and(|date| is_date(&before[date + 1..]))
}

/// `2026-11-22 14:25:37 DROP TCP 192.0.2.1 192.0.2.9 37822 80 ..`, also without the heading.
fn is_windows_record(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let action = words.next().unwrap_or_default();
    let protocol = words.next().unwrap_or_default();
    line.first().is_some_and(u8::is_ascii_digit)
        && [&b"ALLOW"[..], b"DROP"].contains(&action)
        && [&b"TCP"[..], b"UDP", b"ICMP"].contains(&protocol)
}

/// `2026/11/22 14:25:37 [`
fn is_slash_date(line: &[u8]) -> bool {
    matches!(
        line,
        [
            _,
            _,
            _,
            _,
            b'/',
            _,
            _,
            b'/',
            _,
            _,
            b' ',
            _,
            _,
            b':',
            _,
            _,
            b':',
            _,
            _,
            b' ',
            b'[',
            ..
        ]
    )
}

/// `14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: tcp 0`
fn is_quick_tcpdump(line: &[u8]) -> bool {
    let at = memmem::find(line, b": tcp ");
    let is_length = |rest: &[u8]| {
        let (length, rest) = digits(rest);
        !length.is_empty() && (rest.is_empty() || rest.starts_with(b" "))
    };
    (has(line, b"IP ") || has(line, b"IP6 "))
        && has(line, b" > ")
        && at.is_some_and(|at| is_length(&line[at + b": tcp ".len()..]))
}
