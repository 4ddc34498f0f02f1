//! Tests whom the parser believes.

use super::{
    netfilter::CUT,
    tests::{RECORD, parsed},
    *,
};
use crate::model::connection::Connection;
use crate::{model::connection::Lacks, read::parse::scan::recorded};

fn parsed_with(line: &str, wanted: Wanted) -> Result<Option<Connection>, ParseError> {
    let mut events = Vec::new();
    Lines::new(&wanted).line(line.as_bytes(), &mut events)?;
    Ok(events.pop().map(|event| match event {
        Event::Connection(connection) | Event::Syn(connection, _) => connection,
        other => panic!("{other:?}"),
    }))
}

/// The two ends of the connection in a line.
fn ends(line: &str) -> Result<Option<String>, ParseError> {
    let found = parsed(line.as_bytes())?;
    Ok(found.map(|found| {
        let port = |port: Option<u16>| port.map_or_else(String::new, |port| port.to_string());
        format!(
            "{} {} {} {}",
            found.remote,
            port(found.remote_port),
            found.local,
            port(found.local_port)
        )
    }))
}

/// Lines of firewalls as their users report them, with other addresses.
#[test]
fn records_of_every_writer_are_parsed() {
    const MAC: &str = "MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00";
    const PACKET: &str = "SRC=192.0.2.1 DST=192.0.2.9 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=4711 DF PROTO=TCP SPT=37822 DPT=80";
    const LAST: &str = "WINDOW=64240 RES=0x00 SYN URGP=0";
    const ROUTER_OS: &str = "in:ether1 out:(unknown 0), connection-state:new src-mac 02:00:00:00:00:02, proto TCP (SYN), 192.0.2.1:37822->192.0.2.9:80, len 60";
    const FILTERLOG: &str = "5,,,1000000103,em0,match,block,in,4,0x0,,64,0,0,DF,6,tcp,60,192.0.2.1,192.0.2.9,37822,80,0,S,1234,,64240,,mss;nop;wscale";
    let record = |before: &str| format!("{before}IN=eth0 OUT= {MAC} {PACKET} {LAST}");
    let pvefw = format!("PHYSIN=fwln101i0 {MAC} {PACKET} SEQ=271997875 ACK=0 WINDOW=29200 SYN");
    for line in [
        record("Nov 22 14:25:37 fw kernel: [123.4] filter_IN_public_REJECT: "),
        record("Nov 22 14:25:37 fw kernel: \"FINAL_REJECT: \""),
        record("Nov 22 14:25:37 fw kernel: Shorewall:net2fw:DROP:"),
        record("Thu Jan  1 00:00:00 2026 kern.warn kernel: [  12.3] REJECT wan in: "),
        record("Nov 22 14:25:37 OpenWrt kern.warn kernel: [  12.3] DROP wan in: "),
        record("Nov 22 14:25:37 kernel: DROP "),
        record("Nov 22 14:25:37 kernel: ACCEPT <4>ACCEPT "),
        record("Nov 22 14:25:37 ubnt kernel: [WAN_LOCAL-default-D]"),
        record("<4>Nov 22 14:25:37 USG kernel: [WAN_IN-3001-A]"),
        record("<13>Nov 22 14:25:37 UDM [WAN_LOCAL-D-30005] DESCR=\"Block all\" "),
        record("Nov 22 14:25:37 UDM-Pro UDM-Pro [LAN_CUSTOM1-A-10000] DESCR=\"a/b\" "),
        record("Nov 22 14:25:37 UDM-Pro UDM-Pro kernel: [WAN_LOCAL-D-30005]"),
        record("<12> Jan 24 22:19:17 2000 klogd: Internet PPTP access: "),
        record("Nov 22 14:25:37 klogd: "),
        record("2026-11-22 14:25:37 web1 kernel: NEW: "),
        record("2026-11-22 14:25:37,123 web1 kernel: NEW: "),
        record("Nov 22 14:25:37 fe80::1%eth0 kernel: NEW: "),
        record("Nov 22 14:25:37 b\u{fc}ro kernel: NEW: "),
        record("Nov 22 14:25:37 relay Nov 22 14:25:36 web1 kernel: [12.3] NEW: "),
        record("Nov 22 14:25:37 a Nov 22 14:25:36 b Nov 22 14:25:35 c kernel: NEW: "),
        record("2026-11-22T14:25:37Z relay 2026-11-22T14:25:36Z web1 kernel: NEW: "),
        record("Nov 22 14:25:37 relay <4>Nov 22 14:25:36 web1 kernel: NEW: "),
        record("gw kernel: [wan-lan-default-D]"),
        record("kernel: "),
        record("[90332.179725] TRACE: raw:PREROUTING:policy:2 "),
        record("Nov 22 14:25:37 web1 HOST=web1 PROGRAM=kernel MESSAGE=") .replace("MESSAGE=", "MESSAGE=\"") + "\"",
        // ulogd has two spaces after the hardware address.
        record("Nov 22 14:25:37 fw ulogd[12]: NEW ").replace(" SRC", "  SRC"),
        format!("[1.5] TRACE: raw:PREROUTING:policy:2       IN=cbr0 OUT=    PHYSIN=v {PACKET}   SEQ=5 ACK=0 {LAST}").replace(" DST", "  DST"),
        format!("Nov 22 14:25:37 kernel: DROP IN=eth0 OUT= {MAC} {PACKET} {LAST}")
            .replace("SRC", "<1>SRC").replace("LEN", "<1>LEN").replace("SPT", "<1>SPT"),
        "[1.5] NEW: SRC=192.0.2.1 DST=192.0.2.9 PROTO=TCP SPT=37822 DPT=80 SYN URGP=0 IN=eth0 OUT=".to_owned(),
        "[1.5] NEW: IN=eth0 OUT= PROTO=TCP SPT=37822 DPT=80 SYN URGP=0 SRC=192.0.2.1 DST=192.0.2.9 ID=1".to_owned(),
        format!("[1.5] NEW: IN=eth0 {PACKET} {LAST} UID=0 GID=0 MARK=0x1 "),
        format!("[1.5] NEW: IN=eth0\tOUT=\t{PACKET} {LAST} OPT (020405B40402080A) "),
        format!("101 6 tap101i0-IN 22/Nov/2026:14:25:37 +0100 ACCEPT: IN=a OUT=b {pvefw}"),
        format!("0 6 PVEFW-HOST-IN 22/Nov/2026:14:25:37 +0100 policy DROP: IN=a {pvefw} "),
        format!("Nov 22 14:25:37 pve1 kernel: 0 6 PVEFW-HOST-IN 22/Nov/2026:14:25:37 +0100 policy DROP: IN=a {pvefw}"),
        format!("Nov 22 14:25:37 pve1 0 6 PVEFW-HOST-IN 22/Nov/2026:14:25:37 +0100 policy DROP: IN=a {pvefw}"),
        format!("Nov 22 14:25:37 pve1 pvefw-logger[12]: 0 6 PVEFW-HOST-IN 22/Nov/2026:14:25:37 +0100 policy DROP: IN=a {pvefw}"),
        format!("2026-11-22T14:25:37.594792+01:00 192.0.2.1 firewall,info drop-tcp input: {ROUTER_OS}"),
        format!("<134>Nov 22 14:25:37 MikroTik firewall,info input: {ROUTER_OS}"),
        format!("Nov 22 14:25:37 firewall,info: BAN INPUT 80 input: {ROUTER_OS}"),
        format!("<30>firewall,info forward: {ROUTER_OS}"),
        format!("14:25:37 firewall,info input: {ROUTER_OS}"),
        format!("14:25:37 firewall, info input: {ROUTER_OS}"),
        format!("2026-11-22 14:25:37 firewall,info input: {ROUTER_OS}"),
        format!("nov/22/2026 14:25:37 firewall,warning input: {ROUTER_OS}"),
        format!("11-22 14:25:37 firewall,info input: {ROUTER_OS}"),
        format!("firewall,info DROP input: {ROUTER_OS}"),
        format!("2026-11-22T14:25:37+01:00 192.0.2.1 HOST=192.0.2.1 LEGACY_MSGHDR=\"firewall,info \" MESSAGE=\"x input: {ROUTER_OS}\" PROGRAM=firewall,info SOURCE=s_network_udp"),
        format!("Nov 22 14:25:37 pfSense filterlog[28495]: {FILTERLOG}"),
        format!("<134>Nov 22 14:25:37 filterlog: {FILTERLOG}"),
        format!("<134>1 2026-11-22T14:25:37-04:00 fw filterlog 31386 - [meta sequenceId=\"1\"] {FILTERLOG}"),
        format!("filterlog[15121]: {FILTERLOG}"),
        FILTERLOG.to_owned(),
    ] {
        assert_eq!(ends(&line), Ok(Some("192.0.2.1 37822 192.0.2.9 80".to_owned())), "{line}");
        assert_eq!(Lines::new(&Wanted::default()).line(line.as_bytes(), &mut Vec::new()), Ok(Form::Own));
    }
}

#[test]
fn times_of_router_os_are_kept() {
    const PACKET: &str =
        "input: in:a out:b, proto TCP (SYN), 192.0.2.1:37822->192.0.2.9:80, len 60";
    for (before, expected) in [
        (
            "14:25:37 firewall,info ",
            recorded(b"14:25:37", Lacks::Date),
        ),
        (
            "2026-11-22 14:25:37 firewall,info ",
            recorded(b"2026-11-22 14:25:37", Lacks::Zone),
        ),
        ("nov/22/2026 14:25:37 firewall,info ", When::Unknown),
        (" 2026-11-22 14:25:37 firewall,info ", When::Unknown),
    ] {
        let found = parsed(format!("{before}{PACKET}").as_bytes()).unwrap();
        assert_eq!(found.unwrap().time, expected, "{before}");
    }
}

/// What somebody else sent to another program, in forms that a log daemon may give to its line.
#[test]
fn records_written_by_other_programs_are_errors() {
    for before in [
        "Nov 22 14:25:37 host sshd[1234]: Invalid user ",
        "Nov 22 14:25:37 host sshd: Invalid user ",
        "Nov 22 14:25:37 host kernel: systemd[1]: Started ",
        "[12345.678901] systemd[1]: Started ",
        "[12345.678901] host sshd[12]: ",
        "12,1234,5678901,-;",
        "<38>1 2026-11-22T14:25:37Z host sshd 1234 - - ",
        "<38>1 2026-11-22T14:25:37Z host - - - - ",
        "<12>NEW: ",
        "<12>[12.3] NEW: ",
        "    ",
        "                        ",
        "user  :info  : [12.3] ",
        "sshd[12]: ",
        "2 14:25:37 host sshd[12]: user ",
        "[12.3] INPUT[12]: ",
        "Nov 22 14:25:37 relay Nov 22 14:25:36 web1 nginx: ",
        "Nov 22 14:25:37 relay 2026-11-22T14:25:36Z web1 nginx: ",
        "Nov 22 14:25:37 relay Nov 22 14:25:36 web1 ",
        "Nov 22 14:25:37 nginx: Nov 22 14:25:36 web1 kernel: ",
        "Nov 22 14:25:37 web1 nginx: Nov 22 14:25:36 web1 kernel: ",
        "2026-11-22T14:25:37+00:00 host app[web.1]: GET / ",
        "Nov 22 14:25:37 fe80::1%eth0 nginx: ",
        "Nov 22 14:25:37 web+1 nginx: ",
        "Nov 22 14:25:37 b\u{fc}ro nginx: ",
        "Nov 22 14:25:37 web1 app[abc]: ",
        "Nov 22 14:25:37 web1 app[]: ",
        "Nov 22 14:25:37 web1 app:",
        "Nov 22 14:25:37 app:",
        "Nov 22 14:25:37 web1 my app: ",
        "Nov 22 14:25:37 web1 my kernel: ",
        "Nov 22 14:25:37 web1 a=b: ",
        "Nov 22 14:25:37 web1 \u{43a}ernel: ",
        "Nov 22 14:25:37 web1 kernel[12]: ",
        "Nov 22 14:25:37 web1 app: kernel: ",
        "Nov 22 14:25:37 web1 IN-work: ",
        "Nov 22 14:25:37 web1 ",
        "Nov 22 14:25:37 web1: kernel: ",
        "Nov 22 14:25:37 web1 - ",
        "Sun Nov 22 14:25:37 2026 daemon.info nginx: ",
        "Sun 2026-11-22 14:25:37 UTC web1 app: ",
        "1795357537.123456 web1 app: ",
        "2026-11-22 14:25:37 web1 app: ",
        "Nov 22 14:25:37 web1 PROGRAM=nginx MESSAGE=x ",
        "192.0.2.1 - - [22/Nov/2026:14:25:37 +0000] ",
        "GET http://example.org/ HTTP/1.1 ",
    ] {
        let line = format!("{before}{RECORD}");
        assert_eq!(ends(&line), Err(FOREIGN), "{line}");
        let wanted = Wanted {
            any_program: true,
            ..Wanted::default()
        };
        assert!(matches!(parsed_with(&line, wanted), Ok(Some(_))), "{line}");
        for after in [
            "X\" 200",
            "from 192.0.2.1 port 22",
            "UID=x",
            "MARK=0x1 x",
            "OPT (x)",
        ] {
            assert!(ends(&format!("{line}{after}")).is_err(), "{line}{after}");
        }
    }
    for line in [
        "Nov 22 14:25:37 fw app: 5,,,0,em0,match,block,in,4,0x0,,64,0,0,DF,6,tcp,60,192.0.2.1,192.0.2.9,37822,80,0,S,1,,64240,,mss",
        "Nov 22 14:25:37 fw forward: in:a out:b, proto TCP (SYN), 192.0.2.1:37822->192.0.2.9:80, len 60",
        "Nov 22 14:25:37 fw app: forward: in:a out:b, proto TCP (SYN), 192.0.2.1:37822->192.0.2.9:80, len 60",
    ] {
        assert_eq!(ends(line), Err(FOREIGN), "{line}");
    }
    for line in [
        format!("Invalid user {RECORD}from 192.0.2.1 port 22"),
        format!("Nov 22 14:25:37 host kernel: message repeated 2 times: [{RECORD}]"),
    ] {
        assert_eq!(ends(&line), Err(CUT), "{line}");
    }
    let long = format!("[12.345678] {}{RECORD}", "x".repeat(128));
    assert_eq!(ends(&long), Err(FOREIGN));
    assert!(matches!(ends(&long.replacen('x', "", 1)), Ok(Some(_))));
}

/// The kernel itself quotes the name.
#[test]
fn names_in_other_messages_of_the_kernel_are_no_records() {
    for before in [
        "cgroup: fork rejected by pids controller in /user.slice/user-1000.slice/user@1000.service/",
        "cgroup: fork rejected by pids controller in /user.slice/x ",
        "Memory cgroup out of memory: Killed process 12 (",
        "oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/user.slice/",
        "usb 1-1: Product: ",
        "process '/home/x/",
        "audit: type=1400 audit(1.2:3): name=\"",
    ] {
        for header in [
            "[   13.300000] ",
            "Nov 22 14:25:37 web1 kernel: ",
            "web1 kernel: ",
            "<6>",
            "",
        ] {
            let line = format!("{header}{before}{RECORD}");
            let expected = match header {
                "" if before.contains("://") => Err(FOREIGN),
                _ => Err(OTHER_MESSAGE),
            };
            assert_eq!(ends(&line), expected, "{line}");
            let wanted = Wanted {
                prefix: Some("NEW: ".into()),
                ..Wanted::default()
            };
            assert_eq!(parsed_with(&line, wanted), Ok(None), "{line}");
        }
    }
}

#[test]
fn only_records_with_the_wanted_prefix_count() {
    let wanted = Wanted {
        prefix: Some("usb 1-1: ".into()),
        ..Wanted::default()
    };
    for (before, counts) in [
        ("[12.3] usb 1-1: ", true),
        ("Nov 22 14:25:37 web1 kernel: [12.3] usb 1-1: ", true),
        ("usb 1-1: ", true),
        ("[12.3] usb 1-1: x ", false),
        ("[12.3] x usb 1-1: ", false),
        ("[12.3] usb 1-1:", false),
        ("[12.3] ", false),
    ] {
        let found = parsed_with(&format!("{before}{RECORD}"), wanted.clone());
        assert_eq!(found.map(|found| found.is_some()), Ok(counts), "{before}");
    }
    let ulogd = format!("Nov 22 14:25:37 web1 ulogd[12]: usb 1-1:  {RECORD}");
    assert!(matches!(parsed_with(&ulogd, wanted.clone()), Ok(Some(_))));
    let foreign = format!("Nov 22 14:25:37 web1 app: usb 1-1: {RECORD}");
    assert_eq!(parsed_with(&foreign, wanted), Err(FOREIGN));
}

/// After each of these lines, each of them is parsed as by itself, with any of these bytes in each place.
#[test]
fn the_record_before_changes_nothing() {
    let lines = [
        format!("Nov 22 14:25:37 web1 kernel: [1.5] NEW: {RECORD}"),
        format!("Nov 22 14:25:37 web1 kernel: {RECORD}"),
        format!("[1.5] 1 6 a-IN {RECORD}"),
        format!("Nov 22 14:25:37 web1 sshd: NEW: {RECORD}"),
        format!("[1.5] usb 1-1: {RECORD}"),
    ];
    let parse = |parser: &mut Lines, line: &[u8]| {
        let mut events = Vec::new();
        let parsed = parser.line(line, &mut events);
        format!("{parsed:?} {events:?}")
    };
    let new = || Lines::new(&Wanted::default());
    for before in &lines {
        for line in &lines {
            for place in 0..line.len() {
                for byte in *b"0= S:" {
                    let mut line = line.clone().into_bytes();
                    line[place] = byte;
                    let mut parser = new();
                    parse(&mut parser, before.as_bytes());
                    let found = parse(&mut parser, &line);
                    assert_eq!(found, parse(&mut new(), &line), "{}", line.escape_ascii());
                }
            }
        }
    }
}
