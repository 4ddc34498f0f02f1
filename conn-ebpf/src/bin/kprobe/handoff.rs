//! What the first hook of the pair leaves for the second, so that each connection is told of
//! with the hook that saw it first.
//!
//! Both hooks of one `accept` run in the accepting thread, `inet_csk_accept`'s return first. It
//! is the second that counts, so a mark that goes astray makes no total wrong: when threads
//! whose ids differ by a multiple of [`PLACES`] accept at the same moment, one may be taken
//! for seen by the second hook alone. A map with a key for each thread would cost more than all
//! else.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::Array};
use conn_common::{HOOK_KPROBE, HOOK_KRETPROBE};

/// A power of two. Threads are between the two hooks for microseconds.
const PLACES: u32 = 4096;

/// Each thread has the place that the last bits of its id tell. There is the thread that
/// accepts, as the helper tells it, or 0.
#[map]
static HANDOFF: Array<u64> = Array::with_max_entries(PLACES, 0);

/// Leaves a mark that this thread accepts a connection.
#[inline(always)]
pub(crate) fn leave() {
    let thread = bpf_get_current_pid_tgid();
    if let Some(mark) = place(thread) {
        // SAFETY: a pointer to a value of the map; a u64 is written as a whole.
        unsafe { mark.write_volatile(thread) };
    }
}

/// Takes the mark away that is in this thread's place, whoever has left it, and returns it.
/// None is never: each thread has a place.
#[inline(always)]
pub(crate) fn take() -> Option<Handoff> {
    let thread = bpf_get_current_pid_tgid();
    let mark = place(thread)?;
    // SAFETY: as above.
    let left = unsafe {
        let left = mark.read_volatile();
        mark.write_volatile(0);
        left
    };
    Some(Handoff {
        difference: left ^ thread,
    })
}

/// What was in a place.
pub(crate) struct Handoff {
    /// 0 if this thread has left it.
    difference: u64,
}

impl Handoff {
    /// The hook that saw first what this thread accepts.
    #[inline(always)]
    pub(crate) fn hook(&self) -> u16 {
        // 0 if the difference is 0, else 1: without a branch, since the verifier would follow both
        // ways to the end.
        let is_not_ours = (self.difference | self.difference.wrapping_neg()) >> 63;
        HOOK_KRETPROBE + is_not_ours as u16
    }
}
const _: () = assert!(HOOK_KPROBE == HOOK_KRETPROBE + 1);

#[inline(always)]
fn place(thread: u64) -> Option<*mut u64> {
    HANDOFF.get_ptr_mut(thread as u32 & (PLACES - 1))
}
