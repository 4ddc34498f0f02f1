//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use crate::{ports::PortSet, read::Format};

const EXIT_STATUS: &str =
    "Exit status: 0 done, 1 failed, 2 wrong usage, 130 after a second Ctrl-C.";

/// Shows every new TCP connection to a port as it happens and, on Ctrl-C, how many each
/// remote address made.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = EXIT_STATUS,
)]
pub struct Args {
    /// Something else than to trace.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// What conn-cli does besides tracing.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows the connections in what iptables, nftables, tcpdump and strace wrote
    ///
    /// It needs no privileges. Options go after the word read.
    #[command(after_help = EXIT_STATUS)]
    Read(ReadArgs),
}

/// What to show, and until when.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Local ports to watch: 80, 80,443 or 8000-8099; may repeat [default: every port]
    #[arg(short, long = "port", value_name = "PORTS")]
    ports: Vec<PortSet>,

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
}

/// The arguments of live tracing.
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    /// What to show.
    #[command(flatten)]
    pub show: ShowArgs,

    /// What to hook in the kernel
    #[arg(long, value_enum, default_value_t)]
    pub probe: Probe,

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

/// The arguments of `conn-cli read`.
#[derive(Debug, clap::Args)]
pub struct ReadArgs {
    /// Files to read, compressed ones too; - or nothing: standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// What to show.
    #[command(flatten)]
    pub show: ShowArgs,

    /// What the files are, instead of telling it from their content
    #[arg(long, value_enum)]
    pub format: Option<Format>,

    /// A record that is not understood is an error
    #[arg(long)]
    pub strict: bool,

    /// Count a SYN that was sent again as one more connection
    #[arg(long)]
    pub every_packet: bool,

    /// Threads that parse [default: one for each CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
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

impl ShowArgs {
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
        let ports = |args: &[&str]| Args::parse_from(args).trace.show.port_set();
        assert_eq!(ports(&["conn-cli"]), PortSet::all());
        let both = ports(&["conn-cli", "--port", "80", "-p", "443,8000-8099"]);
        assert_eq!(both.to_string(), "ports 80,443,8000-8099");
    }

    #[test]
    fn read_has_its_options_after_its_name() {
        let args = Args::parse_from(["conn-cli", "read", "-q", "--port", "80", "a", "-"]);
        let Some(Command::Read(read)) = args.command else {
            panic!("no command");
        };
        assert!(read.show.quiet);
        assert_eq!(read.show.port_set().to_string(), "port 80");
        assert_eq!(read.files, [PathBuf::from("a"), PathBuf::from("-")]);
        // Else they would silently not be obeyed.
        assert!(Args::try_parse_from(["conn-cli", "--port", "80", "read", "a"]).is_err());
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
