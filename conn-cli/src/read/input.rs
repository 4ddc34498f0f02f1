//! Where records come from: files and standard input.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use crate::connection::escaped;

/// An input that was opened.
pub struct Input {
    /// What is read.
    pub source: Box<dyn Read + Send>,
    /// How many bytes it has, if that is known: as they are in the file.
    pub length: Option<u64>,
}

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

/// Opens a file, or standard input.
///
/// # Errors
/// What is wrong and what to do, in one line.
pub fn open(path: &Path) -> Result<Input, String> {
    if is_stdin(path) {
        let length = rustix::fs::fstat(io::stdin()).ok().and_then(|stat| {
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            (kind == rustix::fs::FileType::RegularFile).then_some(stat.st_size.cast_unsigned())
        });
        // Not std's Stdin: its buffer would copy every byte once more.
        let stdin = rustix::io::dup(rustix::stdio::stdin())
            .map_err(|error| explain(path, &error.into()))?;
        return Ok(Input {
            source: Box::new(File::from(stdin)),
            length,
        });
    }
    let file = File::open(path).map_err(|error| explain(path, &error))?;
    let metadata = file.metadata().map_err(|error| explain(path, &error))?;
    if metadata.is_dir() {
        return Err(explain(path, &io::ErrorKind::IsADirectory.into()));
    }
    Ok(Input {
        source: Box::new(file),
        length: metadata.is_file().then_some(metadata.len()),
    })
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
