//! The options that live tracing and reading have in common.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use jiff::SignedDuration;

use crate::{
    count::interval::MIN_INTERVAL,
    model::{
        connection::Family,
        filter::{EndsFilter, Network, Networks},
        group::GroupBy,
        options::{Listing, TimeFormat},
        ports::PortSet,
    },
};

/// Which connections to show, how, and until when.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Local ports: 80, 80,443 or 8000-8099; may repeat [default: every port]
    #[arg(short, long = "port", value_name = "PORTS", help_heading = CONNECTIONS)]
    ports: Vec<PortSet>,

    /// Only clients in this network; may repeat, longest prefix decides
    #[arg(long, value_name = "CIDR", help_heading = CONNECTIONS)]
    from: Vec<Network>,

    /// No clients in this network; likewise
    #[arg(long, value_name = "CIDR", help_heading = CONNECTIONS)]
    not_from: Vec<Network>,

    /// Only to this local address
    #[arg(long, value_name = "ADDR", help_heading = CONNECTIONS)]
    to: Option<IpAddr>,

    /// Only IPv4 clients
    #[arg(short = '4', conflicts_with = "ipv6", help_heading = CONNECTIONS)]
    ipv4: bool,

    /// Only IPv6 clients
    #[arg(short = '6', help_heading = CONNECTIONS)]
    ipv6: bool,

    /// No line for each connection
    #[arg(short, long, help_heading = LINES)]
    pub quiet: bool,

    /// A line only for an address that is new in this run
    #[arg(long, conflicts_with_all = ["quiet", "interval"], help_heading = LINES)]
    pub new: bool,

    /// --new, and the addresses and networks in this file are not new
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quiet", "interval"],
          help_heading = LINES)]
    pub known: Option<PathBuf>,

    /// A line for each interval instead, such as 10s, on the clock's multiples
    #[arg(long, value_name = "TIME", value_parser = interval, help_heading = LINES)]
    pub interval: Option<Duration>,

    /// One JSON object a line
    #[arg(long, help_heading = LINES)]
    pub json: bool,

    /// Times as ctime, iso, epoch or delta [default: ctime]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true,
          conflicts_with = "json", help_heading = LINES)]
    time: Option<TimeFormat>,

    /// Times in UTC instead of the local time zone
    #[arg(long, help_heading = LINES)]
    pub utc: bool,

    /// Count by address, network[/24,/64] or port; live also process, cgroup or user
    #[arg(long, value_name = "WHAT", default_value = "address", hide_default_value = true,
          help_heading = SUMMARY)]
    pub by: GroupBy,

    /// Only the first N, and the sum of the others
    #[arg(long, value_name = "N", help_heading = SUMMARY)]
    pub top: Option<usize>,

    /// Share, first and last seen, peak and wait of each; waits in lines
    #[arg(long, help_heading = SUMMARY)]
    pub long: bool,

    /// End after this time, such as 60s, 5m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = END)]
    pub duration: Option<Duration>,

    /// End after this many connections
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
          help_heading = END)]
    pub count: Option<u64>,
}

pub(super) const CONNECTIONS: &str = "Which connections";
const LINES: &str = "Lines";
const SUMMARY: &str = "Summary";
const END: &str = "End";

impl ShowArgs {
    /// The requested ports.
    #[must_use]
    pub fn port_set(&self) -> PortSet {
        match self.ports[..] {
            [] => PortSet::all(),
            _ => PortSet::union(&self.ports),
        }
    }

    /// The requested clients, local address and family.
    #[must_use]
    pub fn filter(&self) -> EndsFilter {
        EndsFilter {
            networks: Networks::new(&self.from, &self.not_from),
            local: self.to.map(|address| address.to_canonical()),
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Some(Family::Ipv4),
                (_, true) => Some(Family::Ipv6),
                _ => None,
            },
        }
    }

    /// How to write times.
    #[must_use]
    pub fn time(&self) -> TimeFormat {
        self.time.unwrap_or_default()
    }

    /// How to list what was counted.
    #[must_use]
    pub fn listing(&self) -> Listing {
        Listing {
            by: self.by,
            top: self.top,
        }
    }

    /// Whether each connection gets a line, except those that `--new` leaves out.
    #[must_use]
    pub fn wants_lines(&self) -> bool {
        !self.quiet && self.interval.is_none()
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < MIN_INTERVAL || interval.subsec_nanos() % 1_000_000 != 0 {
        return Err("give 100ms or more, in whole milliseconds".to_owned());
    }
    Ok(interval)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "give a number and a unit, such as 60s, 5m or 1h30m".to_owned())
}
