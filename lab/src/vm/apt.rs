//! A private apt: it sees only one Debian release for one architecture, and does not touch the
//! machine's own package lists.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::machine::Architecture;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// The dependencies: name and, if it is exact, version.
    pub(super) depends: Vec<(String, Option<String>)>,
}

/// An apt with its state in a directory of ours.
pub struct Apt {
    directory: PathBuf,
    architecture: Architecture,
}

impl Apt {
    /// Sets the state up, beside what guests boot from, and fetches the package lists of `release`.
    pub fn updated(release: &str, architecture: Architecture) -> Result<Self> {
        let name = format!("apt/{release}-{}", architecture.debian());
        let directory = super::directory()?.join(name);
        let apt = Self {
            directory,
            architecture,
        };
        let directory = &apt.directory;
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        fs::write(directory.join("state/status"), "")?;
        fs::write(
            directory.join("sources.list"),
            sources(&mirrors()?, release)?,
        )?;
        command::output(apt.command("apt-get").args(["--error-on=any", "update"]))
            .with_context(|| format!("cannot fetch the package lists of Debian {release}"))?;
        Ok(apt)
    }

    /// Every version of a package that the release has, highest first.
    pub fn show(&self, name: &str) -> Result<Vec<Package>> {
        let text = command::output(self.command("apt-cache").args(["show", name]))?;
        Ok(parse_packages(&text))
    }

    /// Fetches a package and unpacks it into `into`.
    pub fn unpack(&self, package: &Package, into: &Path) -> Result<()> {
        let downloads = self.directory.join("downloads");
        if downloads.exists() {
            fs::remove_dir_all(&downloads)?;
        }
        fs::create_dir_all(&downloads)?;
        let wanted = format!("{}={}", package.name, package.version);
        let mut download = self.command("apt-get");
        download.current_dir(&downloads);
        command::output(download.args(["download", &wanted]))?;
        unpack_each(&downloads, into)?;
        fs::remove_dir_all(&downloads)?;
        Ok(())
    }

    /// Fetches these packages and all that they depend on, and unpacks them into `into`.
    pub fn unpack_with_dependencies(&self, packages: &[&str], into: &Path) -> Result<()> {
        let clean = || command::output(self.command("apt-get").arg("clean"));
        clean()?;
        let mut download = self.command("apt-get");
        download.args(["install", "--yes", "--download-only"]);
        command::output(download.arg("--no-install-recommends").args(packages))?;
        unpack_each(&self.directory.join("cache/archives"), into)?;
        clean()?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let path = |part: &str| self.directory.join(part).display().to_string();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::State={}", path("state")),
            format!("Dir::State::Lists={}", path("state/lists")),
            format!("Dir::State::status={}", path("state/status")),
            format!("Dir::Cache={}", path("cache")),
            format!("Dir::Etc::SourceList={}", path("sources.list")),
            format!("APT::Architecture={}", self.architecture.debian()),
            format!("APT::Architectures={}", self.architecture.debian()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            // The lists of an old release have expired, which is expected.
            "Acquire::Check-Valid-Until=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // The user `_apt` cannot write to our directory.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// Has `unpack` fill a directory with these packages, unless it has them from an earlier run.
pub fn unpack_once(
    packages: &[&str],
    directory: &Path,
    unpack: impl FnOnce() -> Result<()>,
) -> Result<()> {
    // Written last: an incomplete directory, or one of other packages, is filled again.
    let stamp = directory.join("packages");
    let packages = packages.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == packages) {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    println!("fetching {packages}");
    unpack()?;
    fs::write(stamp, packages)?;
    Ok(())
}

/// Unpacks every package in the directory `from` into `into`.
fn unpack_each(from: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            command::output(Command::new("dpkg-deb").arg("-x").args([&path, into]))?;
        }
    }
    Ok(())
}

/// The machine's own package sources: pairs of mirror and release.
pub fn mirrors() -> Result<BTreeSet<(String, String)>> {
    let list = || {
        command::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(SITE) $(CODENAME) $(ORIGIN)",
        ]))
    };
    let mut text = list()?;
    if text.trim().is_empty() {
        // Without package lists apt does not know its own releases.
        command::output(Command::new("apt-get").arg("update"))
            .context("apt has no package lists; run `apt-get update` as root")?;
        text = list()?;
    }
    Ok(parse_mirrors(&text))
}

fn parse_mirrors(text: &str) -> BTreeSet<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some(site), Some(codename), Some("Debian")) => {
                    Some((site.to_owned(), codename.to_owned()))
                }
                _ => None,
            }
        })
        .collect()
}

/// The apt sources of `release`, from the machine's own mirrors.
pub fn sources(mirrors: &BTreeSet<(String, String)>, release: &str) -> Result<String> {
    if !Path::new(KEYRING).exists() {
        bail!("{KEYRING} is missing; install the package debian-archive-keyring");
    }
    let is_security = |codename: &str| codename.ends_with("-security");
    let Some((main, _)) = mirrors.iter().find(|(_, codename)| !is_security(codename)) else {
        bail!("the machine's apt configuration has no mirror of Debian to take kernels from");
    };
    let security = mirrors.iter().find(|(_, codename)| is_security(codename));
    let mut text = format!("deb [signed-by={KEYRING}] {main} {release} main\n");
    if let Some((security, _)) = security
        && release != "sid"
    {
        text += &format!("deb [signed-by={KEYRING}] {security} {release}-security main\n");
    }
    Ok(text)
}

/// Parses the output of `apt-cache show`: a paragraph for each version.
fn parse_packages(text: &str) -> Vec<Package> {
    text.split("\n\n")
        .filter_map(|paragraph| {
            let field = |name: &str| {
                paragraph
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            Some(Package {
                name: field("Package")?.to_owned(),
                version: field("Version")?.to_owned(),
                depends: parse_depends(field("Depends").unwrap_or_default()),
            })
        })
        .collect()
}

fn parse_depends(text: &str) -> Vec<(String, Option<String>)> {
    text.split(", ")
        .filter_map(|dependency| {
            let mut words = dependency.split(' ');
            let name = words.next().filter(|name| !name.is_empty())?;
            let version = match (words.next(), words.next()) {
                (Some("(="), Some(version)) => Some(version.trim_end_matches(')').to_owned()),
                _ => None,
            };
            Some((name.to_owned(), version))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_cache_output_is_parsed() {
        let text = "Package: linux-image\nVersion: 7.2-1\nDepends: base (= 7.2-1), kmod | x, y (>= 2)\nDescription: a\n b\n\nPackage: linux-image\nVersion: 6.1-1\n";
        let packages = parse_packages(text);
        assert_eq!(packages.len(), 2);
        assert_eq!(
            packages[0].depends,
            [
                ("base".to_owned(), Some("7.2-1".to_owned())),
                ("kmod".to_owned(), None),
                ("y".to_owned(), None),
            ]
        );
        assert_eq!(packages[1].version, "6.1-1");
        assert!(packages[1].depends.is_empty());
    }

    #[test]
    fn only_debian_mirrors_are_taken() {
        let mirrors = parse_mirrors(
            "http://a/debian bookworm Debian\nhttp://b/ bookworm-security Debian\nhttps://c nodistro nodesource\n",
        );
        let expected = [
            ("http://a/debian".to_owned(), "bookworm".to_owned()),
            ("http://b/".to_owned(), "bookworm-security".to_owned()),
        ];
        assert_eq!(mirrors, BTreeSet::from(expected));
    }
}
