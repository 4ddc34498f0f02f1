//! What a run asks of the programs.

use std::rc::Rc;

use conn_common::{PortBits, UNKNOWN_OFFSET};

use super::{KernelTypes, OverClock, SelfTest, SeriesSettings, Sizes, SynScope};
use crate::model::{
    demand::Demand,
    filter::{EndsFilter, TaskFilter},
    group::Grouping,
    hook::{Hook, Needs},
    stage::WatchedStages,
};

/// The configuration of the programs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The local ports to watch.
    pub ports: Box<PortBits>,
    /// What is known about the kernel's types.
    pub types: KernelTypes,
    /// The requested stages.
    pub stages: WatchedStages,
    /// Where to look for SYNs.
    pub syn_scope: SynScope,
    /// The filter on addresses.
    pub ends: EndsFilter,
    /// The filter on accepting tasks.
    pub task: TaskFilter,
    /// The network namespaces.
    pub namespaces: NamespaceFilter,
    /// What to count by.
    pub by: Grouping,
    /// What the programs report, besides the totals.
    pub demand: Demand,
    /// What is too many connections, if there is a line for that.
    pub over: Option<OverClock>,
    /// How large the ring buffer and the maps of totals are.
    pub sizes: Sizes,
    /// conn-cli's own connection, or why there is none.
    pub self_test: Rc<Result<SelfTest, String>>,
    /// Whether the programs log diagnostics.
    pub verbose: bool,
    /// Whether the programs count for [`super::Tracer::sums`].
    pub sums: bool,
    /// What they count of labels.
    pub series: SeriesSettings,
}

/// The network namespaces whose connections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceFilter {
    /// All but those of users.
    Machine,
    /// All.
    All,
    /// The one with this inode number.
    One(u32),
}

/// What the programs count apart from the totals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Apart {
    /// Connections in network namespaces of users.
    pub(super) users: bool,
    /// Connections that kernel threads accepted: a filter is about who does.
    pub(super) kernel_threads: bool,
}

impl NamespaceFilter {
    /// The inode number, if only one is traced.
    #[must_use]
    pub fn one(self) -> Option<u32> {
        match self {
            Self::One(inode) => Some(inode),
            Self::Machine | Self::All => None,
        }
    }
}

impl Settings {
    /// Whether a filter excludes some connections of the traced namespaces.
    #[must_use]
    pub fn leaves_out(&self) -> bool {
        self.ends != EndsFilter::default() || !self.task.is_empty()
    }

    /// Whether the series have what is counted of each group, so that no client need be counted.
    pub(super) fn counts_in_series(&self) -> bool {
        self.series.have_groups(self.by, &self.ports)
    }

    /// What the programs leave out of the totals.
    pub(super) fn apart(&self) -> Apart {
        let offsets = &self.types.offsets;
        let task = &self.task;
        Apart {
            users: self.namespaces == NamespaceFilter::Machine
                && ![offsets.net, offsets.netns_owner, offsets.user_ns_level]
                    .contains(&UNKNOWN_OFFSET),
            kernel_threads: task.pid.is_some() || task.uid.is_some() || task.cgroup.is_some(),
        }
    }

    /// This process's id, if the programs can compare it.
    pub(super) fn own_tgid(&self) -> Option<u32> {
        self.types.knows_ids().then(std::process::id)
    }

    /// Whether network namespaces of users cannot be told from others.
    #[must_use]
    pub fn must_count_users(&self) -> bool {
        // Its BTF says where a kernel has no namespaces.
        self.namespaces == NamespaceFilter::Machine && !self.types.has_btf()
    }

    /// Whether this hook can see conn-cli's own connection: the filter looks for SYNs in one network
    /// namespace, perhaps on one interface.
    pub(super) fn is_testable(&self, hook: Hook) -> bool {
        hook != Hook::Filter || self.syn_scope == SynScope::default()
    }

    /// What the hooks of the earlier stages must know.
    pub(super) fn needs_earlier(&self) -> Needs {
        Needs {
            task: false,
            netns: self.namespaces.one().is_some(),
            interface: self.syn_scope.interface.is_some(),
        }
    }
}
