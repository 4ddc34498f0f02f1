//! The options of `conn-cli read`.

use std::{num::NonZeroU32, path::PathBuf};

use clap::{ArgAction, builder::TypedValueParser};
use jiff::{Timestamp, tz::TimeZone};

use super::{
    named,
    period::{Given, period},
    show::{CONNECTIONS, ShowArgs},
};
use crate::model::{
    format::Format,
    options::{ReadOptions, RecordOptions},
};

/// How to take the records of inputs.
#[derive(Debug, clap::Args)]
pub(super) struct RecordArgs {
    /// Their format, such as kernel-log, pcap or strace [default: told by content]
    ///
    /// One of kernel-log, tcpdump, pcap, strace, json, text, ulogd, tcpaccept, conntrack, zeek, suricata and
    /// vpc-flow. docs/formats.md of the project says what each is, and what counts as a connection in it.
    #[arg(long, value_parser = format(), hide_possible_values = true, help_heading = RECORDS)]
    format: Option<Format>,

    /// A record that is not understood is an error
    #[arg(long, help_heading = RECORDS)]
    strict: bool,

    /// Count a retransmitted SYN as one more connection
    ///
    /// This is how "wc -l" counts.
    #[arg(long, help_heading = RECORDS)]
    every_packet: bool,

    /// Only firewall records with exactly this rule prefix
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = RECORDS)]
    prefix: Option<String>,

    /// Believe records whatever program wrote them
    ///
    /// Where a log names the writer of each line, only the kernel and its log daemons are believed:
    /// any other program may have written what somebody sent to it.
    #[arg(long, help_heading = RECORDS)]
    any_program: bool,

    /// Count packets inside of tunnels, too
    ///
    /// Of IP in IP, GRE, VXLAN and Geneve.
    #[arg(long, help_heading = RECORDS)]
    inner: bool,

    /// How many times its length a compressed input may have [default: 1000]
    ///
    /// One that expands to more, and to more than 16 MiB, ends there with an error: somebody may have made
    /// it so. 0 for any number.
    #[arg(long, value_name = "N", default_value_t = 1000, hide_default_value = true,
          help_heading = RECORDS)]
    max_expansion: u32,

    /// Pairs of client and port counted one by one [default: as many as fit a quarter of the memory]
    ///
    /// The connections of further clients are summed up as other; the end says how many. --long keeps the details
    /// of so many clients, too.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
          help_heading = RECORDS)]
    max_clients: Option<u32>,
}

impl RecordArgs {
    pub(super) fn options(&self) -> RecordOptions {
        RecordOptions {
            format: self.format,
            strict: self.strict,
            every_packet: self.every_packet,
            any_program: self.any_program,
            prefix: self.prefix.clone(),
            inner: self.inner,
            max_expansion: NonZeroU32::new(self.max_expansion),
            max_clients: self.max_clients,
        }
    }
}

/// The arguments of `conn-cli read`.
#[derive(Debug, clap::Args)]
pub(super) struct ReadArgs {
    /// Files to read, compressed ones too; - or nothing: standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What to show.
    #[command(flatten)]
    show: ShowArgs,

    /// From this time on: 2026-11-26, 18:33, yesterday, -2h
    ///
    /// A date, a time of today, both, with an offset or without, today, yesterday, now, a time ago such as
    /// -1d or "30 minutes ago", or @ and seconds since 1970. Without an offset it is in the local time
    /// zone, or with --utc in UTC. A year or day that the records lack is assumed, and the end says which.
    #[arg(long, value_name = "TIME", value_parser = Given::parse, allow_hyphen_values = true,
          help_heading = CONNECTIONS)]
    since: Option<Given>,

    /// Up to this time, which is not included; likewise
    #[arg(long, value_name = "TIME", value_parser = Given::parse, allow_hyphen_values = true,
          help_heading = CONNECTIONS)]
    until: Option<Given>,

    /// How to take the records.
    #[command(flatten)]
    records: RecordArgs,

    /// Threads that parse [default: one for each CPU]
    ///
    /// The result does not depend on their number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024),
          help_heading = RECORDS)]
    jobs: Option<u16>,

    /// Print help: -h on one screen, --help with every option
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Options that only live tracing supports.
    #[command(flatten)]
    live_only: LiveOnly,
}

const RECORDS: &str = "Records";

/// Options of live tracing that `read` refuses with a reason: those with a value when it is
/// parsed, the others by [`ReadArgs::options`].
#[derive(Debug, clap::Args)]
struct LiveOnly {
    #[arg(long, hide = true, value_parser = stage)]
    event: Option<String>,
    #[arg(long, hide = true)]
    funnel: bool,
    #[arg(short, long, hide = true, value_parser = kernel)]
    interface: Option<String>,
    #[arg(long, hide = true, value_parser = kernel)]
    probe: Option<String>,
    #[arg(long, hide = true, value_parser = task)]
    pid: Option<String>,
    #[arg(long, hide = true, value_parser = task)]
    comm: Option<String>,
    #[arg(long, hide = true, value_parser = task)]
    uid: Option<String>,
    #[arg(long, hide = true, value_parser = task)]
    cgroup: Option<String>,
    #[arg(long, hide = true, value_parser = namespace)]
    netns: Option<String>,
    #[arg(long, hide = true)]
    follow_namespaces: bool,
    #[arg(long, hide = true, value_parser = over)]
    over: Option<String>,
    #[arg(long, hide = true, value_parser = kernel)]
    buffer_size: Option<String>,
    #[arg(long, hide = true, value_parser = kernel)]
    self_test_interval: Option<String>,
    #[arg(long, hide = true, value_parser = kernel)]
    metrics: Option<String>,
    #[arg(long, hide = true, value_parser = kernel)]
    metrics_clients: Option<String>,
    #[arg(short, long, hide = true)]
    verbose: bool,
}

const ONE_STAGE: &str =
    "a record is of one stage: packets and logs show SYNs, strace shows accepts";
const NO_KERNEL: &str = "records come from files, not from this kernel";

fn stage(_: &str) -> Result<String, &'static str> {
    Err(ONE_STAGE)
}

fn kernel(_: &str) -> Result<String, &'static str> {
    Err(NO_KERNEL)
}

fn task(_: &str) -> Result<String, &'static str> {
    Err("records do not show, or only in part, who accepted; only live tracing knows")
}

fn namespace(_: &str) -> Result<String, &'static str> {
    Err("records do not show the network namespace; only live tracing knows")
}

fn over(_: &str) -> Result<String, &'static str> {
    Err("records are read some time after the connections; --interval shows those of each interval")
}

fn format() -> impl TypedValueParser<Value = Format> {
    named(Format::ALL.map(|format| (format.name(), format)))
}

impl ReadArgs {
    /// The options, if they go together.
    ///
    /// # Errors
    /// Which do not, and why.
    pub(super) fn options(&self) -> Result<ReadOptions, String> {
        if self.live_only.funnel {
            return Err(format!("--funnel: {ONE_STAGE}"));
        }
        if self.live_only.follow_namespaces {
            return Err(format!("--follow-namespaces: {NO_KERNEL}"));
        }
        if self.live_only.verbose {
            return Err(format!("--verbose: {NO_KERNEL}"));
        }
        let show = self.show.options()?;
        if show.listing.by.needs_task() {
            return Err(format!(
                "--by {}: records do not tell, or only in part, who accepted; only live tracing \
                 knows",
                show.listing.by.name()
            ));
        }
        let zone = if show.utc {
            TimeZone::UTC
        } else {
            TimeZone::system()
        };
        Ok(ReadOptions {
            period: period(self.since, self.until, Timestamp::now(), zone)?,
            show,
            files: match self.files[..] {
                [] => vec![PathBuf::from("-")],
                _ => self.files.clone(),
            },
            records: self.records.options(),
            jobs: self.jobs.map(usize::from),
        })
    }
}
