//! What is known of a run at one moment, for metrics: plain data.

use std::net::IpAddr;

use conn_common::Stages;
use jiff::Timestamp;

use super::{
    discrepancies::Discrepancies, hook::Hook, listener_gauges::ListenerGauges, names::NetworkNames,
    stage::Stage,
};

/// The figures of a run so far. Those that count never go back.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When the hooks were attached.
    pub started: Timestamp,
    /// The watched stages, ascending, and the hook that sees each. The last one is counted.
    pub hooks: Vec<(Stage, Hook)>,
    /// Whether the hook of the counted stage sees every connection here.
    pub is_exact: bool,
    /// Whether the hooks saw conn-cli's last connection to itself, and when they last saw one; None if they
    /// are not tested.
    pub self_test: Option<(bool, Timestamp)>,
    /// The connections, by port and name of the client's network.
    pub series: Vec<Series>,
    /// The names of networks, which [`Series::name`] is an index into.
    pub names: &'static NetworkNames,
    /// Whether the hook that sees SYNs knows which were answered with a reset.
    pub knows_refused: bool,
    /// How long connections waited to be accepted; None if the hook does not know.
    pub waits: Option<Waits>,
    /// How many pairs of address and port were new; None if connections are counted by something else.
    pub new_clients: Option<u64>,
    /// The first clients with a series of their own, and the sum of all others; None if that is not asked for.
    pub clients: Option<(Vec<(IpAddr, Stages)>, Stages)>,
    /// The listeners, as of the last look at them.
    pub listeners: ListenerGauges,
    /// What may make the count wrong, so far.
    pub discrepancies: Discrepancies,
    /// What is counted, but not in full.
    pub incomplete: Incomplete,
}

/// The connections to a port, from networks of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// The port; None for all that have no series of their own.
    pub port: Option<u16>,
    /// The index of the name.
    pub name: usize,
    /// The connections at each stage.
    pub stages: Stages,
}

/// How long connections waited to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The count of each step, as [`conn_common::WAIT_STEPS`] defines them.
    pub steps: Vec<u64>,
    /// The sum of the waits in nanoseconds.
    pub sum_ns: u64,
}

/// Connections by stage that are counted, and of which something else is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incomplete {
    /// They found no room in the buffer, so that there is no line for them.
    pub not_shown: Stages,
    /// Their clients are beyond `--max-clients`, and have no row in the summary.
    pub beyond_max_clients: Stages,
    /// The kernel had no memory for their clients, which have no row either.
    pub out_of_memory: Stages,
}
