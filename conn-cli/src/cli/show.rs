//! The options that live tracing and reading have in common.

use std::{
    io::Read as _,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::builder::TypedValueParser;
use jiff::SignedDuration;

use super::named;
use crate::{
    count::interval::MIN_INTERVAL,
    model::{
        connection::Family,
        filter::{EndsFilter, Network, Networks},
        group::{GroupBy, Grouping},
        machine::Machine,
        names::{NamedNetwork, NetworkNames},
        options::{Lines, Listing, ShowOptions, TimeFormat, Top},
        ports::PortSet,
    },
    system::{files, services, text::escaped},
};

/// Which connections.
#[derive(Debug, clap::Args)]
pub(super) struct ConnectionArgs {
    /// Local ports: 80, 80,https or 8000-8099 [default: all]
    ///
    /// May repeat. Names are those of /etc/services.
    #[arg(short, long = "port", value_name = "PORTS", value_parser = ports,
          help_heading = CONNECTIONS)]
    ports: Vec<PortSet>,

    /// No connections to these local ports
    ///
    /// May repeat. With --port, those of its ports that are not among these.
    #[arg(long = "not-port", value_name = "PORTS", value_parser = ports, hide_short_help = true,
          help_heading = CONNECTIONS)]
    not_ports: Vec<PortSet>,

    /// Only clients in this network, or with this address
    ///
    /// May repeat. Of several --from and --not-from the one with the longest prefix decides. Without --from all
    /// other clients pass. A filter works in the kernel: what it leaves out costs next to nothing, and
    /// is not counted.
    #[arg(long, value_name = "CIDR", help_heading = CONNECTIONS)]
    from: Vec<Network>,

    /// No clients in this network, or with this address
    ///
    /// May repeat. Of several --from and --not-from the one with the longest prefix decides.
    #[arg(long, alias = "exclude", value_name = "CIDR", help_heading = CONNECTIONS)]
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
}

/// Which connections to show, how, and until when.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Which connections.
    #[command(flatten)]
    connections: ConnectionArgs,

    /// No line for each connection
    ///
    /// Live and on a terminal, a line on standard error says meanwhile how far it is. It has the addresses if
    /// one port is watched. The busiest one is shown as long as there are not more than a thousand, and only on
    /// a kernel that does not preempt itself, where no tool misses an accept for reading it.
    #[arg(short, long, help_heading = LINES)]
    quiet: bool,

    /// A line only for an address that is new in this run
    ///
    /// With several stages the line is that of the last stage.
    #[arg(long, conflicts_with = "interval", help_heading = LINES)]
    new: bool,

    /// Nothing: addresses and ports are always shown as numbers.
    #[arg(short = 'n', hide = true)]
    numeric: bool,

    /// Like --new; addresses and networks in this file are not new
    ///
    /// The file may be anything that conn-cli has printed, text or JSON, but by address or network. It may
    /// also be a list with an address or a network at the beginning of each line and a comment behind it,
    /// or what "uniq -c" prints. It is a regular file of at most 64 MiB, and is read before the run. The end
    /// says which addresses were new. With --quiet the summary has only these, and "conn-cli --quiet --known
    /// FILE >> FILE" lets the file grow.
    #[arg(long, value_name = "FILE", conflicts_with = "interval", help_heading = LINES)]
    known: Option<PathBuf>,

    /// A line for each interval instead, such as 10 or 5m
    ///
    /// A number without a unit is in seconds. Intervals of 10 s begin at :00, :10 and so on. Each has a line,
    /// also one without connections; the first and the last are partial and say so. Connections whose own
    /// line was lost are in the interval all the same. Live, a line has how many packets the listeners
    /// dropped, from the first line on in which they dropped any. On a terminal that is wide enough a bar
    /// follows, one character for a connection and one more for each doubling.
    #[arg(long, value_name = "TIME", value_parser = interval, help_heading = LINES)]
    interval: Option<Duration>,

    /// One JSON object a line
    ///
    /// One for each connection, and one for the summary. docs/json.md of the project describes them.
    #[arg(long, help_heading = LINES)]
    json: bool,

    /// The machine's name in JSON [default: what the kernel or the record says]
    ///
    /// Live it takes the place of the host name. In "conn-cli read" it is for records that do not name a
    /// host: the header of a syslog line does, and the journal, and JSON of conn-cli.
    #[arg(long, value_name = "NAME", value_parser = host, requires = "json",
          hide_short_help = true, help_heading = LINES)]
    host: Option<Machine>,

    /// Times as ctime, iso, epoch, delta or short [default: ctime, in JSON iso]
    ///
    /// ctime is "Sun Nov 22 14:25:37 2026", iso is RFC 3339, epoch is in seconds since 1970, and delta in
    /// seconds since the line before. short is the time of day in microseconds, and the default with
    /// --long; in its table times are in seconds, with the date if they are of several days, unless iso or
    /// epoch is chosen. With --json, epoch writes numbers.
    #[arg(long, value_name = "FORMAT", value_parser = time_format(), hide_possible_values = true,
          help_heading = LINES)]
    time: Option<TimeFormat>,

    /// Times in UTC instead of the local time zone
    #[arg(long, help_heading = LINES)]
    utc: bool,

    /// Count by network, port or address,port; live by process
    ///
    /// The default is address; live also process, cgroup or user. Each goes with the port, such as
    /// address,port or user,port: a row for each pair. network is /24 in IPv4 and /64 in IPv6;
    /// network/16,/48 is others. A cgroup that is a container of docker, podman, containerd, CRI-O,
    /// Kubernetes or LXC, and is still there at the end, is named, such as docker:0123456789ab; but not
    /// where ordinary users choose the names, as below user.slice. A process is one row, whatever its
    /// threads are called. process, cgroup and user are about who accepts: they do not go with the other
    /// stages, and records do not tell.
    #[arg(long, value_name = "WHAT", default_value = "address", hide_default_value = true,
          help_heading = SUMMARY)]
    by: Grouping,

    /// Only the first N, and the sum of the others; 0 for all
    ///
    /// Without it a terminal gets as many as fit the screen, and a file or a pipe all.
    #[arg(long, value_name = "N", help_heading = SUMMARY)]
    top: Option<usize>,

    /// Name a network, as in office=10.1.0.0/16
    ///
    /// May repeat; @FILE has one in each line, and comments behind #. A client has the name of the network with
    /// the longest prefix that it is in; the rest is other. --by name counts by that, JSON has it as
    /// network_name, and --long shows it.
    #[arg(long = "name", value_name = "NAME=CIDR", value_parser = named_networks,
          hide_short_help = true, help_heading = SUMMARY)]
    names: Vec<Vec<NamedNetwork>>,

    /// Both ends in lines; share, peak, waits of each address
    ///
    /// The summary is a table with the share of each client, the most connections in a second, the mean
    /// and the longest wait in the accept queue, and when it was first and last seen. All but the count
    /// and the share are of connections that had a line, or would have had one. A line has the address and
    /// port of both ends, the process, and how long the connection waited. What is not known is left
    /// out.
    #[arg(long, help_heading = SUMMARY)]
    long: bool,

    /// End after this time, such as 60, 5m or 1h30m
    ///
    /// A number without a unit is in seconds.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = END)]
    duration: Option<Duration>,

    /// End after this many connections
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
          help_heading = END)]
    count: Option<u64>,
}

pub(super) const CONNECTIONS: &str = "Which connections";
pub(super) const LINES: &str = "Lines";
const SUMMARY: &str = "Summary";
const END: &str = "End";

fn time_format() -> impl TypedValueParser<Value = TimeFormat> {
    named(TimeFormat::ALL.map(|format| (format.name(), format)))
}

impl ConnectionArgs {
    /// The local ports.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn ports(&self) -> Result<PortSet, String> {
        let wanted = match self.ports[..] {
            [] => PortSet::all(),
            _ => PortSet::union(&self.ports),
        };
        let ports = wanted.without(&PortSet::union(&self.not_ports));
        if ports.is_empty() {
            return Err("--not-port leaves no port".to_owned());
        }
        Ok(ports)
    }

    /// The addresses at both ends.
    pub(super) fn ends(&self) -> EndsFilter {
        EndsFilter {
            networks: Networks::new(&self.from, &self.not_from),
            local: self.to.map(|address| address.to_canonical()),
            family: if self.ipv4 {
                Some(Family::Ipv4)
            } else {
                self.ipv6.then_some(Family::Ipv6)
            },
        }
    }
}

impl ShowArgs {
    /// The named networks, for as long as the process runs: it has its options once.
    fn network_names(&self) -> Result<Option<&'static NetworkNames>, String> {
        let named = self.names.concat();
        if named.is_empty() {
            return Ok(None);
        }
        let names = NetworkNames::new(&named).map_err(|error| format!("--name: {error}"))?;
        Ok(Some(Box::leak(Box::new(names))))
    }

    /// What these arguments ask for, if they go together.
    ///
    /// # Errors
    /// Which do not, and why.
    pub(super) fn options(&self) -> Result<ShowOptions, String> {
        if let (true, Some(format @ (TimeFormat::Ctime | TimeFormat::Delta | TimeFormat::Short))) =
            (self.json, self.time)
        {
            return Err(format!(
                "--time {}: a time in JSON is iso, the default, or a number with --time epoch",
                format.name()
            ));
        }
        if self.quiet && self.new && self.known.is_none() {
            return Err(
                "--new chooses among the lines, and --quiet shows none: add --known FILE for a \
                 summary of the addresses that are not in FILE"
                    .to_owned(),
            );
        }
        if self.quiet && self.known.is_some() && self.by != GroupBy::Address.into() {
            return Err(
                "--quiet with --known makes a summary of new addresses: leave out --by".to_owned(),
            );
        }
        let names = self.network_names()?;
        let by = match (self.by.what(), names) {
            (GroupBy::Name(_), Some(names)) => self.by.named(names),
            (GroupBy::Name(_), None) => {
                return Err("--by name needs the names: add --name NAME=CIDR".to_owned());
            }
            _ => self.by,
        };
        Ok(ShowOptions {
            ports: self.connections.ports()?,
            ends: self.connections.ends(),
            lines: match self.interval {
                Some(length) => Lines::Intervals(length),
                None if self.quiet => Lines::None,
                None if self.new || self.known.is_some() => Lines::NewClients,
                None => Lines::Connections,
            },
            over: None,
            known: self.known.clone(),
            json: self.json,
            host: self.host.clone(),
            time: match self.time {
                Some(time) => time,
                None if self.long => TimeFormat::Short,
                None => TimeFormat::default(),
            },
            utc: self.utc,
            names,
            listing: Listing {
                by,
                top: match self.top {
                    None => Top::default(),
                    Some(0) => Top::All,
                    Some(top) => Top::First(top),
                },
            },
            long: self.long,
            duration: self.duration,
            count: self.count,
        })
    }
}

/// A named network, or the file of some, after an `@`.
fn named_networks(text: &str) -> Result<Vec<NamedNetwork>, String> {
    let Some(path) = text.strip_prefix('@') else {
        return Ok(vec![text.parse()?]);
    };
    let shown = escaped(path.as_bytes());
    let (file, length) = files::open_regular(Path::new(path)).map_err(|error| error.to_string())?;
    if length > MAX_NAMES_FILE {
        let most = MAX_NAMES_FILE >> 20;
        return Err(format!("cannot read {shown}: it is larger than {most} MiB"));
    }
    let mut content = String::new();
    // It may have grown.
    file.take(MAX_NAMES_FILE)
        .read_to_string(&mut content)
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    // Some Windows editors start a UTF-8 file with a byte order mark.
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let line = |(number, line): (usize, &str)| {
        let named = line.split('#').next().map_or("", str::trim);
        let parsed = (!named.is_empty()).then(|| named.parse::<NamedNetwork>())?;
        Some(parsed.map_err(|error| format!("line {}: {error}", number + 1)))
    };
    let named: Vec<_> =
        { content.lines().enumerate().filter_map(line) }.collect::<Result<_, _>>()?;
    if named.is_empty() {
        return Err(format!("{shown} names no network"));
    }
    Ok(named)
}

/// The greatest length of a file of named networks.
const MAX_NAMES_FILE: u64 = 8 << 20;

fn host(text: &str) -> Result<Machine, &'static str> {
    Machine::named(text.as_bytes()).ok_or("give a name of 1 to 255 bytes")
}

/// A set of ports, some of which may be named.
fn ports(text: &str) -> Result<PortSet, String> {
    let number = |item: &str| match services::port(item.trim().as_bytes()) {
        Some(port) => port.to_string(),
        None => item.to_owned(),
    };
    let numbers: Vec<String> = text.split(',').map(number).collect();
    numbers.join(",").parse()
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < MIN_INTERVAL || interval.subsec_nanos() % 1_000_000 != 0 {
        return Err("give 100ms or more, in whole milliseconds".to_owned());
    }
    Ok(interval)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let duration = if is_number {
        text.parse().ok().map(Duration::from_secs)
    } else {
        let signed = text.parse::<SignedDuration>().ok();
        signed.and_then(|duration| Duration::try_from(duration).ok())
    };
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "give seconds, or a number and a unit, such as 60, 5m or 1h30m".to_owned())
}
