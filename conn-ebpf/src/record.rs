//! Counting a connection, and reporting it. The totals are kept here, in the kernel,
//! so that they are exact whatever becomes of the reports.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
        bpf_get_current_uid_gid, bpf_ktime_get_boot_ns,
    },
    macros::map,
    maps::{Array, HashMap, RingBuf},
};
use conn_common::{ClientKey, Counters, Event};

use crate::{config, socket::Ends};

/// Connections of each client to each port. The user side sets the size.
#[map]
static CLIENTS: HashMap<ClientKey, u64> = HashMap::with_max_entries(65536, 0);

/// What is counted apart, in one entry.
#[map]
static COUNTERS: Array<Counters> = Array::with_max_entries(1, 0);

/// The events, on their way to be shown. The user side sets the size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// The task that a hook ran in.
#[derive(Clone, Copy)]
pub struct Task {
    comm: [u8; 16],
    cgroup: u64,
    pid: u32,
    tgid: u32,
    uid: u32,
}

impl Task {
    /// For a hook that runs in whatever task a packet interrupted.
    pub const UNKNOWN: Self = Self {
        comm: [0; 16],
        cgroup: 0,
        pid: 0,
        tgid: 0,
        uid: 0,
    };

    /// The task that runs now.
    #[inline(always)]
    #[must_use]
    pub fn current() -> Self {
        let pid_tgid = bpf_get_current_pid_tgid();
        Self {
            comm: bpf_get_current_comm().unwrap_or_default(),
            // SAFETY: the helper takes no argument and only reads the current task.
            cgroup: unsafe { bpf_get_current_cgroup_id() },
            pid: pid_tgid as u32,
            tgid: (pid_tgid >> 32) as u32,
            uid: bpf_get_current_uid_gid() as u32,
        }
    }
}

/// Counts the connection, and reports it where that is asked for. `task` and `netns`
/// are only called for a report.
#[inline(always)]
pub fn connection(
    ends: &Ends,
    hook: u16,
    task: impl FnOnce() -> Task,
    netns: impl FnOnce() -> u32,
) {
    count(&ClientKey {
        remote_address: ends.remote_address,
        local_port: u32::from(ends.local_port),
    });
    if !config::emits_events() {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        add_one(|counters| &raw mut counters.ring_full);
        return;
    };
    let task = task();
    entry.write(Event {
        // SAFETY: the helper takes no argument and reads a clock.
        time_ns: unsafe { bpf_ktime_get_boot_ns() },
        cgroup: task.cgroup,
        remote_address: ends.remote_address,
        local_address: ends.local_address,
        comm: task.comm,
        pid: task.pid,
        tgid: task.tgid,
        uid: task.uid,
        netns: netns(),
        remote_port: ends.remote_port,
        local_port: ends.local_port,
        family: ends.family,
        hook,
    });
    entry.submit(0);
}

/// Counts a connection that only the second hook of a pair saw.
#[inline(always)]
pub fn second_hook_only() {
    add_one(|counters| &raw mut counters.second_hook_only);
}

/// Counts a connection whose socket could not be read.
#[inline(always)]
pub fn unreadable() {
    add_one(|counters| &raw mut counters.unreadable);
}

#[inline(always)]
fn count(key: &ClientKey) {
    if let Some(total) = CLIENTS.get_ptr_mut(key) {
        return atomic_add_one(total);
    }
    if CLIENTS.insert(key, 1, u64::from(BPF_NOEXIST)).is_ok() {
        return;
    }
    // Either another CPU has inserted this client meanwhile, or the map is full.
    match CLIENTS.get_ptr_mut(key) {
        Some(total) => atomic_add_one(total),
        None => add_one(|counters| &raw mut counters.other_clients),
    }
}

#[inline(always)]
fn add_one(field: impl FnOnce(&mut Counters) -> *mut u64) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the pointer is to the array's only entry, which lives as long as the
        // map; `field` only takes an address, nothing is read or written through it.
        atomic_add_one(field(unsafe { &mut *counters }));
    }
}

/// One instruction, `BPF_XADD`, which every supported kernel has. The compiler offers no
/// atomic addition for this target, and one that fetches would need Linux 5.12.
#[inline(always)]
fn atomic_add_one(value: *mut u64) {
    // SAFETY: the callers pass pointers into map values, which are aligned to 8 bytes, are
    // never freed while a program runs, and are only ever added to.
    #[cfg(target_arch = "bpf")]
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) value, in(reg) 1_u64);
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = value;
}
