//! Little memory for a program that runs for weeks.

use rustix::thread::disable_transparent_huge_pages;

/// Has the kernel make no huge pages, each of which would be as large as all else, of a heap of
/// some hundred kilobytes. To be called early.
pub fn save() {
    // Without effect it only takes more.
    let _ = disable_transparent_huge_pages(true);
}

/// Gives back what was only needed to begin.
pub fn release() {
    // SAFETY: malloc_trim only returns pages that hold nothing.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
