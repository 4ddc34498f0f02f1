//! Debian packages that a development task needs. They are installed only if that is asked for.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use crate::command;

/// What to do about missing packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Install {
    /// Fail, and name the command that installs them.
    No,
    /// Install them.
    Yes,
}

impl Install {
    /// By the option `--install`.
    pub fn from_option(install: bool) -> Self {
        if install { Self::Yes } else { Self::No }
    }

    /// The option for a command that is started, if any.
    pub fn option(self) -> Option<&'static str> {
        (self == Self::Yes).then_some("--install")
    }
}

/// The programs whose packages have other names.
const PACKAGES: [(&str, &str); 16] = [
    ("busybox", "busybox-static"),
    ("c++", "g++"),
    ("cat", "coreutils"),
    ("editcap", "wireshark-common"),
    ("ip", "iproute2"),
    ("man", "man-db"),
    ("mergecap", "wireshark-common"),
    ("nsenter", "util-linux"),
    ("nstat", "iproute2"),
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("sh", "dash"),
    ("ss", "iproute2"),
    ("systemd-analyze", "systemd"),
    ("unshare", "util-linux"),
    ("xz", "xz-utils"),
];

/// The Debian package with this program.
pub fn package(program: &str) -> &str {
    PACKAGES
        .into_iter()
        .find_map(|(name, package)| (name == program).then_some(package))
        .unwrap_or(program)
}

/// Fails, or installs them, unless all these programs are there.
pub fn require(programs: &[&str], install: Install) -> Result<()> {
    let missing: BTreeSet<_> = programs
        .iter()
        .filter(|program| command::find(program).is_none())
        .map(|program| package(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    provide(&Vec::from_iter(missing), install)
}

/// Installs these packages, which are missing, or fails and names the command that does it.
pub fn provide(packages: &[&str], install: Install) -> Result<()> {
    let names = packages.join(" ");
    match install {
        Install::Yes => {
            apt_get_install(packages).with_context(|| format!("install the packages {names}"))
        }
        Install::No => {
            let what = if packages.len() == 1 {
                "a package is"
            } else {
                "packages are"
            };
            bail!("{what} missing; pass --install, or run\n  apt-get install {names}")
        }
    }
}

/// Installs Debian packages; all output goes to standard error.
fn apt_get_install(packages: &[&str]) -> Result<()> {
    eprintln!("installing the Debian packages {}", packages.join(" "));
    let apt_get = |words: &[&str]| {
        let mut apt_get = command::as_root("apt-get");
        command::run(apt_get.args(words).stdout(std::io::stderr()))
    };
    let install = ["install", "--yes", "--no-install-recommends"];
    let install = [&install, packages].concat();
    // The package lists may be missing or old.
    apt_get(&install).or_else(|_| apt_get(&["update"]).and_then(|()| apt_get(&install)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_package_is_named_with_its_command() {
        require(&["sh"], Install::No).unwrap();
        let error = provide(&["tcpdump", "iproute2"], Install::No).unwrap_err();
        let command = "apt-get install tcpdump iproute2";
        assert!(error.to_string().contains(command), "{error}");
        assert_eq!(package("ss"), "iproute2");
        assert_eq!(package("tcpdump"), "tcpdump");
    }
}
