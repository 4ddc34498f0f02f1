//! Which connections are wanted. The programs check the local port before that, see
//! [`config::watched`](crate::config::watched).

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid, generated::bpf_get_current_comm},
    macros::map,
    maps::{CgroupArray, LpmTrie, lpm_trie::Key},
};
use conn_common::{AF_INET, Address, to_v4};

use crate::{
    config::{is_on, setting},
    socket::{Ends, Fields},
};

/// Networks of clients, in the form of [`Address`]; the longest matching prefix decides. The value
/// is not 0 if its clients pass. The user side sets the size.
#[map]
static NETWORKS: LpmTrie<Address, u32> = LpmTrie::with_max_entries(1, 0);

/// The cgroup in which connections must be accepted, if that filter is set.
#[map]
static CGROUPS: CgroupArray = CgroupArray::with_max_entries(1, 0);

/// The length of an address as a prefix.
const ADDRESS_BITS: u32 = 128;

/// Whether a connection between these ends is wanted, by the client's family and network and by the
/// server's address.
#[inline(always)]
#[must_use]
pub fn wants_ends(ends: &Ends) -> bool {
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
    if is_on(|config| &config.by_network) {
        return match NETWORKS.get(Key::new(ADDRESS_BITS, ends.remote_address)) {
            Some(passes) => *passes != 0,
            None => is_on(|config| &config.pass_others),
        };
    }
    true
}

/// Whether a connection that the running task accepts is wanted, by all filters.
#[inline(always)]
#[must_use]
pub fn wants_accepted(ends: &Ends, socket: &impl Fields) -> bool {
    !is_on(|config| &config.filters)
        || wants_ends(ends) && wants_namespace(|| socket.netns()) && wants_task()
}

/// Whether connections in the socket's network namespace are wanted. `socket_netns` returns its
/// inode number, 0 if it is not known; it is only called if this filter is set.
#[inline(always)]
#[must_use]
pub fn wants_namespace(socket_netns: impl FnOnce() -> u32) -> bool {
    let netns = setting(|config| &config.netns);
    netns == 0 || socket_netns() == netns
}

#[inline(always)]
fn wants_task() -> bool {
    let tgid = setting(|config| &config.tgid);
    if tgid != 0 && (bpf_get_current_pid_tgid() >> 32) as u32 != tgid {
        return false;
    }
    if is_on(|config| &config.by_uid)
        && bpf_get_current_uid_gid() as u32 != setting(|config| &config.uid)
    {
        return false;
    }
    if is_on(|config| &config.by_comm) && comm() != setting(|config| &config.comm) {
        return false;
    }
    !is_on(|config| &config.by_cgroup) || CGROUPS.current_task_under_cgroup(0) == Ok(true)
}

/// The name of the running thread, padded with NUL.
#[inline(always)]
pub(crate) fn comm() -> [u64; 2] {
    let mut comm = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: both words are set first, since Linux 6.1's helper does not write behind the name;
    // volatile, or the compiler would call memset. The buffer has the 16 bytes that are passed as
    // its size.
    unsafe {
        let words = comm.as_mut_ptr().cast::<u64>();
        words.write_volatile(0);
        words.add(1).write_volatile(0);
        bpf_get_current_comm(words.cast(), 16);
        comm.assume_init()
    }
}
