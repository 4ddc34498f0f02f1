//! Programs of Debian's packages, for guests that cannot run those of this machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _};

use super::apt::{self, Apt};
use super::programs::Files;
use crate::machine::Architecture;
use crate::packages;

/// The Debian release that they are taken from.
const RELEASE: &str = "trixie";

/// Where packages have programs.
const PROGRAM_DIRECTORIES: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// Fetches these programs, which go into `/bin`, and their libraries, which go into `/lib`, where
/// the loader is, and looks for them.
pub(super) fn find(programs: &[&str], architecture: Architecture) -> Result<Files> {
    let mut files = Files::new();
    let store = super::directory()?.join(format!("programs-{}", architecture.debian()));
    for program in programs {
        let package = packages::package(program);
        let root = store.join(package);
        apt::unpack_once(&[package], &root, || {
            Apt::updated(RELEASE, architecture)?.unpack_with_dependencies(&[package], &root)
        })?;
        add(&mut files, program, &root, architecture)?;
    }
    Ok(files)
}

/// Adds a program that is unpacked in `root`, and its libraries, which are there, too.
fn add(files: &mut Files, program: &str, root: &Path, architecture: Architecture) -> Result<()> {
    let libraries = ["usr/lib", "lib"].map(|path| root.join(path).join(multiarch(architecture)));
    let path = first_with(program, PROGRAM_DIRECTORIES.map(|path| root.join(path)))?;
    let mut unread = vec![(Path::new("/bin").join(program), path)];
    while let Some((name, path)) = unread.pop() {
        if files.contains_key(&name) {
            continue;
        }
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for library in needed(&content)? {
            let path = first_with(&library, libraries.clone())?;
            unread.push((Path::new("/lib").join(library), path));
        }
        files.insert(name, path);
    }
    Ok(())
}

/// Debian's name for the directory of an architecture's libraries.
fn multiarch(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64-linux-gnu",
        Architecture::Aarch64 => "aarch64-linux-gnu",
    }
}

/// The path of a file that is in one of these directories.
fn first_with<const N: usize>(name: &str, directories: [PathBuf; N]) -> Result<PathBuf> {
    directories
        .into_iter()
        .map(|directory| directory.join(name))
        .find(|path| path.exists())
        .with_context(|| format!("no package has {name}"))
}

/// The names of the libraries that a program or library is linked with: none if it is static.
fn needed(elf: &[u8]) -> Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, elf)?;
    let Some((entries, names)) = sections.dynamic(endian, elf)? else {
        return Ok(Vec::new());
    };
    let names = sections.strings(endian, elf, names)?;
    entries
        .iter()
        .filter(|entry| entry.d_tag(endian) == DT_NEEDED)
        .map(|entry| Ok(str::from_utf8(entry.string(endian, names)?)?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_libraries_are_read_from_a_program() {
        let libraries = needed(&fs::read("/bin/sh").unwrap()).unwrap();
        assert!(
            libraries.iter().any(|name| name.starts_with("libc.")),
            "{libraries:?}"
        );
        // As conn-cli, tests are static.
        let test = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(needed(&test).unwrap().is_empty());
        assert!(needed(b"#!/bin/sh\n").is_err());
    }
}
