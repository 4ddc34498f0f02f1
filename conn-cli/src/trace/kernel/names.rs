//! The names of the maps and settings in the eBPF objects (`conn-ebpf`).

/// The totals of clients that have got further than a SYN.
pub(super) const CLIENTS: &str = "CLIENTS";
/// The totals of clients that have only sent SYNs.
pub(super) const SYN_CLIENTS: &str = "SYN_CLIENTS";
/// The SYNs that are remembered, to recognise retransmitted ones.
pub(super) const SYNS: &str = "SYNS";
/// The ring buffer of events.
pub(super) const EVENTS: &str = "EVENTS";
/// The names of processes, counting by them.
pub(super) const NAMES: &str = "NAMES";
/// The counters, which are mapped into memory.
pub(super) const COUNTERS: &str = "COUNTERS";
/// The histograms of waits, which are mapped as well.
pub(super) const WAITS: &str = "WAITS";
/// The clients with the most connections beyond the room of the totals, which are mapped as well.
pub(super) const HEAVY: &str = "HEAVY";
/// The connections by port and name, which are mapped as well.
pub(super) const SERIES: &str = "SERIES";
/// The number of each port's label.
pub(super) const PORT_LABELS: &str = "PORT_LABELS";
/// The connections of the first clients, which are mapped as well.
pub(super) const FIRST_CLIENTS: &str = "FIRST_CLIENTS";
/// Where each of them is in that map, and where there is none.
pub(super) const FIRST_INDICES: &str = "FIRST_INDICES";
pub(super) const FREE_INDICES: &str = "FREE_INDICES";
/// The counts of `--over`.
pub(super) const OVER: &str = "OVER";
/// What these lack, which is mapped as well.
pub(super) const OVER_COUNTERS: &str = "OVER_COUNTERS";
/// The names of networks that these are of.
pub(super) const OVER_NAMES: &str = "OVER_NAMES";
/// The networks of clients that are wanted, or have a name.
pub(super) const NETWORKS: &str = "NETWORKS";
/// The cgroup that must accept.
pub(super) const CGROUPS: &str = "CGROUPS";
/// Cgroups in which others accepted.
pub(super) const OTHER_CGROUPS: &str = "OTHER_CGROUPS";
/// aya's ring buffer of diagnostics.
pub(super) const LOGS: &str = "AYA_LOGS";

/// The setting with the configuration.
pub(super) const CONFIG: &str = "CONFIG";
/// The setting of `--over`.
pub(super) const OVER_CONFIG: &str = "OVER_CONFIG";
/// The setting with the offsets of a socket's fields.
pub(super) const OFFSETS: &str = "OFFSETS";
/// The setting with the offsets of a task's fields.
pub(super) const TASK_OFFSETS: &str = "TASK_OFFSETS";
/// The setting with the offsets that the programs which see SYNs in TCP need.
pub(super) const REQUEST_OFFSETS: &str = "REQUEST_OFFSETS";
/// The setting with the watched ports.
pub(super) const PORTS: &str = "PORTS";
