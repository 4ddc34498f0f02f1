//! Which connections are wanted. The programs check the local port before that, see
//! [`config::watched`](crate::config::watched).

use aya_ebpf::{
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_uid_gid},
    macros::map,
    maps::{Array, CgroupArray, LruHashMap},
};
use conn_common::{AF_INET, NetworkRange, to_v4};

use crate::{
    config::{is_on, setting},
    namespace::{self, Namespace, OfSocket},
    record,
    socket::{Ends, Fields},
    stage::Stage,
    task,
};

/// The networks of clients as ranges of addresses. A trie (`BPF_MAP_TYPE_LPM_TRIE`) takes several times the
/// instructions. The user side sets the size.
#[map]
static NETWORKS: Array<NetworkRange> = Array::with_max_entries(1, 0);

/// The cgroup in which connections must be accepted, if that filter is set.
#[map]
static CGROUPS: CgroupArray = CgroupArray::with_max_entries(1, 0);

/// The ids of cgroups in which connections were accepted that are unwanted for that alone. So the user
/// side, which replaces the wanted cgroup by a new one of the same path, knows whether that was in time.
/// The user side sets the size.
#[map]
static OTHER_CGROUPS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(1, 0);

/// Whether a connection between these ends is wanted, by the client's family and network and by the
/// server's address. Finds out the name of the client's network.
#[inline(always)]
#[must_use]
pub fn wants_ends(ends: &mut Ends) -> bool {
    let family = setting(|config| &config.family);
    // The family of the client's address, whichever family the server's socket has.
    let is_v4 = to_v4(ends.remote_address).is_some();
    if family != 0 && (family == u32::from(AF_INET)) != is_v4 {
        return false;
    }
    if is_on(|config| &config.by_local_address)
        && setting(|config| &config.local_address) != ends.local_address
    {
        return false;
    }
    let networks = setting(|config| &config.networks);
    if networks == 0 {
        return true;
    }
    let first = |index| NETWORKS.get(index).map(|range| range.first);
    let found = NetworkRange::search(ends.remote_address, networks, first);
    // Never `None`: the map has all these ranges.
    let Some(range) = found.and_then(|index| NETWORKS.get(index)) else {
        return false;
    };
    ends.network_name = range.name;
    range.passes != 0
}

/// Whether a connection that the running task accepts is wanted, by all filters.
#[inline(always)]
#[must_use]
pub fn wants_accepted(ends: &mut Ends, socket: &impl Fields) -> bool {
    if !is_on(|config| &config.filters) {
        return wants_namespace(&OfSocket(socket), Stage::Accepted);
    }
    if !wants_ends(ends) || !wants_comm() {
        return false;
    }
    let namespace = OfSocket(socket);
    if is_on(|config| &config.by_owner) {
        let is_judged = !task::is_kernel_thread();
        if is_judged && !wants_owner(&namespace) || !wants_namespace(&namespace, Stage::Accepted) {
            return false;
        }
        if !is_judged {
            record::by_kernel_thread();
        }
        return is_judged;
    }
    wants_namespace(&namespace, Stage::Accepted)
}

/// Whether it depends on the network namespace which connections are wanted.
#[inline(always)]
#[must_use]
pub fn is_by_namespace() -> bool {
    setting(|config| &config.netns) != 0 || is_on(|config| &config.without_users)
}

/// Whether connections in this network namespace are wanted. Comes last: one that is not, as the
/// namespace is a user's, is counted as such.
#[inline(always)]
#[must_use]
pub fn wants_namespace(namespace: &impl Namespace, stage: Stage) -> bool {
    let is_wanted = is_wanted_namespace(namespace);
    if !is_wanted && setting(|config| &config.netns) == 0 {
        record::of_user(stage);
    }
    is_wanted
}

/// The same without counting.
#[inline(always)]
#[must_use]
pub fn is_wanted_namespace(namespace: &impl Namespace) -> bool {
    let netns = setting(|config| &config.netns);
    if netns != 0 {
        return namespace.inode() == netns;
    }
    !is_on(|config| &config.without_users) || !namespace::is_of_user(namespace)
}

#[inline(always)]
fn wants_comm() -> bool {
    !is_on(|config| &config.by_comm) || task::name() == setting(|config| &config.comm)
}

/// Whether connections that the running task's process, user and cgroup accept are wanted.
#[inline(always)]
fn wants_owner(namespace: &impl Namespace) -> bool {
    let tgid = setting(|config| &config.tgid);
    if tgid != 0 && task::tgid() != tgid {
        return false;
    }
    if is_on(|config| &config.by_uid)
        && bpf_get_current_uid_gid() as u32 != setting(|config| &config.uid)
    {
        return false;
    }
    !is_on(|config| &config.by_cgroup) || is_in_cgroup(namespace)
}

#[inline(always)]
fn is_in_cgroup(namespace: &impl Namespace) -> bool {
    let is_in = CGROUPS.current_task_under_cgroup(0) == Ok(true);
    if !is_in && is_wanted_namespace(namespace) {
        // SAFETY: the helper only reads the current task.
        let id = unsafe { bpf_get_current_cgroup_id() };
        if OTHER_CGROUPS.get_ptr(id).is_none() {
            let _ = OTHER_CGROUPS.insert(id, 1, 0);
        }
    }
    is_in
}
