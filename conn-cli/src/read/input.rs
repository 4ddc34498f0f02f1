//! The inputs: files and standard input.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _},
    path::Path,
};

use jiff::Timestamp;

use crate::system::text::escaped;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// The name of an input for messages, escaped since file names may contain any bytes.
#[must_use]
pub(crate) fn name(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".to_owned()
    } else {
        escaped(path.as_os_str().as_encoded_bytes())
    }
}

/// Whether this is standard input.
#[must_use]
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// Whether a user has to type the records.
#[must_use]
pub(crate) fn is_terminal(path: &Path) -> bool {
    is_stdin(path) && io::stdin().is_terminal()
}

/// The size of a regular file in bytes, before decompression; None for other inputs.
#[must_use]
pub(crate) fn length(path: &Path) -> Option<u64> {
    regular(path).map(|metadata| metadata.len())
}

/// When a regular file was changed last, now if that is in the future; None for other inputs.
#[must_use]
pub(crate) fn changed(path: &Path) -> Option<Timestamp> {
    let changed = regular(path)?.modified().ok()?;
    let changed = Timestamp::try_from(changed).ok()?;
    Some(changed.min(Timestamp::now()))
}

fn regular(path: &Path) -> Option<fs::Metadata> {
    let metadata = if is_stdin(path) {
        stdin().and_then(|stdin| stdin.metadata())
    } else {
        fs::metadata(path)
    };
    metadata.ok().filter(fs::Metadata::is_file)
}

/// Opens a file, or standard input.
///
/// # Errors
/// I/O errors; `IsADirectory` for a directory.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = if is_stdin(path) {
        stdin()?
    } else {
        File::open(path)?
    };
    if file.metadata()?.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Ok(file)
    }
}

/// Standard input without the buffer of `std::io::Stdin`, which would copy every byte once more.
fn stdin() -> io::Result<File> {
    Ok(File::from(rustix::io::dup(rustix::stdio::stdin())?))
}

/// The message for an error that occurred while opening or reading an input.
#[must_use]
pub(crate) fn explain(path: &Path, error: &io::Error) -> String {
    let name = name(path);
    match error.kind() {
        io::ErrorKind::NotFound => format!("cannot read {name}: there is no such file"),
        io::ErrorKind::PermissionDenied => {
            format!(
                "cannot read {name}: permission denied; many logs are readable only by root or a group, try sudo"
            )
        }
        io::ErrorKind::IsADirectory => {
            format!("cannot read {name}: it is a directory; name the files in it")
        }
        _ => format!("cannot read {name}: {error}"),
    }
}
