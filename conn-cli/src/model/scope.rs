//! Which connections a run counts, in words: for its first line and its total.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    connection::Family,
    filter::{EndsFilter, Namespaces, TaskFilter},
    options::{ShowOptions, TraceOptions},
    period::Period,
    ports::PortSet,
};
use crate::system::text::escaped;

/// How many networks are named at most: both lines should be readable.
const MAX_NAMED: usize = 8;

/// The ports and filters of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    ports: PortSet,
    /// Each filter, safe to show.
    filters: Vec<String>,
}

impl Scope {
    /// That of records.
    #[must_use]
    pub fn for_records(options: &ShowOptions) -> Self {
        Self {
            ports: options.ports.clone(),
            filters: ends(&options.ends),
        }
    }

    /// The same, of this period, in this time zone.
    #[must_use]
    pub fn within(mut self, period: Period, zone: &TimeZone) -> Self {
        let ends = [("since", period.since), ("until", period.until)];
        let filters = ends.into_iter().filter_map(|(word, time)| {
            // Nobody wants to read the nanoseconds of two hours ago.
            let time = Timestamp::from_millisecond(time?.as_millisecond()).ok()?;
            let time = zone.to_datetime(time);
            Some(format!("{word} {} {}", time.date(), time.time()))
        });
        self.filters.extend(filters);
        self
    }

    /// That of a live run.
    #[must_use]
    pub fn live(options: &TraceOptions) -> Self {
        let mut scope = Self::for_records(&options.show);
        let interface = options.interface.iter();
        scope
            .filters
            .extend(interface.map(|name| format!("interface {}", escaped(name.as_bytes()))));
        scope.filters.extend(task(&options.task));
        scope.filters.extend(match &options.netns {
            Namespaces::Machine => None,
            Namespaces::All => Some("all network namespaces".to_owned()),
            Namespaces::One(one) => {
                let path = escaped(one.path().as_os_str().as_encoded_bytes());
                Some(format!("network namespace {path}"))
            }
        });
        scope
    }

    /// The local ports.
    #[must_use]
    pub fn ports(&self) -> &PortSet {
        &self.ports
    }

    /// The filters, each after a comma.
    #[must_use]
    pub fn filters(&self) -> String {
        let filters = self.filters.iter();
        filters.map(|filter| format!(", {filter}")).collect()
    }
}

/// `to port 80, not from 10.0.0.0/8`
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}{}", self.ports, self.filters())
    }
}

fn ends(ends: &EndsFilter) -> Vec<String> {
    let family = ends.family.map(|family| match family {
        Family::Ipv4 => "only IPv4".to_owned(),
        Family::Ipv6 => "only IPv6".to_owned(),
    });
    let local = ends.local.map(|address| format!("to {address}"));
    let networks = |wanted, words| {
        let mut listed = ends.networks.listed(wanted);
        if listed.len() > MAX_NAMED {
            let more = listed.split_off(MAX_NAMED - 1).len();
            listed.push(format!("{more} more"));
        }
        (!listed.is_empty()).then(|| format!("{words} {}", listed.join(", ")))
    };
    let from = networks(true, "only from");
    let not_from = networks(false, "not from");
    [from, not_from, local, family]
        .into_iter()
        .flatten()
        .collect()
}

fn task(task: &TaskFilter) -> Vec<String> {
    let pid = task.pid.map(|pid| format!("process {pid}"));
    let comm = task.comm.map(|comm| {
        let name = comm.0.split(|byte| *byte == 0).next().unwrap_or_default();
        format!("threads named {}", escaped(name))
    });
    let uid = task.uid.map(|uid| format!("user {uid}"));
    let cgroup = task.cgroup.as_ref().map(|path| {
        let path = escaped(path.as_os_str().as_encoded_bytes());
        format!("cgroup {path}")
    });
    [pid, comm, uid, cgroup].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::Networks;

    #[test]
    fn a_period_is_named() {
        let period = Period {
            since: Some("2026-11-26T17:00:00Z".parse().unwrap()),
            until: Some("2026-11-26T23:59:59.5Z".parse().unwrap()),
        };
        let east = TimeZone::fixed(jiff::tz::offset(1));
        let scope = Scope::for_records(&ShowOptions::default());
        assert_eq!(
            scope.within(period, &east).filters(),
            ", since 2026-11-26 18:00:00, until 2026-11-27 00:59:59.5"
        );
    }

    #[test]
    fn filters_are_named() {
        let networks = Networks::new(
            &["10.0.0.0/8".parse().unwrap(), "192.0.2.1".parse().unwrap()],
            &["10.1.0.0/16".parse().unwrap()],
        );
        let options = ShowOptions {
            ports: "80,8000-8099".parse().unwrap(),
            ends: EndsFilter {
                networks,
                local: Some([198, 51, 100, 1].into()),
                family: Some(Family::Ipv4),
            },
            ..ShowOptions::default()
        };
        assert_eq!(
            Scope::for_records(&options).to_string(),
            "to ports 80,8000-8099, only from 10.0.0.0/8, 192.0.2.1, not from 10.1.0.0/16, to \
             198.51.100.1, only IPv4"
        );
        assert_eq!(Scope::default().to_string(), "to every port");
    }

    #[test]
    fn of_many_networks_and_ports_the_first_are_named() {
        let networks: Vec<_> = (0..300)
            .map(|number| format!("10.{}.{}.0/24", number / 256, number % 256))
            .map(|network| network.parse().unwrap())
            .collect();
        let ports: Vec<_> = (1..=100).map(|port| (port * 2).to_string()).collect();
        let scope = Scope::for_records(&ShowOptions {
            ports: ports.join(",").parse().unwrap(),
            ends: EndsFilter {
                networks: Networks::new(&[], &networks),
                ..EndsFilter::default()
            },
            ..ShowOptions::default()
        });
        let text = scope.to_string();
        assert!(
            text.starts_with("to ports 2,4,6,8,10,12,14,16 and 92 more, not from 10.0.0.0/24, "),
            "{text}"
        );
        assert!(text.ends_with(", 10.0.6.0/24, 293 more"), "{text}");
    }

    #[test]
    fn names_are_safe_to_show() {
        let filter = TaskFilter {
            pid: Some(812),
            comm: Some("a\x1b[2J".parse().unwrap()),
            uid: Some(33),
            cgroup: Some("/a\nb".into()),
        };
        assert_eq!(
            task(&filter),
            [
                "process 812",
                r"threads named a\u{1b}[2J",
                "user 33",
                r"cgroup /a\nb"
            ]
        );
    }
}
