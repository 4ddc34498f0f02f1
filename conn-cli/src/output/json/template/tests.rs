use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    model::{
        connection::{Connection, Family, Host, Lacks, Process, Record, Recorded, Source, When},
        hook::Hook,
        machine::Machine,
        options::TimeFormat,
        schema::TimeField,
        stage::Stage,
    },
    output::{Clock, Json, json},
};

/// Successive numbers of a xorshift generator.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[(self.next() % of.len() as u64) as usize].clone()
    }
}

fn host(numbers: &mut Numbers) -> Host {
    let host = numbers.next() as u8 % 3;
    numbers.one(&[
        Host::at([192, 0, 2, host]),
        Host::at([192, 0, 2, host]),
        Host::at([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)]),
        Host::named(b"web-1.example").unwrap(),
        Host::Unknown,
    ])
}

fn process(numbers: &mut Numbers) -> Process {
    Process {
        pid: numbers.one(&[Some(7), Some(8), None]),
        tid: numbers.one(&[Some(7), Some(8), Some(7 + 256), None]),
        is_kernel_thread: numbers.one(&[true, false]),
        uid: numbers.one(&[Some(0), Some(33), None]),
        cgroup: numbers.one(&[Some(1), Some(u64::MAX), None]),
        comm: numbers.one(&[
            Some(*b"nginx\0\0\0\0\0\0\0\0\0\0\0"),
            Some(*b"a\x1b\"b\\\0\0\0\0\0\0\0\0\0\0\0"),
            Some(*b"\",\"wait\":7,\"a\":\""),
            Some(*b",\"wait\":0.5}\n\0\0\0"),
            Some(*b"\"remote_port\":1,"),
            Some(*b"caf\xc3\xa9\xff\xf0\x90\0\0\0\0\0\0\0\0"),
            None,
        ]),
    }
}

/// A connection of which anything may be known, with few values of each field, so that many differ in
/// only one.
fn connection(numbers: &mut Numbers) -> Connection {
    let at = |second, nanosecond| When::At(Timestamp::constant(second, nanosecond));
    let hooks = Hook::ALL.map(Source::Hook);
    let records = [
        Source::Record(Record::Tcpdump),
        Source::Record(Record::Strace),
    ];
    let sources = [&hooks[..], &records, &[Source::SecondHook]].concat();
    let known = process(numbers);
    Connection {
        time: numbers.one(&[
            at(1_395_029_583, 123_456_789),
            at(1_395_029_583, 7_000),
            at(1_395_029_584, 0),
            at(-1, -1),
            When::At(Timestamp::MIN),
            When::Recorded(Box::new(Recorded {
                text: r#"14:25 "time":"#.into(),
                lacks: Lacks::Date,
                assumed: None,
            })),
            When::Unknown,
        ]),
        remote: host(numbers),
        remote_port: numbers.one(&[Some(40000), Some(1), None]),
        local: host(numbers),
        local_port: numbers.one(&[Some(80), Some(80 + 256), None]),
        family: numbers.one(&[Some(Family::Ipv4), Some(Family::Ipv6), None]),
        process: numbers.one(&[Some(known), Some(known), None]),
        netns: numbers.one(&[Some(4_026_531_840), Some(1), None]),
        wait: numbers.one(&[
            Some(Duration::from_nanos(51_499)),
            Some(Duration::from_micros(5)),
            Some(Duration::ZERO),
            Some(Duration::from_millis(60_500)),
            Some(Duration::MAX),
            None,
        ]),
        source: numbers.one(&sources),
        machine: numbers.one(&[
            None,
            None,
            Machine::named(b"a\"time\":1"),
            Machine::named(b"b"),
        ]),
    }
}

/// That of connections that do not name theirs.
fn machine() -> Machine {
    Machine::named(b"web\\1").unwrap()
}

/// The line as serde writes it.
fn whole(connection: &Connection, clock: &Clock, counted: Option<Stage>) -> Vec<u8> {
    let time = match connection.time {
        When::At(time) => Some(clock.field(time)),
        When::Recorded(_) | When::Clock(_) | When::Unknown => None,
    };
    let mut line = Vec::new();
    let machine = machine();
    let fields = json::connection_line(connection, time, counted, Some(&machine));
    json::put(&mut line, &fields);
    line
}

fn json(clock: Clock, counted: Option<Stage>) -> Json {
    let json = Json::new(clock).on(Some(machine()));
    match counted {
        Some(counted) => json.with_stages(counted),
        None => json,
    }
}

/// A line of JSON, from whatever template.
fn printed(json: &mut Json, connection: &Connection) -> String {
    let mut out = b"the line before\n".to_vec();
    json.connection(&mut out, connection);
    let line = String::from_utf8(out).unwrap();
    line.strip_prefix("the line before\n").unwrap().to_owned()
}

#[test]
fn lines_are_those_of_serde() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let east = TimeZone::fixed(jiff::tz::offset(9));
    for (zone, format) in [
        (TimeZone::UTC, TimeFormat::Iso),
        (east, TimeFormat::Iso),
        (TimeZone::UTC, TimeFormat::Epoch),
    ] {
        let clock = || Clock::new(zone.clone(), format);
        for counted in [None, Some(Stage::Accepted), Some(Stage::Established)] {
            let mut json = json(clock(), counted);
            for _ in 0..500 {
                // One that differs in a single field, the first again, and one that differs in all.
                let first = connection(&mut numbers);
                let last = connection(&mut numbers);
                let (mut second, other) = (first.clone(), last.clone());
                match numbers.next() % 11 {
                    0 => second.time = other.time,
                    1 => second.remote = other.remote,
                    2 => second.remote_port = other.remote_port,
                    3 => second.local = other.local,
                    4 => second.local_port = other.local_port,
                    5 => second.family = other.family,
                    6 => second.process = other.process,
                    7 => second.netns = other.netns,
                    8 => second.wait = other.wait,
                    9 => second.machine = other.machine,
                    _ => second.source = other.source,
                }
                let lines = [first.clone(), second, first, last];
                for connection in &lines {
                    let expected = String::from_utf8(whole(connection, &clock(), counted)).unwrap();
                    assert_eq!(printed(&mut json, connection), expected, "{connection:?}");
                }
            }
        }
    }
}

/// Live connections that differ in nothing but the client, the time and the wait.
#[test]
fn a_threads_later_lines_are_from_its_template() {
    let of_thread = |tid, number: u16| Connection {
        time: When::At(Timestamp::constant(1_395_029_583, i32::from(number) * 1000)),
        remote: Host::at([192, 0, 2, number as u8]),
        remote_port: Some(40000 + number),
        local: Host::at([192, 0, 2, 100]),
        local_port: Some(80),
        process: Some(Process {
            pid: Some(7),
            tid: Some(tid),
            is_kernel_thread: false,
            uid: Some(33),
            cgroup: Some(1),
            comm: Some(*b"nginx\0\0\0\0\0\0\0\0\0\0\0"),
        }),
        wait: Some(Duration::from_micros(number.into())),
        ..Connection::unknown(Source::Hook(Hook::Fentry))
    };
    let mut json = json(Clock::new(TimeZone::UTC, TimeFormat::Iso), None);
    let time = || Some(TimeField::Text("".into()));
    for tid in 1000..1000 + super::SLOTS as u32 {
        let mut out = Vec::new();
        assert!(
            !json
                .templates
                .put(&mut out, &of_thread(tid, 0), None, time().as_ref())
        );
        json.connection(&mut out, &of_thread(tid, 0));
    }
    for tid in 1000..1000 + super::SLOTS as u32 {
        let mut out = Vec::new();
        assert!(
            json.templates
                .put(&mut out, &of_thread(tid, 1), None, time().as_ref())
        );
    }
}
