//! The system call bpf(2), for what no crate here has.

use std::io;

/// Calls bpf(2), and returns what it returns.
///
/// # Safety
/// `attributes` must be what the command takes, and its pointers valid for it.
pub(super) unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes within the size that it is told, and where the caller
    // says that it may.
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
