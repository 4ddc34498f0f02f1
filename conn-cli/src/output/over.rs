//! The lines of those that make too many connections, and what could not be said of them.

use super::{Clock, brief::plural, put, style::Escapes};
use crate::model::{
    over::{Over, OverGaps},
    schema::{ClientEntry, OverLine, Type},
};

/// Appends `203.0.113.7: more than 100 connections to port 80 in 1 m (since 14:25:00)`, or `203.0.113.7: no
/// longer more than 100 in 1 m`, after the time. `counted`: what is counted, and where.
pub(super) fn put_text(
    out: &mut Vec<u8>,
    clock: &mut Clock,
    over: &Over,
    counted: &OverWords,
    (time, key): (&Escapes, &Escapes),
) {
    let when = clock.text(over.time);
    put(out, format_args!("{}{when}{} ", time.on, time.off));
    put(out, format_args!("{}{}{}: ", key.on, over.key, key.off));
    let limit = over.limit;
    match over.connections {
        Some(_) => {
            let OverWords {
                noun: (one, many),
                to,
            } = counted;
            let number = plural(limit.connections().into(), one, many);
            let since = clock.in_table(over.start);
            put(
                out,
                format_args!(
                    "more than {number}{to} in {} (since {since})\n",
                    limit.time()
                ),
            );
        }
        None => put(out, format_args!("no longer more than {limit}\n")),
    }
}

/// What is counted, in words: one and several, and where they go to.
#[derive(Clone, Debug)]
pub(crate) struct OverWords {
    pub(crate) noun: (&'static str, &'static str),
    /// ` to port 80`, or nothing.
    pub(crate) to: String,
}

impl Default for OverWords {
    fn default() -> Self {
        Self {
            noun: ("connection", "connections"),
            to: String::new(),
        }
    }
}

/// `{"type":"over",...}`. `group`: the fields that say who. `name`: that of its network.
pub(super) fn over_line<'a>(
    over: &Over,
    group: ClientEntry<'a>,
    name: Option<&'static str>,
    clock: &Clock,
) -> OverLine<'a> {
    OverLine {
        r#type: Type::Over,
        host: None,
        time: clock.field(over.time),
        above: over.connections.is_some(),
        address: group.address,
        name: group.name,
        network: group.network,
        network_name: name.map(Into::into).or(group.network_name),
        port: group.port,
        pid: group.pid,
        kernel_thread: group.kernel_thread,
        cgroup: group.cgroup,
        uid: group.uid,
        limit: over.limit.connections(),
        seconds: over.limit.length().as_secs(),
        start: clock.field(over.start),
        connections: over.connections,
    }
}

/// What could not be counted or told, at the end.
pub(crate) fn over_warnings(gaps: OverGaps) -> Vec<String> {
    let mut warnings = Vec::new();
    if gaps.not_counted > 0 {
        let connections = plural(gaps.not_counted, "connection", "connections");
        warnings.push(format!(
            "warning: {connections} not counted for --over, which had no room for more: see --max-clients"
        ));
    }
    if gaps.not_told > 0 {
        let lines = plural(gaps.not_told, "line", "lines");
        warnings.push(format!(
            "warning: {lines} of --over missing, as there was no room in the buffer: see --buffer-size"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::{
        model::{
            connection::Host, group::GroupKey, options::TimeFormat, over::OverLimit,
            printed::over::is_over,
        },
        output::{Json, Look, Text},
    };

    fn over(limit: u32, seconds: u64, connections: Option<u64>) -> Over {
        Over {
            key: GroupKey::Client(Host::at([203, 0, 113, 7])),
            limit: OverLimit::new(limit, Duration::from_secs(seconds)).unwrap(),
            time: "2026-11-22T14:25:37.25Z".parse().unwrap(),
            interval: 1,
            start: "2026-11-22T14:25:00Z".parse().unwrap(),
            connections,
        }
    }

    fn text(format: TimeFormat, to: &str, over: &Over) -> String {
        let clock = Clock::new(TimeZone::UTC, format);
        let mut out = Vec::new();
        let words = OverWords {
            to: to.to_owned(),
            ..OverWords::default()
        };
        Text::new(clock, Look::default())
            .with_over(words)
            .over(&mut out, over);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_says_who_and_since_when() {
        for (format, to, over, expected) in [
            (
                TimeFormat::Ctime,
                " to port 80",
                over(100, 60, Some(101)),
                "Sun Nov 22 14:25:37 2026 203.0.113.7: more than 100 connections to port 80 in 1 m (since 14:25:00)\n",
            ),
            (
                TimeFormat::Short,
                "",
                over(1, 90, Some(2)),
                "14:25:37.250000 203.0.113.7: more than 1 connection in 90 s (since 14:25:00)\n",
            ),
            (
                TimeFormat::Iso,
                " to ports 80,443",
                over(0, 3600, Some(1)),
                "2026-11-22T14:25:37.250000+00:00 203.0.113.7: more than 0 connections to ports 80,443 in 1 h \
                 (since 2026-11-22T14:25:00.000000+00:00)\n",
            ),
            (
                TimeFormat::Delta,
                "",
                over(100, 86400, None),
                "0.000000 203.0.113.7: no longer more than 100 in 24 h\n",
            ),
        ] {
            let line = text(format, to, &over);
            assert_eq!(line, expected);
            assert!(is_over(line.trim()), "{line}");
        }
    }

    #[test]
    fn every_key_is_read_back_as_no_connection() {
        let hostile = "1.2.3.4:5 -> 6.7.8.9:80 x";
        for key in [
            GroupKey::Client(Host::at([203, 0, 113, 7])),
            GroupKey::Client(Host::at("2001:db8::7".parse::<std::net::IpAddr>().unwrap())),
            GroupKey::Network("2001:db8::/64".parse().unwrap()),
            GroupKey::Port(Some(80)),
            GroupKey::KernelThreads,
            GroupKey::Name("office"),
            GroupKey::Cgroup {
                id: 1,
                name: Some(hostile.into()),
            },
        ] {
            let key = GroupKey::WithPort(key.into(), Some(80));
            for connections in [Some(3), None] {
                for format in TimeFormat::ALL {
                    let over = Over {
                        key: key.clone(),
                        ..over(2, 1, connections)
                    };
                    let line = text(format, "", &over);
                    assert!(is_over(line.trim()), "{line}");
                }
            }
        }
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json = |over: &Over| {
            let mut out = Vec::new();
            Json::new(Clock::new(TimeZone::UTC, TimeFormat::Ctime)).over(&mut out, over);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            json(&over(100, 60, Some(101))),
            concat!(
                r#"{"type":"over","time":"2026-11-22T14:25:37.250000+00:00","above":true,"#,
                r#""address":"203.0.113.7","limit":100,"seconds":60,"#,
                r#""start":"2026-11-22T14:25:00.000000+00:00","connections":101}"#,
                "\n"
            )
        );
        let below = json(&Over {
            key: GroupKey::WithPort(
                GroupKey::Network("192.0.2.0/24".parse().unwrap()).into(),
                Some(80),
            ),
            ..over(100, 60, None)
        });
        assert!(below.contains(r#""above":false,"network":"192.0.2.0/24","port":80,"limit""#));
        assert!(!below.contains("connections"));
    }

    #[test]
    fn gaps_are_told() {
        assert!(over_warnings(OverGaps::default()).is_empty());
        let gaps = OverGaps {
            not_counted: 1,
            not_told: 2,
        };
        let warnings = over_warnings(gaps);
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("warning: 1 connection not counted"));
        assert!(warnings[1].starts_with("warning: 2 lines of --over missing"));
    }
}
