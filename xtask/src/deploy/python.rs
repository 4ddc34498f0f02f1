//! Packages of PyPI, which are installed into `target` only.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use lab::packages::{self, Install};
use lab::{command, workspace};

/// A Python that can import this package, such as `chdb-core==26.9.0`. It is fetched once.
pub(super) fn with_package(package: &str, install: Install) -> Result<Command> {
    packages::require(&["python3"], install)?;
    let path = fetch(package, install)
        .with_context(|| format!("cannot fetch {package} from PyPI, with pip"))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", path);
    Ok(python)
}

fn fetch(package: &str, install: Install) -> Result<PathBuf> {
    let path = workspace::root().join("target/python").join(package);
    if path.exists() {
        return Ok(path);
    }
    if command::output(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
        packages::provide(&["python3-pip"], install)?;
    }
    // Renamed when all of it is there.
    let part = path.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
    ]);
    command::output(pip.arg(&part).arg(package))?;
    fs::rename(&part, &path)?;
    Ok(path)
}
