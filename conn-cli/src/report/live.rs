//! What only a live run has to report.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    count::waits::Quantiles,
    model::{
        exactness::Exactness, hook::Hook, queues::Queues, self_test::SelfTestOutcome, stage::Stage,
    },
};

/// Why the count of a run is a lower bound in which [`Live::missed_in_cgroup`] is set.
pub(crate) const MISSED_IN_CGROUP: &str =
    "connections were accepted in the new cgroup before it counted";

/// Further results of a live run.
#[derive(Clone, Debug)]
pub struct Live {
    /// The stage that was to be counted.
    pub requested: Stage,
    /// The stage that is counted, the same or an earlier one; the others are earlier ones.
    pub counted: Stage,
    /// The hook that sees it.
    pub hook: Hook,
    /// Whether that hook is exact on this machine.
    pub exactness: Exactness,
    /// Whether the hooks saw the connections that conn-cli made to itself.
    pub self_test: SelfTestOutcome,
    /// What else limits the count, as was said at the start.
    pub limits: Vec<String>,
    /// Whether connections were accepted in a new cgroup of the path of `--cgroup` before it counted.
    pub missed_in_cgroup: bool,
    /// From when to when the probes were attached.
    pub period: (Timestamp, Timestamp),
    /// How long that was.
    pub elapsed: Duration,
    /// Of all connections, those that only the second hook of the pair saw.
    pub second_hook_only: u64,
    /// Counting by process, the name of each one's thread that accepted first, safe to show.
    pub process_names: HashMap<u32, Box<str>>,
    /// Connections that are counted under "other" because the kernel had no memory for their
    /// client, whose row may lack them.
    pub out_of_memory: u64,
    /// Connections in network namespaces of users, which are not counted. None if they are not told
    /// from others.
    pub of_users: Option<u64>,
    /// Connections that kernel threads accepted, which are not counted, as a filter cannot judge them.
    /// None if there is no such filter.
    pub by_kernel_threads: Option<u64>,
    /// Connections that came after the limit of `--count`, before the probes were detached.
    pub beyond_limit: u64,
    /// How many reached each watched stage, all clients together.
    pub stages: BTreeMap<Stage, u64>,
    /// How many of these came from clients for which there was no room.
    pub others: BTreeMap<Stage, u64>,
    /// How often the kernel did not run the program that sees completed handshakes, if that is an
    /// earlier stage and the kernel counts it.
    pub missed_established: Option<u64>,
    /// Retransmitted SYNs.
    pub repeated: u64,
    /// Whether there were so many SYNs that one that was sent again may have counted again.
    pub forgot_syns: bool,
    /// SYNs, retransmitted ones too, that TCP answered with a reset; None if that is not known.
    pub refused: Option<u64>,
    /// How many of these came from clients for which there was no room.
    pub other_refused: u64,
    /// The hook that sees SYNs, if they are watched.
    pub syn_hook: Option<Hook>,
    /// How long accepted connections had waited, if that is known.
    pub waits: Option<Quantiles>,
    /// The accept queues of the listeners; None if they are unknown.
    pub queues: Option<Queues>,
}

#[cfg(test)]
impl Live {
    /// A live run with only these values.
    pub(crate) fn sample(hook: Hook, elapsed: Duration) -> Self {
        Self {
            requested: Stage::Accepted,
            counted: hook.stage(),
            hook,
            exactness: Exactness::Exact("this kernel is not preemptible (none)".to_owned()),
            self_test: SelfTestOutcome::Passed,
            limits: Vec::new(),
            missed_in_cgroup: false,
            period: (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH),
            elapsed,
            second_hook_only: 0,
            process_names: HashMap::new(),
            out_of_memory: 0,
            of_users: None,
            by_kernel_threads: None,
            beyond_limit: 0,
            stages: BTreeMap::new(),
            others: BTreeMap::new(),
            missed_established: None,
            repeated: 0,
            forgot_syns: false,
            refused: None,
            other_refused: 0,
            syn_hook: None,
            waits: None,
            queues: None,
        }
    }
}
