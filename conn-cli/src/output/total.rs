//! The total: before the report on standard error, and as the last line of the report.

use std::{fmt, time::Duration};

use super::{Clock, brief::plural};
use crate::{
    model::{group::GroupBy, read_stats::ReadStats, stage::Stage},
    report::{Origin, Report},
};

/// How many there are of what was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// How many.
    pub number: u64,
    /// Whether there may be more.
    pub at_least: bool,
    /// The stage at which they were counted.
    pub stage: Stage,
}

/// What connections were counted over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent<'a> {
    Time(Duration),
    Records(&'a ReadStats),
}

/// The total before the report. It needs no report: there may be no memory for that.
#[must_use]
pub(crate) fn total<'a>(counted: Counted, extent: impl Into<Extent<'a>>) -> String {
    format!("{counted} in {}", extent.into())
}

/// The last line of the report, with which it is complete:
/// `3 connections from 2 addresses to port 80, 14:25:35 to 14:25:40 (4.9 s), not from 10.0.0.0/8`
#[must_use]
pub(super) fn last_line(report: &Report, clock: &Clock) -> String {
    let live = report.live();
    let counted = Counted {
        number: report.connections,
        at_least: report.discrepancies.at_least,
        stage: report.counted(),
    };
    let mut line = format!("{counted}{}", ends(report));
    let elapsed = match &report.origin {
        Origin::Kernel(live) => Some(live.elapsed),
        Origin::Records(stats) => {
            if stats.lines > 0 || stats.packets > 0 {
                line += &format!(" in {}", Extent::Records(stats));
            }
            let period = report.period.filter(|(first, last)| first != last);
            period.and_then(|(first, last)| last.duration_since(first).try_into().ok())
        }
    };
    if let Some(period) = report.period {
        line += &format!(", {}", clock.period(period, live.is_none()));
    }
    if let Some(elapsed) = elapsed {
        line += &format!(" ({})", Extent::Time(elapsed));
    }
    line += &report.scope.filters();
    if live.is_some_and(|live| live.counted < live.requested) {
        line += "; accepts are not visible here";
    }
    line
}

/// Where the connections come from, and where they go to.
fn ends(report: &Report) -> String {
    let (one, many) = report.nouns();
    let groups = plural(report.groups as u64, one, many);
    let ports = report.scope.ports();
    let to = if ports.is_all() {
        String::new()
    } else {
        format!(" to {ports}")
    };
    match report.by.what() {
        _ if report.groups == 0 => to,
        _ if report.by.with_port() => format!("{to} in {groups}"),
        GroupBy::Address | GroupBy::Network(..) | GroupBy::Name(_) => format!(" from {groups}{to}"),
        GroupBy::Port if ports.is_all() => format!(" to {groups}"),
        GroupBy::Port if ports.is_single() => to,
        GroupBy::Port => format!(" to {} of {ports}", report.groups),
        GroupBy::Process | GroupBy::User => format!("{to} accepted by {groups}"),
        GroupBy::Cgroup => format!("{to} accepted in {groups}"),
    }
}

/// What is counted at a stage, one and several.
pub(super) fn nouns(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Syn => ("connection attempt (SYN)", "connection attempts (SYNs)"),
        Stage::Established => ("handshake", "handshakes"),
        Stage::Accepted => ("connection", "connections"),
    }
}

/// `no connections`, `2 handshakes`, `at least 1 connection attempt (SYN)`
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, many) = nouns(self.stage);
        match (self.number, self.at_least) {
            (0, false) => write!(f, "no {many}"),
            (number, false) => f.write_str(&plural(number, one, many)),
            (number, true) => write!(f, "at least {}", plural(number, one, many)),
        }
    }
}

impl<'a> From<&'a Origin> for Extent<'a> {
    fn from(origin: &'a Origin) -> Self {
        match origin {
            Origin::Kernel(live) => Self::Time(live.elapsed),
            Origin::Records(stats) => Self::Records(stats),
        }
    }
}

impl fmt::Display for Extent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lines, packets) = match self {
            Self::Time(elapsed) => return write!(f, "{:.1} s", elapsed.as_secs_f64()),
            Self::Records(stats) => (stats.lines, stats.packets),
        };
        if lines > 0 || packets == 0 {
            f.write_str(&plural(lines, "line", "lines"))?;
        }
        if lines > 0 && packets > 0 {
            f.write_str(" and ")?;
        }
        if packets > 0 {
            f.write_str(&plural(packets, "packet", "packets"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::*;
    use crate::{
        count::tally::Tally,
        model::{
            connection::{Family, Host},
            filter::EndsFilter,
            hook::Hook,
            options::{ShowOptions, TimeFormat},
            scope::Scope,
        },
        report::Live,
    };

    const FROM: Timestamp = Timestamp::constant(1_795_357_535, 900_000_000);
    const TO: Timestamp = Timestamp::constant(1_795_357_540, 800_000_000);

    fn report(origin: Origin, clients: &[u8]) -> Report {
        let mut tally = Tally::default();
        for client in clients {
            tally.add(&Host::at([192, 0, 2, *client]), Some(80), 2);
        }
        Report {
            period: Some((FROM, TO)),
            ..Report::sample(&tally, origin)
        }
    }

    fn live(counted: Stage) -> Origin {
        Origin::Kernel(Live {
            counted,
            ..Live::sample(Hook::Fentry, Duration::from_millis(4900))
        })
    }

    fn line(report: &Report) -> String {
        last_line(report, &Clock::new(TimeZone::UTC, TimeFormat::Ctime))
    }

    #[test]
    fn nothing_is_said_of_what_is_not_there() {
        let accepted = report(live(Stage::Accepted), &[1, 2]);
        assert_eq!(
            line(&accepted),
            "4 connections from 2 addresses, 14:25:35 to 14:25:40 (4.9 s)"
        );
        let none = report(live(Stage::Accepted), &[]);
        assert_eq!(line(&none), "no connections, 14:25:35 to 14:25:40 (4.9 s)");
        let unread = Report {
            period: None,
            ..report(Origin::Records(ReadStats::default()), &[])
        };
        assert_eq!(line(&unread), "no connections");
    }

    #[test]
    fn filters_and_bounds_are_named() {
        let mut report = report(live(Stage::Accepted), &[1]);
        report.discrepancies.at_least = true;
        report.scope = Scope::for_records(&ShowOptions {
            ports: "80,443".parse().unwrap(),
            ends: EndsFilter {
                family: Some(Family::Ipv4),
                ..EndsFilter::default()
            },
            ..ShowOptions::default()
        });
        assert_eq!(
            line(&report),
            "at least 2 connections from 1 address to ports 80,443, 14:25:35 to 14:25:40 (4.9 s), \
             only IPv4"
        );
        report.by = GroupBy::Port.into();
        assert!(line(&report).contains("connections to 1 of ports 80,443, "));
        report.by = GroupBy::Process.into();
        assert!(line(&report).contains("to ports 80,443 accepted by 1 process, "));
    }

    #[test]
    fn stages_before_the_accept_are_no_connections() {
        let mut syns = report(live(Stage::Syn), &[1]);
        if let Origin::Kernel(live) = &mut syns.origin {
            live.requested = Stage::Syn;
        }
        assert_eq!(
            line(&syns),
            "2 connection attempts (SYNs) from 1 address, 14:25:35 to 14:25:40 (4.9 s)"
        );
        let instead = report(live(Stage::Established), &[1]);
        assert_eq!(
            line(&instead),
            "2 handshakes from 1 address, 14:25:35 to 14:25:40 (4.9 s); accepts are not visible here"
        );
    }

    #[test]
    fn records_have_their_own_times() {
        let stats = ReadStats {
            lines: 5,
            packets: 1,
            ..ReadStats::default()
        };
        let mut report = report(Origin::Records(stats), &[1]);
        assert_eq!(
            line(&report),
            "2 connections from 1 address in 5 lines and 1 packet, 2026-11-22 14:25:35 to 14:25:40 \
             (4.9 s)"
        );
        report.period = Some((FROM, FROM));
        assert!(line(&report).ends_with(" packet, 2026-11-22 14:25:35"));
    }
}
