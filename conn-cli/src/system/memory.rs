//! Saves memory, since conn-cli may run for weeks.

use rustix::thread::disable_transparent_huge_pages;

/// Disables transparent huge pages. One of them would take as much memory as everything else, for a
/// heap of some hundred kilobytes. Call this early.
pub(crate) fn save() {
    // If this fails, conn-cli only takes more memory.
    let _ = disable_transparent_huge_pages(true);
}

/// Returns the memory that was only needed to start.
pub(crate) fn release() {
    // SAFETY: malloc_trim only returns unused pages to the system.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
