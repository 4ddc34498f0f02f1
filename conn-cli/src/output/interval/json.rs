//! The JSON of an interval. The names of the fields are documented in docs/json.md and do not
//! change.

use super::super::{Clock, brief::rounded};
use crate::{
    count::interval::Interval,
    model::{
        connection::Host,
        schema::{IntervalLine, Type},
    },
};

/// `{"type":"interval",...}`; the time is in the clock's format.
#[must_use]
pub(crate) fn interval_line<'a>(interval: &'a Interval, clock: &Clock) -> IntervalLine<'a> {
    let (host, most) = match &interval.busiest {
        Some((host, most)) => (Some(host), Some(*most)),
        None => (None, None),
    };
    let is_measured = interval.not_measured == 0;
    IntervalLine {
        r#type: Type::Interval,
        host: None,
        start: (!interval.since_boot).then(|| clock.field(interval.start)),
        since_boot: interval
            .since_boot
            .then(|| rounded(interval.start.as_millisecond() as f64 / 1e3)),
        seconds: rounded(interval.length.as_secs_f64()),
        connections: is_measured.then_some(interval.connections),
        lost: is_measured.then_some(interval.lost),
        dropped: interval.dropped,
        addresses: is_measured.then_some(interval.addresses),
        rate: is_measured.then(|| rounded(interval.rate())),
        busiest_address: host.and_then(Host::address),
        busiest_name: host.and_then(Host::name).map(Into::into),
        busiest_connections: most,
        partial: interval.partial,
        skipped_empty: Some(interval.skipped_empty).filter(|&skipped| skipped > 0 && is_measured),
        not_measured: (!is_measured).then_some(interval.not_measured),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::model::options::TimeFormat;

    fn interval() -> Interval {
        Interval {
            start: "2026-11-22T14:25:30Z".parse().unwrap(),
            since_boot: false,
            length: Duration::from_secs(10),
            connections: 123,
            lost: 0,
            dropped: None,
            addresses: 17,
            busiest: Some((Host::at([192, 168, 122, 1]), 61)),
            partial: false,
            skipped_empty: 0,
            not_measured: 0,
        }
    }

    #[test]
    fn the_start_may_be_a_number() {
        let clock = Clock::new(TimeZone::UTC, TimeFormat::Epoch);
        let json = serde_json::to_value(interval_line(&interval(), &clock)).unwrap();
        assert_eq!(json["start"], 1_795_357_530.0);
    }

    #[test]
    fn json_has_the_documented_fields() {
        let clock = Clock::new(TimeZone::UTC, TimeFormat::Delta);
        let json =
            |interval: &Interval| serde_json::to_string(&interval_line(interval, &clock)).unwrap();
        assert_eq!(
            json(&Interval {
                lost: 12,
                dropped: Some(37),
                partial: true,
                length: Duration::from_millis(3_210),
                ..interval()
            }),
            concat!(
                r#"{"type":"interval","start":"2026-11-22T14:25:30.000000+00:00","seconds":3.21,"#,
                r#""connections":123,"lost":12,"dropped":37,"addresses":17,"rate":38.318,"#,
                r#""busiest_address":"192.168.122.1","busiest_connections":61,"partial":true}"#
            )
        );
        let named = json(&Interval {
            busiest: Some((Host::named(b"web.example").unwrap(), 2)),
            ..interval()
        });
        assert!(named.contains(r#""busiest_name":"web.example","busiest_connections":2"#));
        let skipped = json(&Interval {
            skipped_empty: 5,
            connections: 0,
            busiest: None,
            ..interval()
        });
        assert!(skipped.ends_with(r#""rate":0.0,"partial":false,"skipped_empty":5}"#));
        let not_measured = json(&Interval {
            not_measured: 7,
            since_boot: true,
            start: jiff::Timestamp::from_millisecond(3_661_500).unwrap(),
            connections: 0,
            busiest: None,
            ..interval()
        });
        assert_eq!(
            not_measured,
            concat!(
                r#"{"type":"interval","start":null,"since_boot":3661.5,"seconds":10.0,"connections":null,"#,
                r#""lost":null,"addresses":null,"rate":null,"partial":false,"not_measured":7}"#
            )
        );
    }
}
