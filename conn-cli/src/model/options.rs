//! What the user asked for, however it was written on the command line.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use super::{
    endpoint::Endpoint,
    filter::{EndsFilter, Namespaces, TaskFilter},
    format::Format,
    group::Grouping,
    hook::{Hook, Needs},
    machine::Machine,
    names::NetworkNames,
    over::OverLimit,
    period::Period,
    ports::PortSet,
    stage::WatchedStages,
};

/// What conn-cli does.
#[derive(Clone, Debug)]
pub enum Job {
    /// Trace connections in the running kernel.
    Trace(TraceOptions),
    /// Read records.
    Read(ReadOptions),
    /// Compare two inputs.
    Compare(CompareOptions),
    /// Say what this machine allows.
    Check(CheckOptions),
    /// Print this: a man page, or completions for a shell.
    Print(Vec<u8>),
}

/// The options of `conn-cli check`.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Whether to write JSON instead of text.
    pub json: bool,
    /// How hooks are attached.
    pub trace: TraceOptions,
}

/// The options of live tracing.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// What to show, and until when.
    pub show: ShowOptions,
    /// The stages to watch.
    pub stages: WatchedStages,
    /// The interface to look for SYNs on; None for all.
    pub interface: Option<String>,
    /// The hook to use; None for the best one.
    pub hook: Option<Hook>,
    /// The tasks whose accepts are wanted.
    pub task: TaskFilter,
    /// The network namespaces to watch.
    pub netns: Namespaces,
    /// Whether to search for listeners in network namespaces that are made during the run.
    pub follow_namespaces: bool,
    /// The entries of each map of totals; None for as many as there is memory for.
    pub max_clients: Option<u32>,
    /// The bytes of the ring buffer; None for as many as this machine needs and has.
    pub buffer_size: Option<u32>,
    /// Whether to show diagnostics of the programs and of their loading.
    pub verbose: bool,
    /// How often to see whether the hooks still run.
    pub self_test_interval: Duration,
    /// Where to serve metrics, if anywhere.
    pub metrics: Option<MetricsOptions>,
}

/// What metrics to serve, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsOptions {
    /// Where.
    pub endpoint: Endpoint,
    /// How many clients have a series of their own.
    pub clients: u32,
}

/// How to take the records of inputs.
#[derive(Clone, Debug, Default)]
pub struct RecordOptions {
    /// The format of the inputs; None to recognise it.
    pub format: Option<Format>,
    /// Whether a record that cannot be parsed is an error.
    pub strict: bool,
    /// Whether a retransmitted SYN counts as one more connection.
    pub every_packet: bool,
    /// Whether records count whatever program wrote them.
    pub any_program: bool,
    /// The prefix that a rule of the firewall writes before its records; None for any.
    pub prefix: Option<String>,
    /// Whether packets inside of tunnels count, too.
    pub inner: bool,
    /// How many times the length of a compressed input its content may have; None for any.
    pub max_expansion: Option<NonZeroU32>,
    /// How many pairs of client and port are counted one by one; None for as many as the machine has
    /// memory for.
    pub max_clients: Option<u32>,
}

/// The options of reading records.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// What to show, and until when.
    pub show: ShowOptions,
    /// The inputs; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// How to take the records.
    pub records: RecordOptions,
    /// When the connections were made.
    pub period: Period,
    /// The number of threads that parse; None for one for each CPU.
    pub jobs: Option<usize>,
}

/// The options of comparing two inputs.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// The inputs, of which one may be `-`, standard input.
    pub files: [PathBuf; 2],
    /// The local ports.
    pub ports: PortSet,
    /// The addresses at both ends.
    pub ends: EndsFilter,
    /// How to take the records.
    pub records: RecordOptions,
    /// How many rows at most.
    pub top: Option<usize>,
    /// Whether to write JSON instead of text.
    pub json: bool,
}

/// Which connections to show, how, and until when.
#[derive(Clone, Debug, Default)]
pub struct ShowOptions {
    /// The local ports.
    pub ports: PortSet,
    /// The addresses at both ends.
    pub ends: EndsFilter,
    /// What there is a line for.
    pub lines: Lines,
    /// Live: how many connections in an interval are too many; None if there is no line for that.
    pub over: Option<OverLimit>,
    /// The file of known clients.
    pub known: Option<PathBuf>,
    /// Whether to write JSON instead of text.
    pub json: bool,
    /// The machine, if neither the kernel nor the records are to name it.
    pub host: Option<Machine>,
    /// How to write times.
    pub time: TimeFormat,
    /// Whether times are in UTC.
    pub utc: bool,
    /// The networks that have a name, for as long as the process runs; None if no option names one.
    pub names: Option<&'static NetworkNames>,
    /// How to list what was counted.
    pub listing: Listing,
    /// Whether to show all that is known of each client and connection.
    pub long: bool,
    /// End after this time.
    pub duration: Option<Duration>,
    /// End after this many connections.
    pub count: Option<u64>,
}

/// What there is a line for, besides the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Lines {
    /// Each connection.
    #[default]
    Connections,
    /// Each client that is new in this run, except those in the file of known clients.
    NewClients,
    /// Each interval of this length.
    Intervals(Duration),
    /// Nothing.
    None,
}

/// How to list what was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listing {
    /// What connections are grouped by.
    pub by: Grouping,
    /// How many rows.
    pub top: Top,
}

/// How many rows to list at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Top {
    /// What the screen has room for, if there is a screen.
    #[default]
    Screen,
    /// All.
    All,
    /// So many.
    First(usize),
}

/// How a timestamp is written in a line of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// `Mon Mar 17 04:13:03 2014`
    #[default]
    Ctime,
    /// `2014-03-17T04:13:03.123456+00:00`, as RFC 3339 has it
    Iso,
    /// `1395029583.123456`, seconds since 1970 in UTC
    Epoch,
    /// `0.123456`, seconds since the line before
    Delta,
    /// `04:13:03.123456`, the time of day
    Short,
}

impl TimeFormat {
    /// All formats.
    pub const ALL: [Self; 5] = [
        Self::Ctime,
        Self::Iso,
        Self::Epoch,
        Self::Delta,
        Self::Short,
    ];

    /// The name that `--time` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ctime => "ctime",
            Self::Iso => "iso",
            Self::Epoch => "epoch",
            Self::Delta => "delta",
            Self::Short => "short",
        }
    }
}

impl ShowOptions {
    /// Whether connections, if not all, have a line of their own.
    #[must_use]
    pub fn wants_lines(&self) -> bool {
        match self.lines {
            Lines::Connections | Lines::NewClients => true,
            Lines::Intervals(_) | Lines::None => false,
        }
    }

    /// Whether the report is only about clients that are not in the file of known ones.
    #[must_use]
    pub fn reports_only_new(&self) -> bool {
        self.lines == Lines::None && self.known.is_some()
    }

    /// The length of the intervals that have a line.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        match self.lines {
            Lines::Intervals(length) => Some(length),
            Lines::Connections | Lines::NewClients | Lines::None => None,
        }
    }
}

impl TraceOptions {
    /// What the hook of the stage that is counted must know.
    #[must_use]
    pub fn needs(&self) -> Needs {
        Needs {
            task: self.show.listing.by.needs_task() || !self.task.is_empty(),
            netns: self.netns.one().is_some(),
            interface: self.interface.is_some(),
        }
    }
}
