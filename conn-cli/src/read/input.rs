//! Where records come from: files and standard input.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _},
    path::Path,
};

use crate::connection::escaped;

/// The name that stands for standard input.
const STDIN: &str = "-";

/// How an input is called in messages. File names may hold anything.
#[must_use]
pub fn name(path: &Path) -> String {
    match is_stdin(path) {
        true => "standard input".to_owned(),
        false => escaped(path.as_os_str().as_encoded_bytes()),
    }
}

/// Whether this is standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// Whether somebody has to type what is read.
#[must_use]
pub fn is_terminal(path: &Path) -> bool {
    is_stdin(path) && io::stdin().is_terminal()
}

/// How many bytes an input has, if it is a regular file: as they are in the file.
#[must_use]
pub fn length(path: &Path) -> Option<u64> {
    let metadata = match is_stdin(path) {
        true => stdin().and_then(|stdin| stdin.metadata()),
        false => fs::metadata(path),
    };
    let metadata = metadata.ok().filter(fs::Metadata::is_file)?;
    Some(metadata.len())
}

/// Opens a file, or standard input.
///
/// # Errors
/// The system's.
pub fn open(path: &Path) -> io::Result<File> {
    let file = match is_stdin(path) {
        true => stdin()?,
        false => File::open(path)?,
    };
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}

/// Not std's, whose buffer would copy every byte once more.
fn stdin() -> io::Result<File> {
    Ok(File::from(rustix::io::dup(rustix::stdio::stdin())?))
}

/// What an error says to whoever named the input.
#[must_use]
pub fn explain(path: &Path, error: &io::Error) -> String {
    let name = name(path);
    match error.kind() {
        io::ErrorKind::NotFound => format!("cannot read {name}: there is no such file"),
        io::ErrorKind::PermissionDenied => {
            format!(
                "cannot read {name}: permission denied; logs are often for root or a group only, try sudo"
            )
        }
        io::ErrorKind::IsADirectory => {
            format!("cannot read {name}: it is a directory; name the files in it")
        }
        _ => format!("cannot read {name}: {error}"),
    }
}
