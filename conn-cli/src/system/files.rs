//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as that needs no privilege. The usual limit is for programs that use
/// select(2), and each network namespace with a listener takes two files. Call this early.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // If this fails, what needs more files says so.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// The limit.
#[must_use]
pub(crate) fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX)
}
