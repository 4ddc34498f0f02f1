//! Guests with real kernels, under QEMU.

pub mod apt;
pub mod archive;
pub mod kernels;
mod modules;
mod packaged;
mod programs;
pub mod qemu;
pub mod root;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::machine::Architecture;
use crate::strip::strip_debug;
use crate::{guest, workspace};
use archive::Archive;
use kernels::Kernel;

/// The directory of everything that guests boot from.
pub fn directory() -> Result<PathBuf> {
    let directory = workspace::root().join("target/vm");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// The part of an initramfs that guests of an architecture can share: `init` as PID 1, conn-cli, and
/// these programs, of this machine or else of Debian.
pub fn shared(
    init: &[u8],
    conn_cli: &Path,
    programs: &[&str],
    architecture: Architecture,
) -> Result<Vec<u8>> {
    let programs = match architecture {
        Architecture::X86_64 => programs::find(programs)?,
        Architecture::Aarch64 => packaged::find(programs, architecture)?,
    };
    let mut archive = Archive::new();
    for directory in ["dev", "bin", "proc", "run", "sys", "tmp"] {
        archive.directory(directory)?;
    }
    archive.character_device("dev/console", 5, 1)?;
    archive.executable("init", init)?;
    archive.program(guest::CONN_CLI.trim_start_matches('/'), conn_cli)?;
    programs::pack(&mut archive, &programs)?;
    archive.finish()
}

/// This program, as PID 1 of a guest.
pub fn this_program() -> Result<Vec<u8>> {
    init(&std::env::current_exe()?)
}

/// A program of ours, as PID 1 of a guest.
pub fn init(program: &Path) -> Result<Vec<u8>> {
    let init = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    // Most of it is debug information, which the guest would take long to unpack.
    strip_debug(&init)
}

/// Writes what a guest boots from: the shared part, its own part, and its kernel's modules and
/// configuration.
pub fn write_initramfs(
    path: &Path,
    shared: &[u8],
    mut own: Archive,
    kernel: &Kernel,
) -> Result<()> {
    let modules = guest::MODULES.trim_start_matches('/');
    own.directory(modules)?;
    for (name, content) in modules::cached(&kernel.modules)? {
        own.file(&format!("{modules}/{name}"), content)?;
    }
    own.directory("boot")?;
    let config = fs::read(&kernel.config).context("cannot read the kernel's configuration")?;
    own.file(&format!("boot/config-{}", kernel.uname()), config)?;
    fs::write(path, [shared, &own.finish()?].concat())
        .with_context(|| format!("cannot write {}", path.display()))
}
