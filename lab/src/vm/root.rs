//! The file system of a guest that runs other programs: a small Debian with these programs
//! and its kernel. It is built once and cached.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::apt;
use super::archive::Archive;
use crate::command;
use crate::packages::{self, Install};

const PACK: &str = include_str!("root/pack.sh");

/// What a root is built from.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The Debian release.
    pub release: &'static str,
    /// Its packages, beside those that every Debian has.
    pub packages: &'static [&'static str],
    /// A script that runs with the root's directory as argument before it is packed.
    pub prepare: Option<&'static str>,
}

/// What to boot.
pub struct Root {
    /// Its kernel.
    pub kernel: PathBuf,
    release: PathBuf,
    /// An uncompressed archive, because decompression is slow in the emulator.
    archive: PathBuf,
}

impl Root {
    /// Builds the file system in `directory`, unless it exists.
    pub fn obtain(recipe: &Recipe, directory: &Path, install: Install) -> Result<Self> {
        let root = Self {
            kernel: directory.join("vmlinuz"),
            release: directory.join("release"),
            archive: directory.join("root.cpio"),
        };
        // Written last: a root from another recipe, or an incomplete one, is built again.
        let stamp = directory.join("made-of");
        let made_of = recipe.stamp();
        if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_of) {
            return Ok(root);
        }
        packages::require(&["mmdebstrap", "cpio"], install)?;
        eprintln!("building a Debian for the guest");
        // Until the new root is complete, the old stamp must not vouch for it.
        if stamp.exists() {
            fs::remove_file(&stamp)?;
        }
        recipe.make(directory)?;
        fs::write(&stamp, made_of)?;
        Ok(root)
    }

    /// The kernel's release, such as `6.1.0-56-cloud-amd64`.
    pub fn release(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.release)?.trim_end().to_owned())
    }

    /// Writes what the guest boots from: this root, this program as its init, and the files in
    /// `own`.
    pub fn write_initramfs(&self, path: &Path, mut own: Archive) -> Result<()> {
        own.executable("init", &super::this_program()?)?;
        fs::copy(&self.archive, path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut initramfs = OpenOptions::new().append(true).open(path)?;
        initramfs.write_all(&own.finish()?)?;
        Ok(())
    }
}

impl Recipe {
    fn stamp(&self) -> String {
        let packages = self.packages.join(",");
        let prepare = self.prepare.unwrap_or_default();
        format!("{}\n{packages}\n{prepare}\n{PACK}", self.release)
    }

    fn make(&self, directory: &Path) -> Result<()> {
        let sources = directory.join("sources.list");
        fs::write(&sources, apt::sources(&apt::mirrors()?, self.release)?)?;
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap
            .args(["--quiet", "--variant=minbase", "--format=null"])
            .arg(format!("--include={}", self.packages.join(",")))
            .args(["--aptopt=APT::Install-Recommends false"]);
        let scripts = self.prepare.map(|text| ("prepare.sh", text));
        for (name, text) in scripts.into_iter().chain([("pack.sh", PACK)]) {
            let script = directory.join(name);
            fs::write(&script, text)?;
            fs::set_permissions(&script, Permissions::from_mode(0o755))?;
            mmdebstrap.arg(format!("--customize-hook={}", script.display()));
        }
        mmdebstrap
            .env("PACK_TO", directory.canonicalize()?)
            .args([self.release, "/dev/null"])
            .arg(&sources);
        command::run(&mut mmdebstrap).context("cannot build the guest's Debian")
    }
}
