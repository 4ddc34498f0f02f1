use super::*;
use crate::{
    model::format::Format,
    read::{encoding::Encoding, piece::Piece},
};

const HEADING: &str = "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\thistory\torig_pkts";

/// What each line is, and the events.
fn parse(lines: &[&str]) -> (Vec<Result<Form, ParseError>>, Vec<Event>) {
    let mut parser = Lines::new(&Wanted::with_times());
    let mut events = Vec::new();
    let parsed = { lines.iter() }
        .map(|line| parser.line(line.as_bytes(), &mut events))
        .collect();
    (parsed, events)
}

/// A row of a table that has this heading.
fn row(proto: &str, state: &str, history: &str) -> String {
    format!("1700000000.5\tC1\t192.0.2.1\t37822\t192.0.2.9\t80\t{proto}\t{state}\t{history}\t6")
}

/// Whether a row is a connection.
fn counts(proto: &str, state: &str, history: &str) -> bool {
    let (parsed, events) = parse(&[HEADING, &row(proto, state, history)]);
    assert_eq!(parsed, [Ok(Form::Own); 2], "{proto} {state} {history}");
    match events.first() {
        Some(Event::Syn(..)) => true,
        None => false,
        event => panic!("{event:?}"),
    }
}

fn syn(events: &[Event]) -> &Connection {
    match events {
        [Event::Syn(connection, id), ..] if *id == PacketId::default() => connection,
        _ => panic!("{events:?}"),
    }
}

fn expected() -> Connection {
    Connection {
        time: When::At("2023-11-14T22:13:20.5Z".parse().unwrap()),
        remote: Host::at([192, 0, 2, 1]),
        remote_port: Some(37822),
        local: Host::at([192, 0, 2, 9]),
        local_port: Some(80),
        ..Connection::unknown(Source::Record(Record::Zeek))
    }
}

#[test]
fn the_heading_names_the_columns() {
    let (parsed, events) = parse(&[
        "#separator \\x09",
        "#set_separator\t,",
        "#path\tconn",
        HEADING,
        "#types\ttime\tstring\taddr",
        &row("tcp", "SF", "ShADadFf"),
        "#close\t2026-11-22-14-25-37",
    ]);
    let (own, shared) = (Ok(Form::Own), Ok(Form::Shared));
    assert_eq!(parsed, [shared, shared, shared, own, shared, own, shared]);
    assert_eq!(*syn(&events), expected());

    // In any order, with another separator, and with the other names.
    let (parsed, events) = parse(&[
        "#fields,history,proto,id_resp_p,id_resp_h,id_orig_p,id_orig_h,ts",
        "S,tcp,80,192.0.2.9,37822,192.0.2.1,2023-11-14T22:13:20.5+0000",
    ]);
    assert_eq!(parsed, [own, own]);
    assert_eq!(*syn(&events), expected());
}

#[test]
fn without_a_heading_the_columns_are_the_usual_ones() {
    let start = "1700000000.500000\tCHhAvVGS1DHFjwGM9\t192.0.2.1\t37822\t192.0.2.9\t80\ttcp\thttp\t1.2\t12\t34";
    for (end, is_connection) in [
        ("SF\t-\t-\t0\tShADadFf\t6\t824\t4\t224\t-", true),
        ("SF\tT\tF\t0\tDadAfF\t6\t824\t4\t224\t-\t6", false),
        // Before Zeek 2.4.
        ("S0\t-\t0\tS\t1\t60\t0\t0\t(empty)", true),
        ("OTH\t-\t0\tDadA\t1\t60\t0\t0\t(empty)", false),
        ("S0\t-\t0\tS", true),
        ("S0", true),
        ("OTH", false),
    ] {
        let (parsed, events) = parse(&[&format!("{start}\t{end}")]);
        assert_eq!(parsed, [Ok(Form::Own)], "{end}");
        assert_eq!(!events.is_empty(), is_connection, "{end}");
        if is_connection {
            assert_eq!(*syn(&events), expected());
        }
    }
    for end in [
        "SF\t-",
        "SF\t-\t-\t0",
        "S9\t-\t-\t0\tS",
        "SF\t-\t-\tS\t0",
        "SF\t-\t-\t-\tS\t6",
    ] {
        let (parsed, _) = parse(&[&format!("{start}\t{end}")]);
        assert_eq!(parsed, [Err(NOT_ZEEK)], "{end}");
    }
}

#[test]
fn a_connection_is_one_whose_syn_or_handshake_was_seen() {
    for (state, alone, established) in [
        ("S0", true, false),
        ("REJ", true, false),
        ("RSTOS0", true, false),
        ("SH", true, false),
        ("S1", true, true),
        ("SF", true, true),
        ("S2", true, true),
        ("S3", true, true),
        ("RSTO", true, true),
        ("RSTR", true, true),
        ("RSTRH", false, false),
        ("SHR", false, false),
        ("OTH", false, false),
    ] {
        for history in ["-", "", "(empty)"] {
            assert_eq!(counts("tcp", state, history), alone, "{state} {history}");
        }
        assert!(counts("tcp", state, "S"), "{state}");
        assert!(counts("tcp", state, "^SR"), "{state}");
        assert_eq!(counts("tcp", state, "^hADafF"), established, "{state}");
        // It was there before Zeek looked.
        assert!(!counts("tcp", state, "DadAfFs"), "{state}");
        assert!(!counts("udp", state, "S"), "{state}");
        assert!(!counts("icmp", state, "-"), "{state}");
    }
    assert!(counts("tcp", "-", "S"));
    assert!(!counts("tcp", "-", "^hA"));
}

#[test]
fn only_an_attempt_without_an_answer_can_be_repeated() {
    for (state, is_answered) in [("S0", false), ("REJ", true), ("SF", true), ("S1", true)] {
        let (_, events) = parse(&[HEADING, &row("tcp", state, "S")]);
        let has_end = matches!(&events[1..], [Event::End(end)] if end.time == When::Unknown);
        assert_eq!(
            (events.len(), has_end),
            (1 + usize::from(is_answered), is_answered)
        );
    }
}

#[test]
fn json_is_read() {
    let line = |ts: &str, more: &str| {
        format!(
            r#"{{"ts":{ts},"uid":"C1","id.orig_h":"192.0.2.1","id.orig_p":37822,"id.resp_h":"192.0.2.9","id.resp_p":80{more}}}"#
        )
    };
    let tcp = r#","proto":"tcp","conn_state":"SF","history":"ShADadFf","tags":[{"a":[]}]"#;
    for ts in [
        "1700000000.5",
        "1700000000500",
        "1700000000500.0",
        r#""2023-11-14T22:13:20.500000Z""#,
        r#""2023-11-14T22:13:20.5\u005a""#,
    ] {
        let (parsed, events) = parse(&[&line(ts, tcp)]);
        assert_eq!(parsed, [Ok(Form::Own)], "{ts}");
        assert_eq!(*syn(&events), expected(), "{ts}");
    }
    let (_, events) = parse(&[&line("1300475167.096535", tcp)]);
    let time = "2011-03-18T19:06:07.096535Z".parse().unwrap();
    assert_eq!(syn(&events).time, When::At(time));
    for (more, expected) in [
        (
            r#","proto":"udp","conn_state":"SF","history":"Dd""#,
            Ok(Form::Own),
        ),
        (r#","proto":"tcp","conn_state":"OTH""#, Ok(Form::Own)),
        (r#","_path":"dns","proto":"udp""#, Ok(Form::Shared)),
        (
            r#","_path":"conn_long","proto":"tcp","conn_state":"S1""#,
            Ok(Form::Shared),
        ),
        (r#","proto":"udp","query":"example.com""#, Err(NOT_ZEEK)),
        (r#","_path":"conn","proto":"tcp""#, Err(NOT_ZEEK)),
        (r#","proto":"tcp","conn_state":"X1""#, Err(UNKNOWN_STATE)),
        (r#","proto":"carp","conn_state":"S1""#, Err(NOT_ZEEK)),
        // Whose port?
        (
            r#","id.orig_p":1,"proto":"tcp","conn_state":"S1""#,
            Err(NOT_ZEEK),
        ),
        (
            r#","id_orig_p":1,"proto":"tcp","conn_state":"S1""#,
            Err(NOT_ZEEK),
        ),
    ] {
        let (parsed, events) = parse(&[&line("1700000000.5", more)]);
        assert_eq!((&*parsed, events.len()), (&[expected][..], 0), "{more}");
    }
    for ts in ["1e300", "1e999", "-1e300", "\"yesterday\"", "[]", "true"] {
        assert_eq!(parse(&[&line(ts, tcp)]).0, [Err(NOT_ZEEK)], "{ts}");
    }
}

#[test]
fn other_lines_are_not_understood() {
    let nested = format!("{{\"ts\":{}", "[".repeat(100_000));
    for line in [
        "#",
        "#fields",
        "#fieldset\tts",
        "#opening",
        "# ts",
        "{",
        "{}",
        "[1]",
        r#"{"ts":1700000000.5}"#,
        r#"{"_path":"dns"}"#,
        &nested,
        "1700000000.123456\tC1\t192.0.2.1",
        &row("tcp", "SF", "S"),
    ] {
        let (parsed, events) = parse(&[line]);
        assert!(parsed[0].is_err(), "{line}");
        assert!(events.is_empty(), "{line}");
    }
    assert_eq!(parse(&[""]).0, [Ok(Form::Shared)]);
    let good = row("tcp", "SF", "S");
    for (from, to) in [
        ("192.0.2.1\t", "192.0.2.256\t"),
        ("37822", "65536"),
        ("\t80\t", "\thttp\t"),
        ("\t80\t", "\t-\t"),
        ("1700000000.5", "yesterday"),
        ("tcp", "TCP6"),
        ("SF", "SFX"),
        ("\t6", ""),
        ("\t6", "\t6\t7"),
    ] {
        let (parsed, events) = parse(&[HEADING, &good.replacen(from, to, 1)]);
        assert!(parsed[1].is_err(), "{from} {to}");
        assert!(events.is_empty(), "{from} {to}");
    }
}

#[test]
fn the_rows_of_other_logs_are_not_understood() {
    let other = "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tquery";
    let twice = format!("{HEADING}\thistory");
    for heading in [other, &twice] {
        let (parsed, _) = parse(&[
            heading,
            &row("tcp", "SF", "S"),
            HEADING,
            &row("tcp", "SF", "S"),
        ]);
        let own = Ok(Form::Own);
        assert_eq!(parsed, [Err(OTHER_LOG), Err(OTHER_LOG), own, own]);
    }
}

#[test]
fn the_heading_of_an_earlier_piece_is_no_line() {
    let lines = [row("tcp", "SF", "S"), row("udp", "SF", "Dd")].join("\n");
    let piece = Piece::Headed(
        Encoding::plain(Format::Zeek),
        HEADING.as_bytes().into(),
        lines.into(),
    );
    let batch = crate::read::parse::parse(&piece, &Wanted::default());
    assert_eq!(
        (batch.lines, batch.understood, batch.not_understood),
        (2, 2, 0)
    );
    assert_eq!(*syn(&batch.events), expected());
}

#[test]
fn lines_have_times() {
    let mut parser = Lines::new(&Wanted::with_times());
    let json = r#"{"ts":1700000000.5,"proto":"udp"}"#;
    for line in [&*row("udp", "SF", "Dd"), json] {
        assert_eq!(parser.time(line.as_bytes()), expected().time);
    }
    for line in [HEADING, "", "{", "{}"] {
        assert_eq!(parser.time(line.as_bytes()), When::Unknown);
    }
}
