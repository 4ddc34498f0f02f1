//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;

use crate::ports::PortSet;

/// Shows every new TCP connection to a port as it happens and, on Ctrl-C, how many each
/// remote address made.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 130 after a second Ctrl-C."
)]
pub struct Args {
    /// Local ports to watch: 80, 80,443 or 8000-8099; may repeat [default: every port]
    #[arg(short, long = "port", value_name = "PORTS")]
    ports: Vec<PortSet>,

    /// What to hook in the kernel
    #[arg(long, value_enum, default_value_t)]
    pub probe: Probe,

    /// No line for each connection, only the summary
    #[arg(short, long)]
    pub quiet: bool,

    /// One JSON object a line, for each connection and for the summary
    #[arg(long)]
    pub json: bool,

    /// Show times in UTC instead of the local time zone
    #[arg(long)]
    pub utc: bool,

    /// End after this time, such as 60s, 5m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// End after this many connections
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Pairs of client and local port counted one by one; further ones are added up as other
    #[arg(long, value_name = "N", default_value_t = 65536,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_clients: u32,

    /// Size of the buffer between kernel and conn-cli, rounded up to a power of two
    #[arg(long, value_name = "BYTES", default_value_t = 524_288,
          value_parser = clap::value_parser!(u32).range(4096..=1_073_741_824))]
    pub buffer_size: u32,

    /// Show diagnostics of the eBPF programs and of their loading
    #[arg(short, long)]
    pub verbose: bool,
}

/// What the user wants hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// The first of the following that works here
    #[default]
    Auto,
    /// A kretprobe on inet_csk_accept, paired with a kprobe on security_sock_graft
    Kretprobe,
    /// An fentry program on security_sock_graft; needs BTF and trampolines
    Fentry,
    /// The tracepoint sock:inet_sock_set_state: counts completed handshakes, not accepts
    Tracepoint,
}

impl Args {
    /// All ports that were asked for.
    #[must_use]
    pub fn port_set(&self) -> PortSet {
        match self.ports[..] {
            [] => PortSet::all(),
            _ => PortSet::union(&self.ports),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "give a number and a unit, such as 60s, 5m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_definition() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn ports_may_repeat_and_default_to_all() {
        let ports = |args: &[&str]| Args::parse_from(args).port_set();
        assert_eq!(ports(&["conn-cli"]), PortSet::all());
        let both = ports(&["conn-cli", "--port", "80", "-p", "443,8000-8099"]);
        assert_eq!(both.to_string(), "ports 80,443,8000-8099");
    }

    #[test]
    fn durations() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "60", "-5s", "0s", "s", "1x", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
