//! Files that options name, and how many files this process may have open.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{anyhow, bail};
use rustix::{
    fs::OFlags,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::text::escaped;

/// Opens a file that is to be read as a whole. Returns its length, too.
///
/// # Errors
/// If it cannot be opened, or is none that has an end.
pub(crate) fn open_regular(path: &Path) -> anyhow::Result<(File, u64)> {
    let name = escaped(path.as_os_str().as_encoded_bytes());
    // Without waiting for what is none.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!("cannot read {name}: there is no such file"),
        _ => anyhow!("cannot read {name}: {error}"),
    })?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        bail!("cannot read {name}: it is a directory");
    }
    if !metadata.is_file() {
        bail!("cannot read {name}: it is not a regular file");
    }
    Ok((file, metadata.len()))
}

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
