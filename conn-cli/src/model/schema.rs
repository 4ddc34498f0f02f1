//! The JSON Lines of conn-cli, which `output` writes and `read` reads back: the same types for
//! both. The names of the fields are documented and do not change. Fields that a line lacks were
//! unknown, or are not known to the conn-cli that wrote it. Fields that `read` does not need are not
//! parsed, so that another conn-cli may have written something else there.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    connection::{Family, Lacks, Record},
    stage::Stage,
};

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Type {
    /// A connection at the counted stage.
    Connection,
    /// A connection at an earlier stage. It gets its own line if it reaches the counted stage.
    Stage,
    /// The count of an interval, in place of a line for each connection.
    Interval,
    /// Somebody makes too many connections, or no longer does.
    Over,
    /// The last line of a run.
    Summary,
    /// The same so far, when a signal asked for it.
    Totals,
    /// An address in two inputs.
    Comparison,
    /// The last line of a comparison.
    #[serde(rename = "comparison-summary")]
    ComparisonSummary,
    /// A kind that this conn-cli does not know.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// The kind of a line, without the rest of it.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Typed {
    /// The kind.
    pub r#type: Type,
}

/// A time.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum TimeField<'a> {
    /// As RFC 3339 has it.
    Text(Cow<'a, str>),
    /// With `--time epoch`: seconds since 1970, in microseconds.
    Epoch(f64),
}

/// A connection.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ConnectionLine<'a> {
    /// `connection`, or `stage` before the counted stage.
    #[cfg_attr(test, schemars(extend("enum" = ["connection", "stage"])))]
    pub r#type: Type,
    /// The stage, if several are watched.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The machine that it was recorded on, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// When it got there.
    #[serde(default)]
    pub time: Option<TimeField<'a>>,
    /// The time of a record that is not a complete timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_time: Option<Cow<'a, str>>,
    /// What that time lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<Lacks>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<IpAddr>,
    /// The client's name, if a record has that in place of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<Cow<'a, str>>,
    /// The name of its network, of those that `--name` gives.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub network_name: Option<Cow<'a, str>>,
    /// The client's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<u16>,
    /// The server's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// The server's name, if a record has that in place of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_name: Option<Cow<'a, str>>,
    /// The server's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// The family of the server's socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The accepting process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The accepting thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// The thread's name, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comm: Option<Cow<'a, str>>,
    /// The user of the accepting process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The cgroup v2 id of the accepting process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// Whether a kernel thread accepted it; left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kernel_thread: bool,
    /// The inode number of the network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// How long it waited to be accepted, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<f64>,
    /// The hook that saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Cow<'a, str>>,
    /// The record that it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Record>,
}

/// The last line of a run, or its totals so far. What is only known of a live run is None in one of records, and the
/// other way round.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SummaryLine<'a> {
    /// `summary` or `totals`
    #[cfg_attr(test, schemars(extend("enum" = ["summary", "totals"])))]
    pub r#type: Type,
    /// The machine that all connections were recorded on, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// Live: the hook of the counted stage.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Cow<'a, str>>,
    /// Live: whether that counted every connection.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// Live: why, or why not.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub exact_reason: Option<Cow<'a, str>>,
    /// Live: whether the hooks saw conn-cli's own connections.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub self_test: Option<SelfTestFields<'a>>,
    /// Live: `begin`, by the name that it had first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<TimeField<'a>>,
    /// Live: when the probes were attached. Records: the time of the first connection, if that of all is known.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub begin: Option<TimeField<'a>>,
    /// Live: when they were detached, or now, if it still runs. Records: the time of the last connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<TimeField<'a>>,
    /// Live: how long the probes were attached.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Live: connections that only the second hook of the pair saw.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub second_hook_only: Option<u64>,
    /// Live: connections for whose client the kernel had no memory.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub out_of_memory: Option<u64>,
    /// Live: connections in network namespaces of users, which are not counted; not with `--netns`.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub user_namespaces: Option<u64>,
    /// Live, with `--pid`, `--uid` or `--cgroup`: connections that kernel threads accepted, which these
    /// cannot judge, and which are not counted.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub kernel_threads: Option<u64>,
    /// Live, with several stages: how many connections reached each.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub stages: Option<Cow<'a, BTreeMap<Stage, u64>>>,
    /// Live, with several stages: how many of these are of clients for which there was no room.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub other_stages: Option<Cow<'a, BTreeMap<Stage, u64>>>,
    /// Live, with several stages: the stages whose figures are lower bounds.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub stages_at_least: Option<BTreeSet<Stage>>,
    /// Live: how often the kernel skipped the program of the established stage.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub missed_runs_established: Option<u64>,
    /// Live, with SYNs: retransmitted ones.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub repeated_syns: Option<u64>,
    /// Live, with SYNs: those that TCP answered with a reset; null if that is not known.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub refused_syns: Option<Option<u64>>,
    /// Live, with SYNs: the hook that saw them.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub syn_probe: Option<Cow<'a, str>>,
    /// Live, with SYNs: which SYNs that hook sees.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub syn_counts: Option<Cow<'a, str>>,
    /// Live: how long connections waited.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub waits: Option<WaitFields>,
    /// Live: who listens.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<ListenerEntry<'a>>>,
    /// Records: their formats.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub formats: Option<Vec<Cow<'a, str>>>,
    /// Records: the number of lines.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Records: the number of packets.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Records: how many could not be parsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_understood: Option<u64>,
    /// Records: the first of them, and why; null if there is none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub first_not_understood: Option<Option<Cow<'a, str>>>,
    /// Records: JSON objects of an unknown type, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_type: Option<u64>,
    /// Records: retransmitted SYNs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
    /// Records: those of them that are known by their addresses and ports only, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated_by_ports: Option<u64>,
    /// Records: how many more are of a SYN that another record is of, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<u64>,
    /// Whether there were so many SYNs that one that was sent again may have counted again; left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgot_syns: bool,
    /// Records: whether the connections of some clients are lower bounds, as conn-cli had no room for them at
    /// first; left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lower_bounds: bool,
    /// Records: SYNs inside of tunnels, which are not counted, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner: Option<u64>,
    /// Records: connections without a local port, which are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_port: Option<u64>,
    /// Records: connections without a client, which are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_client: Option<u64>,
    /// Records, with `--since` or `--until`: connections without a time, which are not counted, if there
    /// are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_time: Option<u64>,
    /// All connections.
    #[serde(skip_deserializing)]
    pub connections: u64,
    /// Whether that is a lower bound.
    #[serde(default)]
    pub at_least: bool,
    /// What connections are grouped by, if not by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Cow<'a, str>>,
    /// How many addresses have a connection.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<usize>,
    /// How many groups have a connection, if not grouped by address.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// With `--quiet --known`: only clients that are not in the file are counted; left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_new: bool,
    /// Connections with a line of their own.
    #[serde(default)]
    pub lines_shown: u64,
    /// Of these, those at the counted stage, if there are several stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_lines: Option<u64>,
    /// Connections without a line of their own though one was requested.
    #[serde(skip_deserializing)]
    pub lines_not_shown: u64,
    /// Connections whose client is unknown.
    #[serde(default)]
    pub unknown_clients: u64,
    /// Connections of clients for which there was no room.
    #[serde(default)]
    pub other_clients: u64,
    /// With `--long`, if there was no room for the details of all: how many clients have them, those that came
    /// first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detailed_clients: Option<usize>,
    /// Sockets that could not be read.
    #[serde(default)]
    pub unreadable: u64,
    /// Live, with SYNs: packets that may be SYNs and could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable_packets: Option<u64>,
    /// How often the kernel skipped the program that counts; null if it does not tell.
    #[serde(default)]
    pub missed_runs: Option<u64>,
    /// Connections that neither arrived nor were counted as lost.
    #[serde(default)]
    pub unaccounted: u64,
    /// The clients that `--top` left off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_off: Option<LeftOffEntry>,
    /// The clients, or other groups.
    pub clients: Vec<ClientEntry<'a>>,
}

/// What conn-cli's connections to itself have shown.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SelfTestFields<'a> {
    /// `passed`, `silent` or `not tested`.
    pub result: Cow<'a, str>,
    /// The hook that is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<Cow<'a, str>>,
    /// Why it is silent, or not tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// The last time that it was not silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<TimeField<'a>>,
}

/// How long connections waited, in seconds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WaitFields {
    /// Of how many connections the wait is known.
    pub known: u64,
    /// Half of them waited no longer.
    pub p50: f64,
    /// 90 % of them waited no longer.
    pub p90: f64,
    /// 99 % of them waited no longer.
    pub p99: f64,
    /// None of them waited longer.
    pub longest: f64,
}

/// A listener at the end of a run.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListenerEntry<'a> {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The inode number of its network namespace.
    pub netns: u32,
    /// The first of its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The name of that process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<Cow<'a, str>>,
    /// How many threads waited in accept at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads_in_accept: Option<u32>,
    /// How many connections wait.
    pub waiting: u32,
    /// How many may wait.
    pub limit: u32,
    /// How many packets it dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u32>,
}

/// The sum of the clients that are not listed.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LeftOffEntry {
    /// How many.
    #[serde(skip_deserializing)]
    pub clients: usize,
    /// Their connections.
    pub connections: u64,
    /// How many reached each earlier stage.
    #[serde(flatten, skip_deserializing)]
    pub earlier: EarlierStages,
    /// With SYNs: how many TCP answered with a reset, if that is known.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

/// A client, or another group.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClientEntry<'a> {
    /// By address: the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The name, of a client, cgroup or user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// By network: the network.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub network: Option<Cow<'a, str>>,
    /// The name of the network, of those that `--name` gives.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub network_name: Option<Cow<'a, str>>,
    /// By port, alone or with another: the port.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// By process: the process id.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// By process: its name, escaped.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub comm: Option<Cow<'a, str>>,
    /// By process, cgroup or user: whether it is a kernel thread, or all of them; left out if not.
    #[serde(skip_deserializing, skip_serializing_if = "std::ops::Not::not")]
    pub kernel_thread: bool,
    /// By cgroup: the id.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// By user: the id.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its connections.
    pub connections: u64,
    /// Whether `connections` is a lower bound, as there was no room for the client at first; left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// Then: how many more it had at most to its `ports`. They are in `other_clients`.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub error: Option<u64>,
    /// How many reached each earlier stage.
    #[serde(flatten, skip_deserializing)]
    pub earlier: EarlierStages,
    /// With SYNs: how many TCP answered with a reset, if that is known.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// Its connections to each known local port.
    #[serde(default)]
    pub ports: Cow<'a, BTreeMap<u16, u64>>,
    /// With `--long`: the time of the first connection; null if that is not known.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Option<TimeField<'a>>>,
    /// With `--long`: the time of the last connection; null if that is not known.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Option<TimeField<'a>>>,
    /// With `--long`: the most connections in a second.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub peak_per_second: Option<u64>,
    /// With `--long`: the mean wait in seconds.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub mean_wait: Option<f64>,
    /// With `--long`: the longest wait in seconds.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub longest_wait: Option<f64>,
}

/// How many connections reached each stage before the counted one, if it is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EarlierStages {
    /// SYNs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syn: Option<u64>,
    /// Completed handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub established: Option<u64>,
}

/// The count of an interval.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct IntervalLine<'a> {
    /// `interval`
    #[cfg_attr(test, schemars(extend("enum" = ["interval"])))]
    pub r#type: Type,
    /// The machine that conn-cli runs on, or the one of `--host`, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// Its start; null if that is only known relative to a boot.
    pub start: Option<TimeField<'a>>,
    /// Records whose times are since boot: its start, in seconds since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_boot: Option<f64>,
    /// Its length.
    pub seconds: f64,
    /// The connections in it; null, like the other figures, if it was not measured.
    pub connections: Option<u64>,
    /// Of these, those of which only the number is known.
    pub lost: Option<u64>,
    /// Live: how many packets listeners on the ports have dropped since the end of the last interval that
    /// has this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// The addresses that they are from.
    pub addresses: Option<usize>,
    /// Connections in a second.
    pub rate: Option<f64>,
    /// The client with the most connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest_address: Option<IpAddr>,
    /// Its name, if a record has that in place of an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest_name: Option<Cow<'a, str>>,
    /// Its connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest_connections: Option<u64>,
    /// Whether the interval is not a whole one.
    pub partial: bool,
    /// How many empty intervals before it have no line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_empty: Option<u64>,
    /// How many intervals this line is for, between inputs or runs, of which there are no records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_measured: Option<u64>,
}

/// Who makes too many connections, or no longer does (`--over`).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OverLine<'a> {
    /// `over`
    #[cfg_attr(test, schemars(extend("enum" = ["over"])))]
    pub r#type: Type,
    /// The machine that conn-cli runs on, or the one of `--host`, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// When that became known.
    pub time: TimeField<'a>,
    /// Whether there are too many in this interval; false if there were in one before, and not until this ended.
    pub above: bool,
    /// By address: the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The name of a cgroup or user, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// By network: the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Cow<'a, str>>,
    /// By name: the name. By address: that of its network, of those that `--name` gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_name: Option<Cow<'a, str>>,
    /// By port, alone or with another: the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// By process: the process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// By process, cgroup or user: whether it is a kernel thread, or all of them; left out if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kernel_thread: bool,
    /// By cgroup: the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// By user: the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// How many connections in an interval are not too many.
    pub limit: u32,
    /// The length of an interval.
    pub seconds: u64,
    /// When this interval began.
    pub start: TimeField<'a>,
    /// How many connections there were in it by then; left out if it ended without too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
}

impl TimeField<'_> {
    /// The timestamp, if it is one.
    #[must_use]
    pub(crate) fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => text.parse().ok(),
            // Up to the year 2106, the nearest number has the right microsecond. The cast saturates.
            Self::Epoch(seconds) => {
                Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()
            }
        }
    }
}

/// An address in two inputs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ComparisonLine<'a> {
    /// `comparison`
    #[cfg_attr(test, schemars(extend("enum" = ["comparison"])))]
    pub r#type: Type,
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The name, if a record has that in place of an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// Its connections in the first input.
    pub before: u64,
    /// Its connections in the second input.
    pub after: u64,
    /// How many more there are in the second.
    pub difference: i128,
    /// Which inputs it is in.
    pub r#in: Presence,
}

/// Which of two inputs an address is in.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    /// Both.
    Both,
    /// Only the second.
    New,
    /// Only the first.
    Gone,
}

/// The last line of a comparison.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ComparisonSummary<'a> {
    /// `comparison-summary`
    #[cfg_attr(test, schemars(extend("enum" = ["comparison-summary"])))]
    pub r#type: Type,
    /// The first input.
    pub before: ComparisonSide<'a>,
    /// The second input.
    pub after: ComparisonSide<'a>,
    /// How many addresses are only in the second.
    pub new: usize,
    /// How many addresses are only in the first.
    pub gone: usize,
    /// Connections whose client is unknown.
    pub unknown_clients: ComparedCounts,
    /// Connections of the addresses that `--top` left off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_off: Option<LeftOffComparison>,
}

/// An input of a comparison.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ComparisonSide<'a> {
    /// Its name, escaped.
    pub input: Cow<'a, str>,
    /// Its connections.
    pub connections: u64,
    /// How many addresses they are from.
    pub addresses: usize,
}

/// Connections in two inputs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ComparedCounts {
    /// In the first.
    pub before: u64,
    /// In the second.
    pub after: u64,
}

/// The addresses that are not listed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LeftOffComparison {
    /// How many.
    pub addresses: usize,
    /// Their connections.
    #[serde(flatten)]
    pub counts: ComparedCounts,
}

impl EarlierStages {
    /// From the counts at the stages.
    #[must_use]
    pub(crate) fn new(counts: &BTreeMap<Stage, u64>) -> Self {
        let at = |stage| counts.get(&stage).copied();
        Self {
            syn: at(Stage::Syn),
            established: at(Stage::Established),
        }
    }
}

/// A value that is there, even if it is null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
