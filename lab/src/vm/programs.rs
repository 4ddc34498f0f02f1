//! Programs of this machine that are copied into guests with their libraries: they measure by
//! other means what conn-cli must report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::archive::Archive;
use crate::command;

/// tcpdump looks up root, to stay root; conn-cli looks up `nobody`.
const PASSWD: &str = "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\n";

/// Where the files of programs are in a guest, and where they are copied from.
pub(super) type Files = BTreeMap<PathBuf, PathBuf>;

/// Finds these programs, which go into `/bin`, and their libraries, where the loader looks for them.
pub(super) fn find(programs: &[&str]) -> Result<Files> {
    let mut files = Files::new();
    for program in programs {
        let path = command::program(program)?;
        // It fails for a static program, which needs no libraries.
        if let Ok(ldd) = command::output(Command::new("ldd").arg(&path)) {
            let libraries = parse_ldd(&ldd)?.into_iter();
            files.extend(libraries.map(|library| (library.clone(), library)));
        }
        files.insert(Path::new("/bin").join(program), path);
    }
    Ok(files)
}

/// Packs these files, and what the C library reads about users.
pub(super) fn pack(archive: &mut Archive, files: &Files) -> Result<()> {
    archive.directory("etc")?;
    archive.file("etc/passwd", PASSWD)?;
    archive.file("etc/group", GROUP)?;
    let mut directories = BTreeSet::new();
    for path in files.keys() {
        directories.extend(path.ancestors().skip(1));
    }
    // Shorter paths come first, so each directory comes before its contents.
    for directory in directories {
        if directory.parent().is_some() {
            archive.directory(name(directory)?)?;
        }
    }
    for (path, source) in files {
        archive.program(name(path)?, source)?;
    }
    Ok(())
}

/// The name of this path in an archive.
fn name(path: &Path) -> Result<&str> {
    path.strip_prefix("/")?
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Parses the output of `ldd`: the libraries and the loader of a program.
fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("a library is missing: {line}");
        }
        // `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)`; the vDSO has no path.
        let found = line.split_once(" => ").map_or(line, |(_, found)| found);
        let path = found.split(" (").next().unwrap_or_default();
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_output_is_parsed() {
        let text = "\tlinux-vdso.so.1 (0x00007fa8469000)\n\
            \tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007fa8419000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007fa846b000)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libmnl.so.0",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(parse_ldd(text).unwrap(), expected.map(PathBuf::from));
        assert!(parse_ldd("\tlibmnl.so.0 => not found\n").is_err());
    }
}
