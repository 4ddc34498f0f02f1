//! Runs other programs: what failed is told with the command line and what it said.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs `command`, whose output goes where xtask's goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to its standard output.
///
/// What it writes to standard error is told only if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed: {}\n{}",
            shown(command),
            output.status,
            stderr.trim_end()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} wrote something other than UTF-8", shown(command)))
}

/// Installs packages of Debian; what it does is told on standard error.
pub(crate) fn apt_get_install(packages: &[&str]) -> Result<()> {
    eprintln!("installing Debian's packages {}", packages.join(" "));
    let apt_get = |words: &[&str]| {
        let mut apt_get = as_root("apt-get");
        run(apt_get.args(words).stdout(std::io::stderr()))
    };
    let install = ["install", "--yes", "--no-install-recommends"];
    let install = [&install, packages].concat();
    // The package lists may be missing or old.
    apt_get(&install).or_else(|_| apt_get(&["update"]).and_then(|()| apt_get(&install)))
}

/// The program as a command of root's, with sudo if need be.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Whether a program of this name is in `PATH`.
pub(crate) fn is_installed(program: &str) -> bool {
    directories().any(|directory| directory.join(program).is_file())
}

/// Where a program is, which may be one of those that are in root's `PATH` alone.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    directories()
        .chain(["/usr/sbin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// The directories of `PATH`; a guest has none.
fn directories() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    directories.into_iter()
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program()];
    words.extend(command.get_args());
    let words: Vec<_> = words.into_iter().map(OsStr::to_string_lossy).collect();
    format!("`{}`", words.join(" "))
}
