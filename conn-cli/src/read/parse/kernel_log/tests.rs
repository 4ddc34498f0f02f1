//! Parses lines as they occur in logs.

use crate::model::connection::Connection;
use crate::{
    model::connection::Lacks,
    read::parse::{kernel_log::*, scan},
};

pub(super) const RECORD: &str = "IN=eth0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=192.0.2.1 DST=192.0.2.9 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=4711 DF PROTO=TCP SPT=37822 DPT=80 WINDOW=64240 RES=0x00 SYN URGP=0 ";

pub(super) fn parsed(line: &[u8]) -> Result<Option<Connection>, ParseError> {
    let mut events = Vec::new();
    Lines::new(&Wanted::with_times()).line(line, &mut events)?;
    assert!(events.len() <= 1);
    Ok(events.pop().map(|event| match event {
        Event::Connection(connection) | Event::Syn(connection, _) => connection,
        other => panic!("{other:?}"),
    }))
}

fn time(line: &str) -> When {
    let connection = parsed(line.as_bytes())
        .unwrap_or_else(|parse_error| panic!("{parse_error}: {line}"))
        .unwrap_or_else(|| panic!("no connection: {line}"));
    assert_eq!(connection.remote.to_string(), "192.0.2.1", "{line}");
    assert_eq!(connection.remote_port, Some(37822), "{line}");
    assert_eq!(connection.local.to_string(), "192.0.2.9", "{line}");
    assert_eq!(connection.local_port, Some(80), "{line}");
    assert_eq!(form(line.as_bytes()), Some(Form::Own), "{line}");
    connection.time
}

#[test]
fn records_in_every_log_format_are_parsed() {
    for (before, text, lacks) in [
        ("[12345.678901] ", "12345.678901", Lacks::Boot),
        ("[    0.678901] ", "0.678901", Lacks::Boot),
        ("<4>[    0.678901] ", "0.678901", Lacks::Boot),
        ("[    0.678901][   T12] ", "0.678901", Lacks::Boot),
        ("[   12.678901 <    0.000123>] ", "12.678901", Lacks::Boot),
        ("[   12.678901] my-host kernel: ", "12.678901", Lacks::Boot),
        ("[   12.678901] kernel: ", "12.678901", Lacks::Boot),
        ("kern  :warn  : [  123.400000] ", "123.400000", Lacks::Boot),
        ("4,1234,5678901,-;", "5.678901", Lacks::Boot),
        ("4,1234,5678901,-,caller=T12;", "5.678901", Lacks::Boot),
        (
            "[Sun Nov 22 14:25:37 2026] ",
            "Sun Nov 22 14:25:37 2026",
            Lacks::Zone,
        ),
        (
            "Sun Nov  1 14:25:37 2026 kern.warn kernel: [    1.2] ",
            "Sun Nov  1 14:25:37 2026",
            Lacks::Zone,
        ),
        (
            "Sun 2026-11-22 14:25:37 CET host kernel: ",
            "Sun 2026-11-22 14:25:37 CET",
            Lacks::Zone,
        ),
        (
            "2026-11-22T14:25:37 host kernel: ",
            "2026-11-22T14:25:37",
            Lacks::Zone,
        ),
        (
            "2026-11-22 14:25:37 host kernel: ",
            "2026-11-22 14:25:37",
            Lacks::Zone,
        ),
        (
            "<12> Nov 22 14:25:37 2026 klogd: ",
            "Nov 22 14:25:37 2026",
            Lacks::Zone,
        ),
        ("[  +0.000123] ", "+0.000123", Lacks::Before),
        ("[<    0.000123>] ", "0.000123", Lacks::Before),
        ("[Nov22 14:25] ", "Nov22 14:25", Lacks::Year),
        (
            "Nov 22 14:25:37 host kernel: ",
            "Nov 22 14:25:37",
            Lacks::Year,
        ),
        (
            "Nov  2 14:25:37 host kernel: [123.45] ",
            "Nov  2 14:25:37",
            Lacks::Year,
        ),
        (
            "Nov 22 14:25:37 <kern.warn> host kernel: ",
            "Nov 22 14:25:37",
            Lacks::Year,
        ),
        (
            "Nov 22 14:25:37 <0.4> kernel: ",
            "Nov 22 14:25:37",
            Lacks::Year,
        ),
        (
            "2026-11-22T14:25:37 host kern.warning kernel: ",
            "2026-11-22T14:25:37",
            Lacks::Zone,
        ),
        // As pages of the web show it
        (
            "Nov 2 14:25:37 host kernel: ",
            "Nov 2 14:25:37",
            Lacks::Year,
        ),
        (
            "Sun Nov 2 14:25:37 2026 kern.warn kernel: ",
            "Sun Nov 2 14:25:37 2026",
            Lacks::Zone,
        ),
        (
            "<4>Nov 22 14:25:37 host kernel: [ 3.45] ",
            "Nov 22 14:25:37",
            Lacks::Year,
        ),
        (
            "Nov 22 14:25:37.123456 host kernel: ",
            "Nov 22 14:25:37.123456",
            Lacks::Year,
        ),
        ("Nov 22 14:25:37 kernel: ", "Nov 22 14:25:37", Lacks::Year),
        (
            "Nov 22 14:25:37 OpenWrt kern.warn kernel: [   1.2] ",
            "Nov 22 14:25:37",
            Lacks::Year,
        ),
        (
            "Nov 22 14:25:37 host ulogd[123]: ",
            "Nov 22 14:25:37",
            Lacks::Year,
        ),
        (
            "Nov 22 14:25:37 2001:db8::1 kernel: ",
            "Nov 22 14:25:37",
            Lacks::Year,
        ),
    ] {
        for prefix in [
            "",
            "NEW: ",
            "[UFW BLOCK] ",
            "filter_IN_public_REJECT: ",
            "\"FINAL_REJECT: \"",
            "DROP",
            "a b: ",
        ] {
            let when = time(&format!("{before}{prefix}{RECORD}"));
            assert_eq!(when, scan::recorded(text.as_bytes(), lacks));
        }
    }
}

#[test]
fn complete_timestamps_are_parsed() {
    for before in [
        "2026-11-22T14:25:37,123456+00:00 ",
        "kern  :warn  : 2026-11-22T15:25:37,123456+01:00 ",
        "2026-11-22T14:25:37.123456Z host kernel: [123.4] ",
        "2026-11-22T15:25:37.123456+0100 host kernel: ",
        "<4>1 2026-11-22T14:25:37.123456+00:00 host kernel - - - [123.4] ",
        "<4>1 2026-11-22T14:25:37.123456Z host kernel - - [a b=\"\\\"] \"][c] ",
        "1795357537.123456 host kernel: ",
    ] {
        let at = "2026-11-22T14:25:37.123456Z".parse().unwrap();
        assert_eq!(
            time(&format!("{before}NEW: {RECORD}")),
            When::At(at),
            "{before}"
        );
    }
    for zone in ["UTC", "+00", "-0000"] {
        let at = "2026-11-22T14:25:37Z".parse().unwrap();
        let line = format!("Sun 2026-11-22 14:25:37 {zone} host kernel: {RECORD}");
        assert_eq!(time(&line), When::At(at), "{zone}");
    }
    for (zone, at) in [
        ("+0100", "2026-11-22T13:25:37Z"),
        ("-0330", "2026-11-22T17:55:37Z"),
    ] {
        let line = format!("101 6 tap101i0-IN 22/Nov/2026:14:25:37 {zone} ACCEPT: {RECORD}");
        assert_eq!(time(&line), When::At(at.parse().unwrap()), "{zone}");
    }
    for before in [
        "",
        "NEW: ",
        "[UFW BLOCK] ",
        "kern  :warn  : ",
        "<4>",
        "2026-13-22T14:25:37Z host kernel: ",
    ] {
        assert_eq!(
            time(&format!("{before}{RECORD}")),
            When::Unknown,
            "{before}"
        );
    }
}

#[test]
fn journal_json_is_parsed() {
    let at = When::At("2026-11-22T14:25:37.123456Z".parse().unwrap());
    let bytes: Vec<String> = RECORD.bytes().map(|byte| byte.to_string()).collect();
    let timestamp = r#""__REALTIME_TIMESTAMP":"1795357537123456""#;
    for rest in [
        format!(r#""MESSAGE":"NEW: {RECORD}","_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel""#),
        format!(r#""MESSAGE":[{}],"_TRANSPORT":"kernel""#, bytes.join(",")),
        format!(r#""MESSAGE":"{RECORD}""#),
        format!(
            r#""_TRANSPORT":"syslog","_UID":"0","SYSLOG_IDENTIFIER":"ulogd","MESSAGE":"{RECORD}""#
        ),
    ] {
        assert_eq!(time(&format!("{{{timestamp},{rest}}}")), at, "{rest}");
    }
    for rest in [
        r#""_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"kernel""#,
        r#""_UID":"33","SYSLOG_IDENTIFIER":"kernel""#,
        r#""_UID":"0","SYSLOG_IDENTIFIER":"kernel""#,
        r#""_UID":"33","_COMM":"nginx""#,
        r#""_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"systemd""#,
        r#""_TRANSPORT":"kernel","_UID":"0","SYSLOG_IDENTIFIER":"ulogd""#,
        r#""_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"ulogd""#,
        r#""_TRANSPORT":"syslog","_UID":"1000","SYSLOG_IDENTIFIER":"ulogd""#,
        r#""_TRANSPORT":"syslog","_UID":["0","0"],"SYSLOG_IDENTIFIER":"ulogd""#,
        r#""_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"klogd""#,
        r#""SYSLOG_IDENTIFIER":"ulogd""#,
        r#""_TRANSPORT":"stdout""#,
    ] {
        let line = format!(r#"{{{timestamp},{rest},"MESSAGE":"{RECORD}"}}"#);
        assert_eq!(parsed(line.as_bytes()), Err(FOREIGN), "{rest}");
    }
    for rest in [r#""MESSAGE":null"#, r#""MESSAGE":[[1],"a"]"#] {
        let line = format!("{{{timestamp},{rest}}}");
        assert_eq!(parsed(line.as_bytes()), Ok(None), "{rest}");
    }
    for line in ["{", "{}", r#"{"type":"connection"}"#] {
        assert_eq!(parsed(line.as_bytes()), Err(NOT_A_LOG), "{line}");
        assert_eq!(form(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn lines_without_packet_records_are_ignored() {
    let (own, shared) = (Some(Form::Own), Some(Form::Shared));
    for (line, expected) in [
        ("[12345.678901] eth0: link is up", own),
        (
            "Nov 22 14:25:37 host kernel: [12.3] Command line: PLUGIN=a LOGIN=b",
            own,
        ),
        ("6,1234,5678901,-;eth0: link is up", own),
        (
            "0 5 - 22/Nov/2026:14:25:37 +0000 starting pvefw logger",
            own,
        ),
        (
            "Nov 22 14:25:37 host sshd[12]: Accepted publickey for root",
            shared,
        ),
        ("Nov 22 14:25:37 host last message repeated 3 times", shared),
        (
            "2026-11-22T14:25:37+00:00 192.0.2.1 system,info,account user admin logged in",
            shared,
        ),
        ("-- Boot 0123456789abcdef0123456789abcdef --", shared),
        (
            "-- Logs begin at Sun 2026-11-22 14:25:37 UTC, end at Sun 2026-11-22 14:25:38 UTC. --",
            shared,
        ),
        (" SUBSYSTEM=pci", shared),
        (
            "                           second line of a message",
            shared,
        ),
        ("", shared),
        ("\0", None),
    ] {
        assert_eq!(form(line.as_bytes()), expected, "{line}");
        let ignored = expected.map(|_| None).ok_or(NOT_A_LOG);
        assert_eq!(parsed(line.as_bytes()), ignored, "{line}");
    }
}

#[test]
fn lines_of_other_formats_are_not_recognised() {
    for line in [
        "2026-11-22 14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 1, win 1, length 0",
        "14:25:37.123456 IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 1, win 1, length 0",
        "1732285537.123456 IP6 2001:db8::1.37822 > 2001:db8::9.80: Flags [S], seq 1, length 0",
        "1732285537.123456 eth0  In  IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S]",
        "1732285537.123456 accept(3, {sa_family=AF_INET}, [16]) = 4",
        "14:25:37 accept(3, NULL, NULL) = 4",
        "[pid  1234] accept(3, NULL, NULL) = 4",
        "--- SIGCHLD {si_signo=SIGCHLD} ---",
        "12    accept(3, NULL, NULL) = 4",
        "    0x0000:  4500 003c",
        "  0.00    0.000000           0         4           accept",
        "[Sun Nov 22 14:25:37 2026] [error] [client 192.0.2.1] File does not exist: /var/www/x",
        "[Sun Nov 22 14:25:37.123456 2026] [core:notice] [pid 12:tid 34] AH00094: Command line: 'x'",
        "192.0.2.1 - - [22/Nov/2026:14:25:37 +0000] \"GET / HTTP/1.1\" 200 5",
        "2026/11/22 14:25:37 [error] 12#12: *1 open() \"/x\" failed",
    ] {
        assert_eq!(form(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn cut_line_gives_no_wrong_connection() {
    for before in [
        "",
        "<4>1 2026-11-22T14:25:37Z host kernel - - - ",
        "[12.3] ",
        "Nov 22 14:25:37 host kernel: [ 1.2] [UFW] ",
    ] {
        let line = format!("{before}{RECORD}OPT (020405B4) UID=0 GID=0 MARK=0x1 ");
        let whole = parsed(line.as_bytes());
        assert!(matches!(whole, Ok(Some(_))));
        let flags_end = line.find("URGP=0").unwrap() + "URGP=0".len();
        let record_start = before.len() + "IN=".len();
        for end in 0..line.len() {
            let cut = parsed(&line.as_bytes()[..end]);
            match end {
                _ if end >= flags_end => assert_eq!(cut, whole),
                _ if end >= record_start => assert!(cut.is_err(), "{}", &line[..end]),
                _ => assert!(!matches!(cut, Ok(Some(_)))),
            }
            // The beginning may also be lost, or any byte damaged.
            assert!(
                !matches!(parsed(&line.as_bytes()[end..]), Ok(Some(found)) if found.local.to_string() != "192.0.2.9")
            );
            for damage in [0, 0xff, b' ', b'\r', b'=', b'['] {
                let mut damaged = line.clone().into_bytes();
                damaged[end] = damage;
                drop(parsed(&damaged));
                let _ = form(&damaged);
                damaged.truncate(end + 1);
                assert!(end >= flags_end || !matches!(parsed(&damaged), Ok(Some(_))));
            }
        }
    }
}

/// Whether a line is of this format, as the recogniser sees it.
fn form(line: &[u8]) -> Option<Form> {
    Lines::new(&Wanted::default())
        .line(line, &mut Vec::new())
        .ok()
}

#[test]
fn every_month_is_known() {
    for month in [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ] {
        for line in [
            format!("{month} 22 14:25:37 host kernel: x"),
            format!("0 5 - 22/{month}/2026:14:25:37 +0000 starting pvefw logger"),
        ] {
            let time = Lines::new(&Wanted::with_times()).time(line.as_bytes());
            assert_ne!(time, When::Unknown, "{line}");
        }
    }
}
