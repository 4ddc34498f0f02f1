//! Counting a connection at a stage, and reporting it. The totals are kept here, in the
//! kernel, so that they are exact whatever becomes of the reports.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        bpf_ktime_get_boot_ns, bpf_ktime_get_ns, generated::bpf_get_current_comm,
    },
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use conn_common::{
    BY_CGROUP, BY_PROCESS, BY_USER, Counters, Event, Key, STAGE_ACCEPTED, STAGE_ESTABLISHED,
    STAGE_SYN, Stages, UNKNOWN_WAIT, WAIT_STEP_BITS, WAIT_STEPS,
};

use crate::{
    config, filter,
    socket::{Ends, Fields, Protocol},
};

/// Those who have got further than to ask. The user side sets the size, and has room made for all of
/// them at once where it cannot be made one by one.
#[map]
static CLIENTS: HashMap<Key, Stages> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// Those who have only asked, apart: anyone can ask in any number of names, and shall not take
/// the places of those who are there. The user side sets the size.
#[map]
static SYN_CLIENTS: HashMap<Key, Stages> = HashMap::with_max_entries(1, 0);

/// What is counted apart, in one entry, which the user side maps into its memory: reading it
/// by system call would stop programs meanwhile.
#[map]
static COUNTERS: Array<Counters> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How many connections waited how long, see [`WAIT_STEPS`].
#[map]
static WAITS: Array<u64> = Array::with_max_entries(WAIT_STEPS as u32, 0);

/// The longest wait in nanoseconds. For each processor apart: the kernels in question have no
/// atomic maximum.
#[map]
static LONGEST_WAIT: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The events, on their way to be shown. The user side sets the size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// The kernel's error for an entry that there is no memory for, which only a map without
/// preallocation has; `include/uapi/asm-generic/errno-base.h`.
const ENOMEM: i32 = -12;

/// Whoever was not counted before.
static NONE: Stages = Stages {
    syn: 0,
    repeated: 0,
    established: 0,
    accepted: 0,
};

/// Which number of [`Stages`] a connection counts in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A SYN has come.
    Syn,
    /// A SYN has come again.
    Repeated,
    /// The handshake is complete.
    Established,
    /// The server has accepted it.
    Accepted,
}

/// Counts a SYN, and reports it.
#[inline(always)]
pub fn syn(ends: &Ends, hook: u16) {
    count(&client(ends), Stage::Syn);
    if is_reported(STAGE_SYN) {
        // The packet sockets are in one network namespace, if only one is wanted in that one.
        let netns = || config::setting(|config| &config.netns);
        report(ends, hook, Stage::Syn, netns, UNKNOWN_WAIT);
    }
}

/// Counts a SYN that was sent again.
#[inline(always)]
pub fn syn_again(ends: &Ends) {
    count(&client(ends), Stage::Repeated);
}

/// Counts a completed handshake, and reports it.
#[inline(always)]
pub fn established(ends: &Ends, hook: u16, netns: impl FnOnce() -> u32) {
    count(&client(ends), Stage::Established);
    if is_reported(STAGE_ESTABLISHED) {
        report(ends, hook, Stage::Established, netns, UNKNOWN_WAIT);
    }
}

/// Counts a connection that the running task accepts, and reports it.
#[inline(always)]
pub fn accepted(ends: &Ends, hook: u16, socket: &impl Fields, protocol: Protocol) {
    count(&acceptor(ends), Stage::Accepted);
    // SAFETY: it only reads the clock.
    let wait_ns = socket.waited(protocol, unsafe { bpf_ktime_get_ns() });
    if wait_ns != UNKNOWN_WAIT {
        count_wait(wait_ns);
    }
    if is_reported(STAGE_ACCEPTED) {
        report(ends, hook, Stage::Accepted, || socket.netns(), wait_ns);
    }
}

/// Whether connections at this stage are to be reported, not only counted.
#[inline(always)]
fn is_reported(stage: u32) -> bool {
    config::setting(|config| &config.emit) >> stage & 1 == 1
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
fn report(ends: &Ends, hook: u16, stage: Stage, netns: impl FnOnce() -> u32, wait_ns: u64) {
    let is_detailed = config::is_on(|config| &config.details);
    let netns = if is_detailed { netns() } else { 0 };
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        add_one(offset_of!(Counters, lost) + stage.place());
        return;
    };
    // SAFETY: the entry is as large as an Event, aligned for it, and ours until submitted.
    // Every field is written; field by field, since the compiler would build the whole
    // elsewhere and call memcpy.
    unsafe {
        let event = entry.as_mut_ptr();
        (*event).time_ns = bpf_ktime_get_boot_ns();
        (*event).wait_ns = wait_ns;
        (*event).remote_address = ends.remote_address;
        (*event).local_address = ends.local_address;
        (*event).remote_port = ends.remote_port;
        (*event).local_port = ends.local_port;
        (*event).family = ends.family;
        (*event).hook = hook;
        (*event).netns = netns;
        write_task(event, is_detailed && stage == Stage::Accepted);
    }
    entry.submit(0);
}

/// Writes the fields that tell of the running task; zeros if nobody asks, or if that is not the one
/// that accepts.
///
/// # Safety
/// `event` is valid for writes.
#[inline(always)]
unsafe fn write_task(event: *mut Event, is_told: bool) {
    let pid_tgid = if is_told {
        bpf_get_current_pid_tgid()
    } else {
        0
    };
    // SAFETY: the caller's; `comm` is aligned to 8 and has the 16 bytes that the helper is told
    // of; the helpers only read the current task.
    unsafe {
        let comm = &raw mut (*event).comm;
        // Volatile, or the compiler would call memset for them.
        comm.cast::<u64>().write_volatile(0);
        comm.cast::<u64>().add(1).write_volatile(0);
        (*event).pid = pid_tgid as u32;
        (*event).tgid = (pid_tgid >> 32) as u32;
        if is_told {
            (*event).uid = bpf_get_current_uid_gid() as u32;
            (*event).cgroup = bpf_get_current_cgroup_id();
            bpf_get_current_comm(comm.cast(), 16);
        } else {
            (*event).uid = 0;
            (&raw mut (*event).cgroup).write_volatile(0);
        }
    }
}

/// The client of a connection that no task has accepted yet.
#[inline(always)]
fn client(ends: &Ends) -> Key {
    Key {
        group: ends.remote_address,
        pid: 0,
        local_port: u32::from(ends.local_port),
    }
}

/// Whose connection it is that the running task accepts, in the way that is counted by.
#[inline(always)]
fn acceptor(ends: &Ends) -> Key {
    let mut key = client(ends);
    match config::setting(|config| &config.count_by) {
        BY_PROCESS => {
            key.group = filter::comm();
            key.pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        }
        // SAFETY: it only reads the current task.
        BY_CGROUP => key.group = [unsafe { bpf_get_current_cgroup_id() }, 0],
        BY_USER => key.group = [u64::from(bpf_get_current_uid_gid() as u32), 0],
        _ => (),
    }
    key
}

#[inline(always)]
fn count(key: &Key, stage: Stage) {
    let place = stage.place();
    let total = match stage {
        Stage::Syn | Stage::Repeated => match CLIENTS.get_ptr_mut(key) {
            Some(total) => Ok(total),
            None => entry(&SYN_CLIENTS, key),
        },
        Stage::Established | Stage::Accepted => entry(&CLIENTS, key),
    };
    match total {
        // SAFETY: `place` is that of a u64 in Stages, which the pointer points to.
        Ok(total) => atomic_add_one(unsafe { total.byte_add(place) }.cast()),
        Err(ENOMEM) => add_one(offset_of!(Counters, out_of_memory) + place),
        Err(_) => add_one(offset_of!(Counters, other) + place),
    }
}

/// The entry under this key, a new one if need be.
///
/// # Errors
/// The kernel's, when there is no room, or no memory.
#[inline(always)]
fn entry(map: &HashMap<Key, Stages>, key: &Key) -> Result<*mut Stages, i32> {
    if let Some(total) = map.get_ptr_mut(key) {
        return Ok(total);
    }
    let none: &Stages = &NONE;
    let inserted = map.insert(key, none, u64::from(BPF_NOEXIST));
    // It may be there without: another processor has been faster.
    map.get_ptr_mut(key)
        .ok_or_else(|| inserted.err().unwrap_or(0))
}

impl Stage {
    #[inline(always)]
    fn place(self) -> usize {
        match self {
            Self::Syn => offset_of!(Stages, syn),
            Self::Repeated => offset_of!(Stages, repeated),
            Self::Established => offset_of!(Stages, established),
            Self::Accepted => offset_of!(Stages, accepted),
        }
    }
}

#[inline(always)]
fn count_wait(wait_ns: u64) {
    if let Some(count) = WAITS.get_ptr_mut(step(wait_ns)) {
        atomic_add_one(count);
    }
    if let Some(longest) = LONGEST_WAIT.get_ptr_mut(0) {
        // An LSM program that is preempted here can overwrite what another on this processor wrote
        // meanwhile. The user side does not go below the histogram.
        // SAFETY: a pointer to an aligned value of the map, written as a whole.
        unsafe {
            if *longest < wait_ns {
                *longest = wait_ns;
            }
        }
    }
}

/// The entry of [`WAITS`] for a wait.
#[inline(always)]
fn step(wait_ns: u64) -> u32 {
    // Less than this has no steps, and is no wait.
    let wait = wait_ns | 1 << WAIT_STEP_BITS;
    // Without a branch: each would double what the verifier follows.
    let exponent = 63 - wait.leading_zeros();
    let steps = (wait >> (exponent - WAIT_STEP_BITS)) as u32 & ((1 << WAIT_STEP_BITS) - 1);
    exponent << WAIT_STEP_BITS | steps
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
