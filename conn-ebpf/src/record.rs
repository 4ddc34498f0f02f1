//! Counting a connection, and reporting it. The totals are kept here, in the kernel,
//! so that they are exact whatever becomes of the reports.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        bpf_ktime_get_boot_ns, generated::bpf_get_current_comm,
    },
    macros::map,
    maps::{Array, HashMap, RingBuf},
};
use conn_common::{ClientKey, Counters, Event};

use crate::{
    config,
    socket::{Ends, Socket},
};

/// Connections of each client to each port. The user side sets the size.
#[map]
static CLIENTS: HashMap<ClientKey, u64> = HashMap::with_max_entries(65536, 0);

/// What is counted apart, in one entry.
#[map]
static COUNTERS: Array<Counters> = Array::with_max_entries(1, 0);

/// The events, on their way to be shown. The user side sets the size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// In which task a hook runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// In the one that accepts the connection.
    Accepting,
    /// In whatever task a packet interrupted: nothing to report.
    Any,
}

/// Counts the connection, and reports it where that is asked for.
#[inline(always)]
pub fn connection(ends: &Ends, hook: u16, task: Task, socket: Socket) {
    count(&ClientKey {
        remote_address: ends.remote_address,
        local_port: u32::from(ends.local_port),
    });
    if !config::emits_events() {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        add_one(offset_of!(Counters, ring_full));
        return;
    };
    // SAFETY: the entry is as large as an Event, aligned for it, and ours until submitted.
    // Every field is written; field by field, since the compiler would build the whole
    // elsewhere and call memcpy.
    unsafe {
        let event = entry.as_mut_ptr();
        (*event).time_ns = bpf_ktime_get_boot_ns();
        (*event).remote_address = ends.remote_address;
        (*event).local_address = ends.local_address;
        (*event).remote_port = ends.remote_port;
        (*event).local_port = ends.local_port;
        (*event).family = ends.family;
        (*event).hook = hook;
        (*event).netns = socket.netns();
        write_task(event, task);
    }
    entry.submit(0);
}

/// Writes the fields that tell of the running task.
///
/// # Safety
/// `event` is valid for writes.
#[inline(always)]
unsafe fn write_task(event: *mut Event, task: Task) {
    let known = task == Task::Accepting;
    let pid_tgid = if known { bpf_get_current_pid_tgid() } else { 0 };
    // SAFETY: the caller's; `comm` has the 16 bytes that the helper is told of and is
    // aligned to 8, as the two words are; the helpers only read the current task. On
    // failure bpf_get_current_comm writes zeros.
    unsafe {
        let comm = &raw mut (*event).comm;
        (*event).pid = pid_tgid as u32;
        (*event).tgid = (pid_tgid >> 32) as u32;
        if known {
            (*event).uid = bpf_get_current_uid_gid() as u32;
            (*event).cgroup = bpf_get_current_cgroup_id();
            bpf_get_current_comm(comm.cast(), 16);
        } else {
            (*event).uid = 0;
            // Volatile, or the compiler would call memset for them.
            (&raw mut (*event).cgroup).write_volatile(0);
            comm.cast::<u64>().write_volatile(0);
            comm.cast::<u64>().add(1).write_volatile(0);
        }
    }
}

/// Counts a connection that only the second hook of a pair saw.
#[inline(always)]
pub fn second_hook_only() {
    add_one(offset_of!(Counters, second_hook_only));
}

/// Counts a connection whose socket could not be read.
#[inline(always)]
pub fn unreadable() {
    add_one(offset_of!(Counters, unreadable));
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
        None => add_one(offset_of!(Counters, other_clients)),
    }
}

/// Adds one to the counter at this place in [`Counters`].
#[inline(always)]
fn add_one(offset: usize) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: `offset` is that of a u64 in Counters, which the pointer points to.
        atomic_add_one(unsafe { counters.byte_add(offset) }.cast());
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
