use super::*;

const TCP: &str = r#"{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"state":"closed","ts_max_regions":1}"#;

fn parse(line: &str) -> (Result<Form, ParseError>, Vec<Event>) {
    let mut events = Vec::new();
    let parsed = Lines::new(&Wanted::with_times()).line(line.as_bytes(), &mut events);
    (parsed, events)
}

/// A flow with this object about TCP.
fn flow(tcp: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-11-22T14:26:37.123456+0000","flow_id":17,"event_type":"flow","src_ip":"2001:0db8:0000:0000:0000:0000:0000:0001","src_port":37822,"dest_ip":"2001:db8::9","dest_port":80,"proto":"TCP","flow":{{"pkts_toserver":5,"start":"2026-11-22T15:25:37.123456+0100","state":"closed","alerted":false}},"tcp":{tcp}}}"#
    )
}

fn flags(to_server: &str, to_client: &str) -> String {
    flow(&format!(
        r#"{{"tcp_flags_ts":"{to_server}","tcp_flags_tc":"{to_client}"}}"#
    ))
}

fn expected() -> Connection {
    Connection {
        time: When::At("2026-11-22T14:25:37.123456Z".parse().unwrap()),
        remote: Host::at("2001:db8::1".parse::<IpAddr>().unwrap()),
        remote_port: Some(37822),
        local: Host::at("2001:db8::9".parse::<IpAddr>().unwrap()),
        local_port: Some(80),
        ..Connection::unknown(Source::Record(Record::Suricata))
    }
}

#[test]
fn a_flow_with_a_syn_is_a_connection() {
    let (parsed, events) = parse(&flow(TCP));
    assert_eq!(parsed, Ok(Form::Own));
    match &events[..] {
        [Event::Syn(connection, _), Event::End(end)] => {
            assert_eq!(*connection, expected());
            assert_eq!(end.time, When::Unknown);
            assert_eq!(
                (&end.remote, end.remote_port),
                (&connection.remote, connection.remote_port)
            );
        }
        events => panic!("{events:?}"),
    }
    // It can be sent again.
    let open = flow(&TCP.replace("closed", "syn_sent"));
    assert!(matches!(parse(&open).1[..], [Event::Syn(..)]));
}

#[test]
fn the_flags_tell_a_new_connection() {
    for (to_server, to_client, expected) in [
        ("02", "00", Ok(1)),
        ("02", "14", Ok(1)),
        ("C2", "00", Ok(1)),
        ("19", "1b", Ok(1)),
        // Picked up later; a SYN-ACK that nobody asked for.
        ("19", "19", Ok(0)),
        ("10", "00", Ok(0)),
        ("00", "12", Ok(0)),
        ("04", "12", Ok(0)),
        ("00", "00", Err(NO_FLAGS)),
        ("2", "00", Err(NOT_SURICATA)),
        ("+2", "00", Err(NOT_SURICATA)),
        ("0x02", "00", Err(NOT_SURICATA)),
    ] {
        let (parsed, events) = parse(&flags(to_server, to_client));
        let syns = events
            .iter()
            .filter(|event| matches!(event, Event::Syn(..)));
        let counted = parsed.map(|_| syns.count());
        assert_eq!(counted, expected, "{to_server} {to_client}");
    }
    for (tcp, expected) in [
        (r#"{"tcp_flags":"1b","syn":true}"#, Ok(Form::Own)),
        (r#"{"tcp_flags":"00"}"#, Err(NO_FLAGS)),
        ("{}", Err(NO_FLAGS)),
    ] {
        let (parsed, events) = parse(&flow(tcp));
        assert_eq!(
            (parsed, events.is_empty()),
            (expected, expected.is_err()),
            "{tcp}"
        );
    }
    let without = flow(TCP).replace(r#","tcp":"#, r#","udp":"#);
    assert_eq!(parse(&without).0, Err(NO_FLAGS));
}

#[test]
fn other_events_are_not_counted() {
    let of_type = |kind: &str| flow(TCP).replace("\"flow\",", &format!("\"{kind}\","));
    for kind in [
        "alert", "dns", "http", "tls", "netflow", "fileinfo", "new in 9",
    ] {
        let (parsed, events) = parse(&of_type(kind));
        assert_eq!((parsed, events.len()), (Ok(Form::Own), 0), "{kind}");
    }
    let udp = flow(TCP).replace("TCP", "UDP").replace("src_port", "x");
    let stats =
        r#"{"timestamp":"2026-11-22T14:26:37.123456+0000","event_type":"stats","stats":{}}"#;
    for line in [udp, stats.to_owned()] {
        assert_eq!(parse(&line).0, Ok(Form::Own), "{line}");
    }
    let decoder = stats.replace("stats", "anomaly");
    assert_eq!(parse(&decoder).0, Ok(Form::Shared));
    assert_eq!(parse("").0, Ok(Form::Shared));
}

#[test]
fn escapes_are_read() {
    let line = flow(TCP)
        .replace("closed", r"\u0063losed")
        .replace("TCP", r"TC\u0050");
    assert!(matches!(&parse(&line).1[0], Event::Syn(connection, _) if *connection == expected()));
}

#[test]
fn damaged_events_are_not_understood() {
    let good = flow(TCP);
    for (from, to) in [
        ("37822", "65536"),
        ("37822", "-1"),
        ("37822", "1e999"),
        ("37822", "80,\"src_port\":81"),
        ("2001:0db8:", "2001:0db8g:"),
        ("\"src_port\":37822,", ""),
        ("\"flow_id\":17", "\"flow_id\":17,\"flow_id\":18"),
        ("2026-11-22T15:25", "2026-11-22T25:25"),
        ("2026-11-22T14:26", "Nov 22 14:26"),
        ("\"timestamp\"", "\"@timestamp\""),
        ("\"event_type\":\"flow\",", ""),
        ("\"pkts_toserver\":5", "\"pkts_toserver\":5x"),
    ] {
        assert!(good.contains(from), "{from}");
        let (parsed, events) = parse(&good.replacen(from, to, 1));
        assert_eq!(
            (parsed, events.len()),
            (Err(NOT_SURICATA), 0),
            "{from} {to}"
        );
    }
    let nested = good.replacen(":5,", &format!(":{}", "[".repeat(100_000)), 1);
    let array = r#"["2026-11-22T14:26:37.123456+0000","stats",1]"#;
    for line in [
        &*nested,
        array,
        "{",
        "{}",
        "[]",
        "null",
        "\"",
        &good[..good.len() - 1],
    ] {
        assert_eq!(parse(line).0, Err(NOT_SURICATA));
    }
}

#[test]
fn lines_have_the_time_when_they_were_written() {
    let mut parser = Lines::new(&Wanted::with_times());
    let expected = When::At("2026-11-22T14:26:37.123456Z".parse().unwrap());
    assert_eq!(parser.time(flow(TCP).as_bytes()), expected);
    assert_eq!(parser.time(b"{"), When::Unknown);
}
