//! Counts a connection at a stage, and reports it as an [`Event`]. The totals are in the kernel's
//! maps, so they are exact even if events are lost.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_uid_gid, bpf_ktime_get_boot_ns, bpf_ktime_get_ns,
    },
    macros::map,
    maps::HashMap,
};
use conn_common::{
    BY_ADDRESS, BY_CGROUP, BY_NAME, BY_PROCESS, Counters, Event, KERNEL_THREAD, Key,
    STAGE_ACCEPTED, STAGE_ESTABLISHED, STAGE_SYN, Stages, TASK_KERNEL, TASK_PROCESS, TASK_UNKNOWN,
    UNKNOWN_WAIT,
};

use crate::{
    config,
    counters::{self, add_one, atomic_add_one},
    heavy,
    maps::{Bounded, EVENTS, insert},
    over, series,
    socket::{Ends, Fields, Protocol},
    stage::Stage,
    task,
};

/// The totals of connections beyond the SYN stage, and of later SYNs of the same clients. The user
/// side sets the size, and preallocates all entries where a program cannot allocate one at a time.
#[map]
static CLIENTS: HashMap<Key, Stages> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// The totals of clients with nothing but SYNs. A separate map, since anyone can send SYNs from any
/// number of addresses, which must not take the room of other clients. The user side sets the size.
#[map]
static SYN_CLIENTS: HashMap<Key, Stages> = HashMap::with_max_entries(1, 0);

/// Counting by process, the name of the thread of each process that accepted first, by process id. It is
/// in no key, since a thread can change it between two accepts. The user side sets the size, that of
/// [`CLIENTS`], so that there is room for each process that has an entry there.
#[map]
static NAMES: HashMap<u32, [u64; 2]> = HashMap::with_max_entries(1, 0);

/// The kernel's error if there is no memory for an entry, which only happens to a map without
/// preallocation; the same file.
const ENOMEM: i32 = -12;

/// The value of a new entry.
static ZERO: Stages = Stages {
    syn: 0,
    repeated: 0,
    refused: 0,
    established: 0,
    accepted: 0,
};

/// Counts a first SYN, and reports it if [`Config::emit`](conn_common::Config::emit) has this
/// stage. `hook` is one of the `HOOK_` constants; `netns` finds the network namespace.
#[inline(always)]
pub fn syn(ends: &Ends, hook: u16, netns: impl FnOnce() -> u32) {
    count(ends, &client_key(ends), Stage::Syn);
    if is_reported(STAGE_SYN) {
        report(ends, hook, Stage::Syn, netns, UNKNOWN_WAIT);
    }
}

/// Counts a retransmitted SYN.
#[inline(always)]
pub fn syn_again(ends: &Ends) {
    count(ends, &client_key(ends), Stage::Repeated);
}

/// Counts a SYN that the machine answers with a reset, in addition to [`syn`] or [`syn_again`].
#[inline(always)]
pub fn refused(ends: &Ends) {
    count(ends, &client_key(ends), Stage::Refused);
}

/// Counts a completed handshake, and reports it if [`Config::emit`](conn_common::Config::emit) has
/// this stage. `hook` is one of the `HOOK_` constants. `netns` returns the inode number of the
/// network namespace, 0 if it is not known; it is only called for an event with details.
#[inline(always)]
pub fn established(ends: &Ends, hook: u16, netns: impl FnOnce() -> u32) {
    count(ends, &client_key(ends), Stage::Established);
    if is_reported(STAGE_ESTABLISHED) {
        report(ends, hook, Stage::Established, netns, UNKNOWN_WAIT);
    }
}

/// Counts a connection that the running task accepts, and how long it waited, and reports it if
/// [`Config::emit`](conn_common::Config::emit) has this stage. `hook` is one of the `HOOK_`
/// constants.
#[inline(always)]
pub fn accepted(ends: &Ends, hook: u16, socket: &impl Fields, protocol: Protocol) {
    count(ends, &acceptor_key(ends), Stage::Accepted);
    // SAFETY: the helper only reads the clock.
    let wait_ns = socket.waited(protocol, unsafe { bpf_ktime_get_ns() });
    if wait_ns != UNKNOWN_WAIT {
        counters::wait(wait_ns);
    }
    if is_reported(STAGE_ACCEPTED) {
        report(ends, hook, Stage::Accepted, || socket.netns(), wait_ns);
    }
}

/// Whether to report connections at this stage, one of the `STAGE_` constants, or only count them.
#[inline(always)]
fn is_reported(stage: u32) -> bool {
    config::setting(|config| &config.emit) >> stage & 1 == 1
}

/// Counts a connection that only the second hook of the pair saw, in addition to [`accepted`].
#[inline(always)]
pub fn second_hook_only() {
    add_one(offset_of!(Counters, second_hook_only));
}

/// Counts a connection that conn-cli made to itself.
#[inline(always)]
pub fn self_test(stage: Stage) {
    add_one(offset_of!(Counters, self_tests) + stage.offset());
    if let Some(counters) = counters::own() {
        // SAFETY: a pointer to a value of the map; the helper only reads the clock.
        unsafe { (*counters).self_test_ns = bpf_ktime_get_boot_ns() };
    }
}

/// Counts a SYN that is remembered from now on.
#[inline(always)]
pub(crate) fn remembered() {
    add_one(offset_of!(Counters, remembered));
}

/// Counts a connection in a network namespace of a user.
#[inline(always)]
pub(crate) fn of_user(stage: Stage) {
    add_one(offset_of!(Counters, of_users) + stage.offset());
}

/// Counts a connection that a kernel thread accepted, which a filter cannot judge.
#[inline(always)]
pub(crate) fn by_kernel_thread() {
    add_one(offset_of!(Counters, by_kernel_threads));
}

/// Counts a connection whose socket could not be read, and which is in no total.
#[inline(always)]
pub fn unreadable() {
    add_one(offset_of!(Counters, unreadable));
}

/// Counts a packet that may be a SYN and could not be read, and which is in no total.
#[inline(always)]
pub fn unreadable_packet() {
    add_one(offset_of!(Counters, unreadable_packets));
}

const _: () = assert!(TASK_KERNEL == TASK_PROCESS + 1);

/// Writes fields of an [`Event`] one at a time, since the compiler would build a whole one elsewhere
/// and call memcpy. What follows the semicolon is written by [`write_task`]. A field that is in
/// neither list would show what the ring buffer held before: it does not compile.
macro_rules! write_fields {
    ($event:expr, $($field:ident = $value:expr),+; $($of_task:ident),+) => {{
        let _ = |Event { $($field: _,)+ $($of_task: _,)+ }: Event| ();
        $((*$event).$field = $value;)+
    }};
}

#[inline(always)]
fn report(ends: &Ends, hook: u16, stage: Stage, netns: impl FnOnce() -> u32, wait_ns: u64) {
    let is_detailed = config::is_on(|config| &config.details);
    let netns = if is_detailed { netns() } else { 0 };
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        add_one(offset_of!(Counters, lost) + stage.offset());
        return;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: the entry has the size and alignment of an Event, and is ours until it is submitted.
    unsafe {
        write_fields!(
            event,
            time_ns = bpf_ktime_get_boot_ns(),
            wait_ns = wait_ns,
            remote_address = ends.remote_address,
            local_address = ends.local_address,
            remote_port = ends.remote_port,
            local_port = ends.local_port,
            family = ends.family as u8,
            hook = hook,
            netns = netns;
            task, pid, tgid, uid, cgroup, comm
        );
        write_task(event, is_detailed && stage == Stage::Accepted);
    }
    entry.submit(0);
}

/// Writes the fields of the accepting task: those of the running task, or zeros if `with_task` is
/// false.
///
/// # Safety
/// `event` is valid for writes.
#[inline(always)]
unsafe fn write_task(event: *mut Event, with_task: bool) {
    let (task, tgid, pid) = if with_task {
        let task = TASK_PROCESS + u8::from(task::is_kernel_thread());
        (task, task::tgid(), task::pid())
    } else {
        (TASK_UNKNOWN, 0, 0)
    };
    // SAFETY: the caller guarantees that `event` is valid for writes; `comm` is aligned to 8 and has
    // room for both words; the helpers only read the current task. Volatile, or the compiler would
    // call memset.
    unsafe {
        let comm = (&raw mut (*event).comm).cast::<[u64; 2]>();
        (*event).task = task;
        (*event).pid = pid;
        (*event).tgid = tgid;
        if with_task {
            (*event).uid = bpf_get_current_uid_gid() as u32;
            (*event).cgroup = bpf_get_current_cgroup_id();
            task::write_name(comm);
        } else {
            (&raw mut (*event).uid).write_volatile(0);
            (&raw mut (*event).cgroup).write_volatile(0);
            comm.cast::<u64>().write_volatile(0);
            comm.cast::<u64>().add(1).write_volatile(0);
        }
    }
}

/// The key to count by the client's address and the server's port.
#[inline(always)]
fn client_key(ends: &Ends) -> Key {
    Key {
        group: ends.remote_address,
        local_port: u64::from(ends.local_port),
    }
}

/// The key of a connection that the running task accepts, by
/// [`Config::count_by`](conn_common::Config::count_by).
#[inline(always)]
fn acceptor_key(ends: &Ends) -> Key {
    let mut key = client_key(ends);
    let count_by = config::setting(|config| &config.count_by);
    if count_by == BY_ADDRESS || count_by == BY_NAME {
        return key;
    }
    let is_kernel_thread = u64::from(task::is_kernel_thread()) * KERNEL_THREAD;
    // With a branch, the compiler would call memset.
    let unless_kernel_thread = is_kernel_thread.wrapping_sub(1);
    let owner = match count_by {
        BY_PROCESS => {
            let tgid = task::tgid();
            if NAMES.get_ptr(tgid).is_none() {
                let _ = insert(&NAMES, Bounded::Names, &tgid, task::process_name());
            }
            u64::from(tgid)
        }
        BY_CGROUP => {
            // SAFETY: the helper only reads the current task.
            let cgroup = unsafe { bpf_get_current_cgroup_id() };
            cgroup & unless_kernel_thread
        }
        _ => u64::from(bpf_get_current_uid_gid() as u32) & unless_kernel_thread,
    };
    key.group = [owner, is_kernel_thread];
    key
}

#[inline(always)]
fn count(ends: &Ends, key: &Key, stage: Stage) {
    let offset = stage.offset();
    series::count(ends, stage, offset);
    if let Some(number) = stage.number() {
        over::count(key, number);
    }
    if config::is_on(|config| &config.sums) {
        add_one(offset_of!(Counters, sums) + offset);
    }
    if config::setting(|config| &config.count_by) == BY_NAME {
        return;
    }
    let total = match stage {
        Stage::Syn | Stage::Repeated | Stage::Refused => match CLIENTS.get_ptr_mut(key) {
            Some(total) => Ok(total),
            None => entry(&SYN_CLIENTS, Bounded::SynClients, key),
        },
        Stage::Established | Stage::Accepted => entry(&CLIENTS, Bounded::Clients, key),
    };
    match total {
        // SAFETY: `offset` is that of a u64 in Stages, which the pointer points to.
        Ok(total) => atomic_add_one(unsafe { total.byte_add(offset) }.cast()),
        Err(ENOMEM) => add_one(offset_of!(Counters, out_of_memory) + offset),
        Err(_) => {
            add_one(offset_of!(Counters, other) + offset);
            if matches!(stage, Stage::Established | Stage::Accepted) {
                heavy::count(key);
            }
        }
    }
}

/// The value for this key, inserted if there is none.
///
/// # Errors
/// A negative `errno` of the kernel if there is no room or no memory.
#[inline(always)]
fn entry(map: &HashMap<Key, Stages>, which: Bounded, key: &Key) -> Result<*mut Stages, i32> {
    if let Some(total) = map.get_ptr_mut(key) {
        return Ok(total);
    }
    let zero: &Stages = &ZERO;
    let inserted = insert(map, which, key, zero);
    if inserted.is_ok() {
        add_one(offset_of!(Counters, entries));
    }
    // Looked up even after an error, since another CPU may have inserted it first.
    map.get_ptr_mut(key)
        .ok_or_else(|| inserted.err().unwrap_or(0))
}
