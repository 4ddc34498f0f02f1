//! Finds bpf-linker, or builds it against the LLVM of the toolchain.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::command::{output, run};

/// The version to install if there is none.
const VERSION: &str = "0.13.0";

pub(super) struct Linker {
    pub(super) path: PathBuf,
    /// What `--version` prints.
    pub(super) version: String,
}

/// The bpf-linker that the user installed.
pub(super) fn on_path() -> Option<Linker> {
    at(PathBuf::from("bpf-linker")).ok()
}

/// The bpf-linker of this checkout, for one major version of LLVM; builds it the
/// first time.
pub(super) fn own(root: &Path, llvm: u32) -> Result<Linker> {
    if !own_is_built(root, llvm) {
        install(root, llvm)?;
    }
    at(own_path(root, llvm))
}

pub(super) fn own_is_built(root: &Path, llvm: u32) -> bool {
    at(own_path(root, llvm)).is_ok_and(|linker| linker.version.ends_with(VERSION))
}

/// Where Debian, and LLVM's own packages for it, install LLVM.
pub(super) fn llvm_folder(llvm: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm}"))
}

fn at(path: PathBuf) -> Result<Linker> {
    let version = output(Command::new(&path).arg("--version"))?
        .trim()
        .to_owned();
    Ok(Linker { path, version })
}

fn own_folder(root: &Path, llvm: u32) -> PathBuf {
    root.join(format!("target/bpf-linker/llvm-{llvm}"))
}

fn own_path(root: &Path, llvm: u32) -> PathBuf {
    own_folder(root, llvm).join("bin/bpf-linker")
}

fn install(root: &Path, llvm: u32) -> Result<()> {
    let prefix = llvm_folder(llvm);
    ensure!(
        prefix.join("include").exists(),
        "there is no bpf-linker on PATH, and building one needs the development files of \
         LLVM {llvm} in {}: install bpf-linker (https://github.com/aya-rs/bpf-linker) or \
         the package llvm-{llvm}-dev",
        prefix.display()
    );
    eprintln!("building bpf-linker {VERSION} for LLVM {llvm}; this takes a minute or two");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm}"),
        ])
        .arg("--root")
        .arg(own_folder(root, llvm))
        .env("LLVM_PREFIX", prefix))
    .with_context(|| format!("cannot build bpf-linker {VERSION}"))
}
