//! What one hook of the pair leaves for the other, so that a connection which both see
//! is one event.
//!
//! Both hooks of one `accept` run in the accepting thread, `inet_csk_accept`'s return
//! first. So a thread has at most one connection between the two, and the thread's id
//! is the key. The ends of the connection are compared too: they tell a mark that was
//! left behind from that of this connection. The socket's address would not do, since
//! Multipath TCP grafts another socket than `inet_csk_accept` returned.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::HashMap};
use conn_common::Address;
use conn_ebpf::socket::Ends;

/// The connection that a thread is accepting.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Mark {
    remote_address: Address,
    remote_port: u16,
    local_port: u16,
}

/// Only threads on their way from one hook to the other, microseconds, are in it.
#[map]
static SEEN: HashMap<u32, Mark> = HashMap::with_max_entries(1024, 0);

/// Leaves a mark that this thread's connection is recorded; an error when there is no
/// room: then the second hook will have to record it.
#[inline(always)]
pub(crate) fn leave(ends: &Ends) -> Result<(), i32> {
    SEEN.insert(thread(), mark(ends), 0)
}

/// Takes this thread's mark away; true if it was of this connection.
#[inline(always)]
pub(crate) fn take(ends: &Ends) -> bool {
    let thread = thread();
    let Some(left) = SEEN.get_ptr(thread) else {
        return false;
    };
    // SAFETY: only this thread writes or removes its entry, and it is here.
    let same = unsafe { *left } == mark(ends);
    // It was there a moment ago and nobody else removes it.
    let _ = SEEN.remove(thread);
    same
}

#[inline(always)]
fn mark(ends: &Ends) -> Mark {
    Mark {
        remote_address: ends.remote_address,
        remote_port: ends.remote_port,
        local_port: ends.local_port,
    }
}

/// The id of the running thread: the lower half of what the helper returns.
#[inline(always)]
fn thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}
