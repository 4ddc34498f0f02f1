//! Reads the running task; nothing else does.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_get_current_comm;

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
