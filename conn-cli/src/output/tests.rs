use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use crate::model::options::{Listing, TimeFormat, Top};
use crate::{
    count::{ranking::Counts, tally::Tally},
    model::{
        connection::{Family, Host, Lacks, Process, Record, Recorded, Source, When},
        discrepancies::Discrepancies,
        group::GroupKey,
        hook::Hook,
        machine::Machine,
        stage::Stage,
    },
    output::*,
    report::{Live, Origin},
};

fn connection() -> Connection {
    Connection {
        time: When::At(Timestamp::constant(1_395_029_583, 5_000)),
        remote: Host::at([192, 168, 122, 1]),
        remote_port: Some(40000),
        local: Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 5_u16]),
        local_port: Some(443),
        family: Some(Family::Ipv6),
        process: Some(Process {
            pid: Some(7),
            tid: Some(8),
            is_kernel_thread: false,
            uid: Some(33),
            cgroup: Some(99),
            comm: Some(*b"a\x1b\"b\0\0\0\0\0\0\0\0\0\0\0\0"),
        }),
        netns: Some(4_026_531_840),
        wait: None,
        source: Source::SecondHook,
        machine: None,
    }
}

fn report() -> Report {
    let mut tally = Tally::default();
    tally.add(&Host::at([192, 168, 122, 1]), Some(80), 2);
    tally.add(
        &Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1_u16]),
        Some(443),
        1,
    );
    tally.add_other(4);
    let origin = Origin::Kernel(Live {
        second_hook_only: 1,
        ..Live::sample(Hook::Kretprobe, Duration::from_micros(1_234_567))
    });
    Report::sample(&tally, origin)
}

#[test]
fn the_mark_of_a_lower_bound_is_explained() {
    let rows =
        |text: &mut Text, report: &Report| text.report(report, "Summary").collect::<String>();
    let sample = |first: usize| {
        let mut counts = Counts::new([Stage::Accepted]);
        let client = |number| GroupKey::Client(Host::at([192, 0, 2, number]));
        counts.add(Stage::Accepted, client(1), Some(80), 9);
        counts.add_other(Stage::Accepted, 7);
        counts.take_from_other(Stage::Accepted, (client(2), Some(80)), 5, 1);
        let listing = Listing {
            top: Top::First(first),
            ..Listing::default()
        };
        let origin = report().origin;
        Report::new(
            counts,
            None,
            listing,
            Discrepancies::default(),
            origin,
            None,
        )
    };
    let mut text = text(false, false);
    let both = sample(2);
    assert!(rows(&mut text, &both).contains("\n192.0.2.1: 9\n192.0.2.2: ~5\nother: 2\n"));
    let expected = ["note: ~ is before a lower bound: more may be under \"other\""];
    assert_eq!(text.notes(&both), expected);
    // Not if there is none.
    let first = sample(1);
    assert!(!rows(&mut text, &first).contains('~'));
    assert_eq!(text.notes(&first), [""; 0]);
    assert_eq!(text.notes(&report()), [""; 0]);
}

fn text(names_port: bool, colour: bool) -> Text {
    Text::new(
        Clock::new(TimeZone::UTC, TimeFormat::Ctime),
        Look {
            names_port,
            colour,
            ..Look::default()
        },
    )
}

fn lines(mut printer: Printer) -> String {
    let mut out = Vec::new();
    printer.connection(&mut out, &connection());
    for part in printer.report(&report(), LineCounts::default()) {
        out.extend_from_slice(part.as_bytes());
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn text_matches_the_systemtap_script() {
    assert_eq!(
        lines(Printer::Text(text(false, false))),
        "Mon Mar 17 04:13:03 2014 New connection from 192.168.122.1\n\
         \n=== Summary ===\n192.168.122.1: 2\n2001:db8::1: 1\nother: 4\n\
         7 connections from 2 addresses (1.2 s)\n"
    );
}

#[test]
fn text_names_the_port_among_several() {
    let lines = lines(Printer::Text(text(true, false)));
    let first = lines.lines().next().unwrap();
    assert!(first.ends_with("from 192.168.122.1 to port 443"), "{first}");
}

#[test]
fn colour_adds_escapes_and_nothing_else() {
    let coloured = lines(Printer::Text(text(false, true)));
    assert!(coloured.contains('\x1b'));
    assert_eq!(
        anstream::adapter::strip_str(&coloured).to_string(),
        lines(Printer::Text(text(false, false)))
    );
}

#[test]
fn json_has_the_documented_fields() {
    let json = Json::new(Clock::new(TimeZone::UTC, TimeFormat::Ctime));
    let json = json.on(Machine::named(b"web\x1b1"));
    let lines = lines(Printer::Json(json));
    let mut lines = lines.lines();
    assert_eq!(
        lines.next().unwrap(),
        concat!(
            r#"{"type":"connection","host":"web\\u{1b}1","time":"2014-03-17T04:13:03.000005+00:00","#,
            r#""remote_address":"192.168.122.1","remote_port":40000,"#,
            r#""local_address":"2001:db8::5","local_port":443,"family":"ipv6","#,
            r#""pid":7,"tid":8,"comm":"a\\u{1b}\"b","uid":33,"cgroup":99,"#,
            r#""netns":4026531840,"hook":"kprobe"}"#
        )
    );
    assert_eq!(
        lines.next().unwrap(),
        concat!(
            r#"{"type":"summary","host":"web\\u{1b}1","probe":"kretprobe","exact":true,"#,
            r#""exact_reason":"this kernel is not preemptible (none)","self_test":{"result":"passed"},"#,
            r#""start":"1970-01-01T00:00:00.000000+00:00","begin":"1970-01-01T00:00:00.000000+00:00","end":"1970-01-01T00:00:00.000000+00:00","#,
            r#""seconds":1.235,"second_hook_only":1,"out_of_memory":0,"#,
            r#""connections":7,"at_least":false,"addresses":2,"lines_shown":0,"lines_not_shown":0,"unknown_clients":0,"#,
            r#""other_clients":4,"unreadable":0,"missed_runs":null,"unaccounted":0,"#,
            r#""clients":[{"address":"192.168.122.1","connections":2,"ports":{"80":2}},"#,
            r#"{"address":"2001:db8::1","connections":1,"ports":{"443":1}}]}"#
        )
    );
    assert_eq!(lines.next(), None);
}

#[test]
fn json_leaves_out_unknown_fields() {
    let mut out = Vec::new();
    let unknown = Connection {
        process: None,
        netns: None,
        ..connection()
    };
    Json::new(Clock::new(TimeZone::UTC, TimeFormat::Ctime)).connection(&mut out, &unknown);
    let line = String::from_utf8(out).unwrap();
    assert!(!line.contains("pid") && !line.contains("netns"), "{line}");
}

#[test]
fn incomplete_times_are_shown_as_recorded() {
    let mut unknown = Connection {
        time: When::Recorded(Box::new(Recorded {
            text: "14:25:37.5".into(),
            lacks: Lacks::Date,
            assumed: None,
        })),
        remote: Host::named(b"client.example").unwrap(),
        remote_port: None,
        local: Host::Unknown,
        local_port: None,
        ..Connection::unknown(Source::Record(Record::Tcpdump))
    };
    let mut out = Vec::new();
    text(true, false).connection(&mut out, &unknown);
    Json::new(Clock::new(TimeZone::UTC, TimeFormat::Ctime)).connection(&mut out, &unknown);
    unknown.time = When::Unknown;
    text(true, false).connection(&mut out, &unknown);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            "14:25:37.5 New connection from client.example\n",
            r#"{"type":"connection","time":null,"recorded_time":"14:25:37.5","lacks":"date","#,
            r#""remote_name":"client.example","source":"tcpdump"}"#,
            "\n(no time) New connection from client.example\n",
        )
    );
}
