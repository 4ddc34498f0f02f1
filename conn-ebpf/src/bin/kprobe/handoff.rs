//! What the first hook of the pair leaves for the second, so that each event names the hook that
//! saw the connection first.
//!
//! Both hooks of one `accept` run in the accepting thread, the return of `inet_csk_accept` first.
//! The second hook counts, so a lost handoff makes no total wrong: if threads whose ids differ by a
//! multiple of [`SLOTS`] accept at the same time, a connection may appear as seen by the second
//! hook only. A map keyed by thread would cost more than everything else.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::Array};
use conn_common::{HOOK_KPROBE, HOOK_KRETPROBE};

/// A power of two. A thread is between the two hooks for microseconds.
const SLOTS: u32 = 1024;

/// The low bits of a thread's id select its slot. The first word of a slot holds the accepting thread, as
/// `bpf_get_current_pid_tgid` returns it, or 0. The others keep the next slot out of its cache line: the
/// threads of a pool, which accept on all processors, have ids one after the other.
#[map]
static HANDOFF: Array<[u64; 8]> = Array::with_max_entries(SLOTS, 0);

/// Records that this thread accepts a connection.
#[inline(always)]
pub(crate) fn leave() {
    let thread = bpf_get_current_pid_tgid();
    if let Some(slot) = slot(thread) {
        // SAFETY: a pointer to a value of the map; a u64 is written as a whole.
        unsafe { slot.write_volatile(thread) };
    }
}

/// Empties this thread's slot, whichever thread wrote it, and returns what it held. Never `None`:
/// each thread has a slot.
#[inline(always)]
pub(crate) fn take() -> Option<Handoff> {
    let thread = bpf_get_current_pid_tgid();
    let slot = slot(thread)?;
    // SAFETY: a pointer to a value of the map; a u64 is read and written as a whole.
    let content = unsafe {
        let content = slot.read_volatile();
        slot.write_volatile(0);
        content
    };
    Some(Handoff {
        difference: content ^ thread,
    })
}

/// What a slot held.
pub(crate) struct Handoff {
    /// 0 if this thread wrote it.
    difference: u64,
}

impl Handoff {
    /// The hook that saw this thread's connection first: [`HOOK_KRETPROBE`] or [`HOOK_KPROBE`].
    #[inline(always)]
    pub(crate) fn hook(&self) -> u16 {
        // 0 if the difference is 0, else 1: without a branch, since the verifier would follow both
        // ways to the end.
        let is_other_thread = (self.difference | self.difference.wrapping_neg()) >> 63;
        HOOK_KRETPROBE + is_other_thread as u16
    }
}
const _: () = assert!(HOOK_KPROBE == HOOK_KRETPROBE + 1);

#[inline(always)]
fn slot(thread: u64) -> Option<*mut u64> {
    let slot = HANDOFF.get_ptr_mut(thread as u32 & (SLOTS - 1))?;
    Some(slot.cast())
}
