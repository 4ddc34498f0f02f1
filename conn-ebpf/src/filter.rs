//! Which connections are wanted, apart from their local port, which comes first of all.

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

/// Networks of clients, in the form of [`Address`]; the longest prefix decides. The value is
/// not 0 if its clients pass. The user side sets the size.
#[map]
static NETWORKS: LpmTrie<Address, u32> = LpmTrie::with_max_entries(1, 0);

/// The cgroup that must accept, if one must.
#[map]
static CGROUPS: CgroupArray = CgroupArray::with_max_entries(1, 0);

/// The bits of an address.
const WHOLE: u32 = 128;

/// Whether a connection between these ends is wanted.
#[inline(always)]
#[must_use]
pub fn wants_ends(ends: &Ends) -> bool {
    let family = setting(|config| &config.family);
    // Whichever family the server's socket has.
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
        return match NETWORKS.get(Key::new(WHOLE, ends.remote_address)) {
            Some(passes) => *passes != 0,
            None => is_on(|config| &config.pass_others),
        };
    }
    true
}

/// Whether a connection is wanted that the running task accepts.
#[inline(always)]
#[must_use]
pub fn wants_accepted(ends: &Ends, socket: &impl Fields) -> bool {
    !is_on(|config| &config.filters)
        || wants_ends(ends) && wants_namespace(|| socket.netns()) && wants_task()
}

/// Whether connections in this network namespace are wanted.
#[inline(always)]
#[must_use]
pub fn wants_namespace(of_socket: impl FnOnce() -> u32) -> bool {
    let netns = setting(|config| &config.netns);
    netns == 0 || of_socket() == netns
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
    // SAFETY: both words are set, volatile lest the compiler call memset, since Linux 6.1's helper
    // leaves what is behind the name as it is; it has the 16 bytes that the helper is told of.
    unsafe {
        let words = comm.as_mut_ptr().cast::<u64>();
        words.write_volatile(0);
        words.add(1).write_volatile(0);
        bpf_get_current_comm(words.cast(), 16);
        comm.assume_init()
    }
}
