//! The JSON that is printed is that which is read back, and that which `docs/json.schema.json`
//! describes.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use crate::{
    model::{
        connection::{Connection, Family, Host, Lacks, Process, Record, Recorded, Source, When},
        demand::Demand,
        hook::Hook,
        machine::Machine,
        options::{ShowOptions, TimeFormat},
        schema::{
            ComparisonLine, ComparisonSummary, ConnectionLine, IntervalLine, OverLine, SummaryLine,
        },
    },
    output::{Clock, Json, Printer},
    read::{
        event::Event,
        parse::{
            json::Lines,
            lines::{Line as _, Wanted},
        },
    },
};

/// A connection of which everything is known.
fn seen() -> Connection {
    Connection {
        time: When::At(Timestamp::constant(1_395_029_583, 5_000)),
        remote: Host::at([192, 0, 2, 1]),
        remote_port: Some(40000),
        local: Host::at([192, 0, 2, 9]),
        local_port: Some(443),
        family: Some(Family::Ipv6),
        process: Some(Process {
            pid: Some(7),
            tid: Some(8),
            is_kernel_thread: true,
            uid: Some(33),
            cgroup: Some(99),
            comm: Some(*b"a\x1b\"b\0\0\0\0\0\0\0\0\0\0\0\0"),
        }),
        netns: Some(4_026_531_840),
        wait: Some(Duration::from_micros(1500)),
        source: Source::Hook(Hook::Fentry),
        machine: Machine::named(b"web\x1b\"1"),
    }
}

/// What text shows, the kernel must be asked for: without details it reports neither the task nor the
/// network namespace.
#[test]
fn text_shows_only_what_the_kernel_reports() {
    for long in [false, true] {
        let options = ShowOptions {
            long,
            ..ShowOptions::default()
        };
        let line = |connection: &Connection| {
            let mut out = Vec::new();
            Printer::new(&options, None, &TimeZone::UTC).connection(&mut out, connection);
            out
        };
        let reported = Connection {
            process: None,
            netns: None,
            ..seen()
        };
        assert!(Demand::new(&options).details || line(&reported) == line(&seen()));
    }
}

/// A connection from a record that has names in place of addresses and a time without a date.
fn recorded() -> Connection {
    Connection {
        time: When::Recorded(Box::new(Recorded {
            text: "14:25:37.5".into(),
            lacks: Lacks::Date,
            assumed: None,
        })),
        remote: Host::named(b"client.example").unwrap(),
        local: Host::named(b"server.example").unwrap(),
        ..Connection::unknown(Source::Record(Record::Tcpdump))
    }
}

fn printed(connection: &Connection, format: TimeFormat) -> Map<String, Value> {
    let mut out = Vec::new();
    Json::new(Clock::new(TimeZone::UTC, format)).connection(&mut out, connection);
    serde_json::from_slice(&out).unwrap()
}

fn read_back(line: &Map<String, Value>) -> Option<Connection> {
    let mut events = Vec::new();
    let line = serde_json::to_vec(line).unwrap();
    let times = Wanted::with_times();
    Lines::new(&times).line(&line, &mut events).ok()?;
    match events.pop()? {
        Event::Connection(connection) => Some(connection),
        other => panic!("{other:?}"),
    }
}

/// Schemas of what is printed.
fn generator() -> SchemaGenerator {
    // schemars marks so the fields that are not parsed.
    let unmark = |schema: &mut Schema| {
        schema.remove("readOnly");
    };
    SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(RecursiveTransform(unmark))
        .into_generator()
}

#[test]
fn every_field_of_a_connection_is_read_back() {
    let mut keys = BTreeSet::new();
    for connection in [seen(), recorded()] {
        let line = printed(&connection, TimeFormat::Ctime);
        assert_eq!(read_back(&line).as_ref(), Some(&connection));
        for key in line.keys() {
            let mut without = line.clone();
            without.remove(key);
            let null = line[key].is_null();
            assert!(
                null || read_back(&without) != Some(connection.clone()),
                "{key}"
            );
        }
        keys.extend(line.into_iter().map(|(key, _)| key));
    }
    // The stage is only of use to the type, of which `stage` is not read.
    keys.insert("stage".to_owned());
    // Who reads a line has names of their own.
    keys.insert("network_name".to_owned());
    let schema = generator().into_root_schema_for::<ConnectionLine>();
    let properties = schema.get("properties").unwrap().as_object().unwrap();
    assert_eq!(keys, properties.keys().cloned().collect());
}

#[test]
fn times_as_numbers_are_read_back() {
    for micros in [
        1_395_029_583_000_005,
        1_795_772_543_123_456,
        -500_000,
        // The last that a pcap file can have.
        4_294_967_295_999_999,
    ] {
        let connection = Connection {
            time: When::At(Timestamp::from_microsecond(micros).unwrap()),
            ..seen()
        };
        let line = printed(&connection, TimeFormat::Epoch);
        let text = line["time"].to_string();
        let (_, fraction) = text.split_once('.').unwrap();
        assert!(line["time"].is_f64() && fraction.len() <= 6, "{text}");
        assert_eq!(read_back(&line), Some(connection));
    }
    let mut line = printed(&seen(), TimeFormat::Epoch);
    for not_a_time in [json!(1e300), json!("1395029583"), json!(true)] {
        line["time"] = not_a_time;
        assert_eq!(read_back(&line), None);
    }
    // As a program may write a whole number.
    line["time"] = json!(1_395_029_583);
    assert!(read_back(&line).is_some());
}

/// `BLESS=1 cargo test` writes the file anew.
#[test]
fn the_schema_in_docs_is_that_of_the_types() {
    let mut generator = generator();
    let lines = [
        generator.subschema_for::<ConnectionLine>(),
        generator.subschema_for::<SummaryLine>(),
        generator.subschema_for::<IntervalLine>(),
        generator.subschema_for::<OverLine>(),
        generator.subschema_for::<ComparisonLine>(),
        generator.subschema_for::<ComparisonSummary>(),
    ];
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of conn-cli --json",
        "oneOf": lines,
        "$defs": generator.take_definitions(true),
    });
    let schema = format!("{schema:#}\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.schema.json");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let documented = fs::read_to_string(&path).unwrap();
    assert!(
        documented == schema,
        "run BLESS=1 cargo test json_tests, and review the change"
    );
}
