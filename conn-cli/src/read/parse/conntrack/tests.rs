use crate::read::parse::conntrack::*;

const TCP: &str = "src=192.0.2.1 dst=192.0.2.9 sport=40000 dport=80";
const REPLY: &str = "src=192.0.2.9 dst=192.0.2.1 sport=80 dport=40000";
/// The description of these ends.
const ENDS: &str = "192.0.2.1:Some(40000) -> 192.0.2.9:Some(80)";

/// Describes the events of a line, and the error.
fn describe(line: &str) -> String {
    let mut events = Vec::new();
    let parsed = Lines::new(&Wanted::with_times()).line(line.as_bytes(), &mut events);
    let mut texts: Vec<_> = events.iter().map(event_text).collect();
    match parsed {
        Ok(Form::Own) => (),
        Ok(Form::Shared) => texts.push("shared".to_owned()),
        Err(error) => texts.push(error.to_owned()),
    }
    texts.join("; ")
}

fn event_text(event: &Event) -> String {
    let (label, connection) = match event {
        Event::Syn(connection, id) if *id == PacketId::default() => ("syn", connection),
        Event::Answer(connection, id) if *id == PacketId::default() => ("answer", connection),
        Event::End(connection) => ("end", connection),
        _ => panic!("{event:?}"),
    };
    let Connection {
        remote,
        remote_port,
        local,
        local_port,
        ..
    } = connection;
    let time = match &connection.time {
        When::At(time) => format!(" at {time}"),
        When::Recorded(time) => format!(" at {} ({:?})", time.text, time.lacks),
        When::Clock(_) | When::Unknown => String::new(),
    };
    format!("{label} {remote}:{remote_port:?} -> {local}:{local_port:?}{time}")
}

#[test]
fn each_change_is_its_event() {
    let new = format!("end {ENDS}; syn {ENDS}");
    for (line, expected) in [
        (
            format!("    [NEW] tcp      6 120 SYN_SENT {TCP} [UNREPLIED] {REPLY}"),
            new.clone(),
        ),
        (
            format!(" [UPDATE] tcp      6 60 SYN_RECV {TCP} {REPLY}"),
            String::new(),
        ),
        (
            format!(" [UPDATE] tcp      6 432000 ESTABLISHED {TCP} {REPLY} [ASSURED]"),
            format!("answer {ENDS}"),
        ),
        // Not of its state: a mark that a rule set, for example.
        (
            format!(" [UPDATE] tcp      6 431999 {TCP} {REPLY} [ASSURED] mark=1"),
            String::new(),
        ),
        (
            format!(" [UPDATE] tcp      6 120 FIN_WAIT {TCP} {REPLY} [ASSURED]"),
            format!("end {ENDS}"),
        ),
        (
            format!("[DESTROY] tcp      6 {TCP} {REPLY} [ASSURED]"),
            format!("end {ENDS}"),
        ),
        // Linux 5.13 and later
        (
            format!(
                "[DESTROY] tcp      6 TIME_WAIT {TCP} packets=5 bytes=277 {REPLY} packets=4 bytes=260 [ASSURED] delta-time=2"
            ),
            format!("end {ENDS}"),
        ),
        (
            format!(
                "    [NEW] ipv4     2 tcp      6 120 SYN_SENT {TCP} [UNREPLIED] {REPLY} mark=0 secctx=system_u:object_r:unlabeled_t:s0 use=1 id=1595499776 labels=a,b"
            ),
            new.clone(),
        ),
        // The same SYN has an entry in each zone.
        (
            format!("    [NEW] tcp      6 120 SYN_SENT {TCP} [UNREPLIED] {REPLY} zone=7"),
            format!("syn {ENDS}"),
        ),
        (
            format!("    [NEW] tcp      6 120 SYN_SENT {TCP} zone-orig=1 [UNREPLIED] {REPLY}"),
            format!("syn {ENDS}"),
        ),
        // Address translation: the client connected to the first one.
        (
            format!(
                "    [NEW] tcp      6 120 SYN_SENT {TCP} [UNREPLIED] src=10.0.0.5 dst=192.0.2.1 sport=8080 dport=40000"
            ),
            new.clone(),
        ),
        // A copied line without its padding.
        (
            format!("[NEW] tcp 6 120 SYN_SENT {TCP} [UNREPLIED] {REPLY}"),
            new,
        ),
    ] {
        assert_eq!(describe(&line), expected, "{line}");
    }
}

#[test]
fn ipv6_is_read() {
    let ends = "src=2001:db8::5 dst=2001:db8::9 sport=5 dport=443";
    assert_eq!(
        describe(&format!(
            " [UPDATE] ipv6     10 tcp      6 432000 ESTABLISHED {ends} src=2001:db8::9 dst=2001:db8::5 sport=443 dport=5"
        )),
        "answer 2001:db8::5:Some(5) -> 2001:db8::9:Some(443)"
    );
}

#[test]
fn what_is_no_new_connection_is_understood() {
    for line in [
        "    [NEW] udp      17 30 src=192.0.2.1 dst=192.0.2.9 sport=5 dport=53 [UNREPLIED] src=192.0.2.9 dst=192.0.2.1 sport=53 dport=5",
        "    [NEW] icmp     1 30 src=192.0.2.1 dst=192.0.2.9 type=8 code=0 id=7 [UNREPLIED] src=192.0.2.9 dst=192.0.2.1 type=0 code=0 id=7",
        "    [NEW] ipv4     2 unknown  253 600 src=192.0.2.1 dst=192.0.2.9 [UNREPLIED] src=192.0.2.9 dst=192.0.2.1",
        " [UPDATE] sctp     132 210 ESTABLISHED src=192.0.2.1 dst=192.0.2.9 sport=5 dport=6 src=192.0.2.9 dst=192.0.2.1 sport=6 dport=5",
        // conntrack -E expect
        "    [NEW] 300 proto=6 src=192.0.2.1 dst=192.0.2.9 sport=0 dport=41739 mask-src=255.255.255.255 mask-dst=255.255.255.255 sport=0 dport=65535",
        "conntrack v1.4.7 (conntrack-tools): 6 flow events have been shown.",
        "^Cconntrack v1.4.7 (conntrack-tools): 6 flow events have been shown.",
    ] {
        assert_eq!(describe(line), "", "{line}");
    }
    for line in [
        // Its first packet was none: the entry was made in the middle of the connection.
        format!("    [NEW] tcp      6 300 ESTABLISHED {TCP} [UNREPLIED] {REPLY}"),
        format!("    [NEW] tcp      6 120 SYN_SENT {TCP} [UNREPLIED] {REPLY} [USERSPACE] portid=7"),
    ] {
        assert_eq!(describe(&line), "", "{line}");
    }
    assert_eq!(describe(""), "shared");
    assert_eq!(describe("^C"), "shared");
}

#[test]
fn times_are_those_of_the_events() {
    let event = format!(" [UPDATE] tcp      6 432000 ESTABLISHED {TCP} {REPLY}");
    for (stamp, expected) in [
        ("[1732285537.123456]\t", "2024-11-22T14:25:37.123456Z"),
        ("[1732285537]\t", "2024-11-22T14:25:37Z"),
        // Old versions do not pad with zeros.
        ("[1732285537.52626 ]\t", "2024-11-22T14:25:37.052626Z"),
        ("[1732285537.5     ]\t", "2024-11-22T14:25:37.000005Z"),
        ("[1732285537.123456] ", "2024-11-22T14:25:37.123456Z"),
    ] {
        assert_eq!(
            describe(&format!("{stamp}{event}")),
            format!("answer {ENDS} at {expected}")
        );
    }
    assert_eq!(
        describe(&format!(
            "{event} delta-time=0 [start=Sun Nov 22 14:25:37 2026]"
        )),
        format!("answer {ENDS} at Sun Nov 22 14:25:37 2026 (Zone)")
    );
    for other in [
        "[start=yesterday]",
        "[start=Sun Nov 22 14:25:37 \x1b[2J]",
        "[start=",
    ] {
        assert_eq!(
            describe(&format!("{event} {other}")),
            format!("answer {ENDS}")
        );
    }
    // Not with the options that do not need it.
    let mut lines = Lines::new(&Wanted::default());
    let line = format!("{event} [start=Sun Nov 22 14:25:37 2026]");
    assert_eq!(lines.time(line.as_bytes()), When::Unknown);
}

#[test]
fn a_list_of_connections_is_refused() {
    for line in [
        format!("tcp      6 431999 ESTABLISHED {TCP} {REPLY} [ASSURED] mark=0 use=1"),
        format!("ipv4     2 tcp      6 431999 ESTABLISHED {TCP} {REPLY} [ASSURED] mark=0 zone=0 use=2"),
        "udp      17 29 src=192.0.2.1 dst=192.0.2.9 sport=5 dport=53 src=192.0.2.9 dst=192.0.2.1 sport=53 dport=5 mark=0 use=1".to_owned(),
        "conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.".to_owned(),
    ] {
        assert_eq!(describe(&line), LIST, "{line}");
    }
}

#[test]
fn what_is_missing_is_said() {
    assert_eq!(
        describe("WARNING: We have hit ENOBUFS! We are losing events."),
        LOST
    );
    for line in [
        "<conntrack>",
        "<flow type=\"new\"><meta direction=\"original\">",
    ] {
        assert_eq!(describe(line), XML);
    }
}

#[test]
fn other_lines_are_not_understood() {
    let new = format!("[NEW] tcp      6 120 SYN_SENT {TCP} [UNREPLIED] {REPLY}");
    let end = new.find(" [UNREPLIED] src").unwrap() + " [UNREPLIED] src".len();
    for length in 0..=end {
        let expected = if length == 0 { "shared" } else { "" };
        let found = describe(&new[..length]);
        assert!(
            found == expected && length == 0 || found == NOT_AN_EVENT || found == CUT,
            "{}: {found}",
            &new[..length]
        );
    }
    for (line, expected) in [
        ("[NEW] tcp", NOT_AN_EVENT),
        (
            "[NEW] tcp 17 30 src=192.0.2.1 dst=192.0.2.9 sport=5 dport=53 src=",
            NOT_AN_EVENT,
        ),
        (
            "[NEW] udp 6 30 src=192.0.2.1 dst=192.0.2.9 sport=5 dport=53 src=",
            NOT_AN_EVENT,
        ),
        ("[NEW] user says tcp 6", NOT_AN_EVENT),
        (
            "[NEW] tcp 6 120 SYN_SENT src=192.0.2.256 dst=192.0.2.9 sport=5 dport=53 src=",
            CUT,
        ),
        (
            "[NEW] tcp 6 120 SYN_SENT src=192.0.2.1 dst=192.0.2.9 sport=5 dport=65536 src=",
            CUT,
        ),
        (
            "[NEW] tcp 6 120 SYN_SENT dst=192.0.2.9 src=192.0.2.1 sport=5 dport=80 src=",
            CUT,
        ),
        ("Nov 22 14:25:37 host app[7]: [NEW] tcp 6", NOT_AN_EVENT),
        (
            "[ 12.345678] NEW: IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.9 PROTO=TCP",
            NOT_AN_EVENT,
        ),
        ("-I -t 120 -u SEEN_REPLY -s 192.0.2.1", NOT_AN_EVENT),
    ] {
        assert_eq!(describe(line), expected, "{line}");
    }
}
