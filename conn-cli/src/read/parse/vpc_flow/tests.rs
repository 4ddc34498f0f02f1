use super::*;

const HEADING: &str = "version interface-id srcaddr dstaddr srcport dstport protocol start action tcp-flags log-status";

/// What each line is, and the connections.
fn parse(lines: &[&str]) -> (Vec<Result<Form, ParseError>>, Vec<Connection>) {
    let mut parser = Lines::new(&Wanted::with_times());
    let mut events = Vec::new();
    let parsed = { lines.iter() }
        .map(|line| parser.line(line.as_bytes(), &mut events))
        .collect();
    let connections = events.into_iter().map(|event| match event {
        Event::Syn(connection, id) if id == PacketId::default() => connection,
        event => panic!("{event:?}"),
    });
    (parsed, connections.collect())
}

fn row(flags: &str) -> String {
    format!("3 eni-1 192.0.2.1 192.0.2.9 37822 80 6 1700000000 ACCEPT {flags} OK")
}

fn expected() -> Connection {
    Connection {
        time: When::At("2023-11-14T22:13:20Z".parse().unwrap()),
        remote: Host::at([192, 0, 2, 1]),
        remote_port: Some(37822),
        local: Host::at([192, 0, 2, 9]),
        local_port: Some(80),
        ..Connection::unknown(Source::Record(Record::VpcFlow))
    }
}

#[test]
fn the_heading_names_the_columns() {
    let own = Ok(Form::Own);
    for heading in [
        HEADING.to_owned(),
        HEADING
            .split(' ')
            .map(|name| format!("${{{name}}} "))
            .collect(),
    ] {
        let (parsed, connections) =
            parse(&[&heading, &row("2"), &row("2").replace("ACCEPT", "REJECT")]);
        assert_eq!(parsed, [own, own, own], "{heading}");
        assert_eq!(connections, [expected(), expected()]);
    }
    let (parsed, connections) = parse(&[
        "tcp-flags protocol dstport srcport dstaddr srcaddr",
        "2 6 443 5 2001:db8::9 2001:db8::1",
        "tcp-flags protocol srcport dstport srcaddr dstaddr",
        "2 6 5 443 2001:db8::1 2001:db8::9",
    ]);
    assert_eq!(parsed, [own; 4]);
    assert_eq!(connections[0], connections[1]);
    assert_eq!(connections[0].time, When::Unknown);
}

#[test]
fn a_syn_without_an_ack_is_a_connection() {
    for (flags, is_connection) in [
        ("2", true),
        ("3", true),
        ("6", true),
        ("7", true),
        ("0", false),
        ("1", false),
        ("4", false),
        ("18", false),
        ("19", false),
        ("22", false),
    ] {
        let (parsed, connections) = parse(&[HEADING, &row(flags)]);
        assert_eq!(parsed[1], Ok(Form::Own), "{flags}");
        assert_eq!(!connections.is_empty(), is_connection, "{flags}");
    }
    let (parsed, connections) = parse(&[HEADING, &row("2").replace(" 6 ", " 17 ")]);
    assert_eq!((parsed[1], connections.len()), (Ok(Form::Own), 0));
}

#[test]
fn the_addresses_of_the_packets_count() {
    let heading =
        "srcaddr dstaddr pkt-srcaddr pkt-dstaddr srcport dstport protocol tcp-flags start";
    for row in [
        "192.0.2.1 10.0.0.5 192.0.2.1 192.0.2.9 37822 80 6 2 1700000000",
        "192.0.2.1 192.0.2.9 - - 37822 80 6 2 1700000000",
    ] {
        assert_eq!(parse(&[heading, row]).1, [expected()], "{row}");
    }
    let (_, connections) = parse(&[
        "pkt-srcaddr pkt-dstaddr srcport dstport protocol tcp-flags start",
        "192.0.2.1 192.0.2.9 37822 80 6 2 1700000000",
    ]);
    assert_eq!(connections, [expected()]);
}

#[test]
fn records_without_data_are_told_from_skipped_ones() {
    let none = "3 eni-1 - - - - - 1700000000 - - NODATA";
    let (parsed, connections) = parse(&[HEADING, none, &none.replace("NO", "SKIP")]);
    let own = Ok(Form::Own);
    assert_eq!(parsed, [own, own, Err(SKIPPED)]);
    assert_eq!(connections, []);
}

#[test]
fn what_has_no_flags_is_refused_with_the_reason() {
    let default =
        "2 123456789012 eni-1 192.0.2.1 192.0.2.9 37822 80 6 5 400 1700000000 1700000060 ACCEPT OK";
    let heading = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status";
    let skipped = "2 123456789012 eni-1 - - - - - - - 1700000000 1700000060 - SKIPDATA";
    let tail = format!("2026-11-22T14:25:37.123000+00:00 eni-1-all {default}");
    for line in [default, skipped, &tail] {
        assert_eq!(parse(&[line]).0, [Err(NO_FLAGS)]);
    }
    assert_eq!(parse(&[heading, default]).0, [Err(NO_FLAGS); 2]);
    assert_eq!(parse(&[&row("2")]).0, [Err(NO_HEADING)]);
    assert_eq!(
        parse(&["srcaddr dstaddr protocol tcp-flags", "192.0.2.1"]).0,
        [Err(NO_ENDS); 2]
    );
    assert_eq!(parse(&[&format!("{HEADING} srcport")]).0, [Err(NO_ENDS)]);
    assert_eq!(parse(&[HEADING, &row("-")]).0[1], Err(NO_FLAGS_HERE));
    let google = r#"{"insertId":"1","jsonPayload":{"bytes_sent":"40","connection":{"dest_ip":"192.0.2.9","dest_port":80,"protocol":6,"src_ip":"192.0.2.1","src_port":37822},"reporter":"DEST"},"logName":"projects/p/logs/compute.googleapis.com%2Fvpc_flows"}"#;
    assert_eq!(parse(&[google]).0, [Err(GOOGLE)]);
    // A later heading says that they have them.
    let (parsed, connections) = parse(&[default, HEADING, &row("2")]);
    assert_eq!(parsed[2], Ok(Form::Own));
    assert_eq!(connections, [expected()]);
}

#[test]
fn damaged_records_are_not_understood() {
    for (from, to) in [
        (" 192.0.2.1 ", " 192.0.2.256 "),
        (" 192.0.2.1 ", " - "),
        (" 37822 ", " 65536 "),
        (" 80 ", " - "),
        (" 6 ", " 256 "),
        (" 6 ", " tcp "),
        (" 6 ", " - "),
        (" 2 OK", " 65536 OK"),
        (" 2 OK", " SYN OK"),
        (" 2 OK", " 2 FINE"),
        (" 2 OK", " 2"),
        (" 2 OK", " 2 OK 1"),
        ("1700000000", "now"),
    ] {
        let good = row("2");
        assert!(good.contains(from), "{from}");
        let (parsed, connections) = parse(&[HEADING, &good.replacen(from, to, 1)]);
        assert!(parsed[1].is_err(), "{from} {to}");
        assert_eq!(connections, [], "{from} {to}");
    }
    let long = format!("{HEADING} {}", "a".repeat(1 << 15));
    for line in [
        "srcaddr",
        "dstaddr SRC srcaddr",
        "{",
        "{}",
        "2 OK",
        "x eni-1 OK",
        "OK",
        "IP 192.0.2.1.37822 > 192.0.2.9.80: Flags [S], seq 1",
        &long,
    ] {
        assert_eq!(parse(&[line]).0, [Err(NOT_VPC)], "{line}");
    }
    assert_eq!(parse(&[""]).0, [Ok(Form::Shared)]);
}
