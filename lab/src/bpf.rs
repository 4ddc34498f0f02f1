//! The system call bpf(2), for commands that no crate here wraps.

use std::io;

/// Calls bpf(2) and returns its result.
///
/// # Safety
/// `attributes` must be what the command takes, and its pointers must be valid for that command.
pub unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel accesses `attributes` within the given size, and other memory only where
    // the caller allows it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as i32)
}
