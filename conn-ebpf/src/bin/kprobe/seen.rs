//! What the first hook of the pair leaves for the second, so that each connection is told of
//! with the hook that saw it first.
//!
//! Both hooks of one `accept` run in the accepting thread, `inet_csk_accept`'s return first. It
//! is the second that counts, so a mark that goes astray makes no total wrong: two threads
//! whose ids differ by a multiple of [`PLACES`], both between the two hooks, take one for seen by
//! the second alone. A map with a key for each thread would cost more than all else.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::Array};
use conn_ebpf::socket::Socket;

/// The socket that a thread is accepting.
#[repr(C)]
struct Mark {
    /// The thread, as the helper tells it; 0 if there is no mark.
    thread: u64,
    /// Where the socket is.
    socket: u64,
}

/// What was in a place.
pub(crate) struct Left {
    thread: u64,
    /// The socket that was accepted, if the mark is of this thread.
    pub(crate) socket: Socket,
}

/// A power of two. Threads are between the two hooks for microseconds.
const PLACES: u32 = 4096;

/// Each thread has the place that the last bits of its id tell.
#[map]
static SEEN: Array<Mark> = Array::with_max_entries(PLACES, 0);

/// Leaves a mark that this thread accepts the socket.
#[inline(always)]
pub(crate) fn leave(socket: Socket) {
    let thread = bpf_get_current_pid_tgid();
    if let Some(mark) = place(thread) {
        // SAFETY: a pointer to a value of the map. A thread that shares the place may write it
        // meanwhile; then one of the two is lost.
        unsafe {
            (*mark).socket = socket.address();
            (*mark).thread = thread;
        }
    }
}

/// Takes the mark away that is in this thread's place; None only if there is no map.
///
/// What is in it is not looked at here: the verifier would follow both ways to the end.
#[inline(always)]
pub(crate) fn take() -> Option<Left> {
    let mark = place(bpf_get_current_pid_tgid())?;
    // SAFETY: as above.
    unsafe {
        let left = Left {
            thread: (*mark).thread,
            socket: Socket::at((*mark).socket),
        };
        (*mark).thread = 0;
        Some(left)
    }
}

impl Left {
    /// Whether this thread has left it.
    #[inline(always)]
    pub(crate) fn is_of_this_thread(&self) -> bool {
        self.thread == bpf_get_current_pid_tgid()
    }
}

#[inline(always)]
fn place(thread: u64) -> Option<*mut Mark> {
    SEEN.get_ptr_mut(thread as u32 & (PLACES - 1))
}
