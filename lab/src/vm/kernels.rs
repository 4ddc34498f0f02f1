//! The kernels that the guests run: Debian's cloud kernels, fetched with apt and
//! cached in `target/vm/kernels` with the modules that guests load.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, Package};
use super::modules;
use crate::machine::Line;

/// The suffix of the names of these kernels.
fn flavour(line: Line) -> String {
    format!("-cloud-{}", line.architecture().debian())
}

/// The Debian release with a kernel of this line.
fn release(line: Line) -> &'static str {
    match line {
        Line::V5_10 => "bullseye",
        Line::V6_1 => "bookworm",
        Line::V6_12 | Line::V6_12Aarch64 => "trixie",
        Line::Newest => "sid",
    }
}

/// A kernel ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its line.
    pub line: Line,
    /// Such as `6.1.0-56`.
    pub release: String,
    /// The image that QEMU boots.
    pub image: PathBuf,
    /// Its configuration, which Debian installs as `/boot/config-RELEASE`.
    pub config: PathBuf,
    /// The directory of its modules.
    pub modules: PathBuf,
}

impl Kernel {
    fn in_directory(line: Line, release: String, directory: &Path) -> Self {
        Self {
            line,
            release,
            image: directory.join("vmlinuz"),
            config: directory.join("config"),
            modules: directory.join("modules"),
        }
    }

    /// As `uname -r` prints it.
    pub fn uname(&self) -> String {
        format!("{}{}", self.release, flavour(self.line))
    }

    fn is_complete(&self) -> bool {
        self.image.exists() && self.config.exists() && modules::are_cached(&self.modules)
    }
}

/// Finds the current kernel of each line and fetches it if it is not cached.
///
/// Without a network, uses the kernels fetched earlier.
pub fn obtain(lines: &[Line], directory: &Path) -> Result<Vec<Kernel>> {
    lines
        .iter()
        .map(|&line| {
            let store = directory.join("kernels").join(line.to_string());
            fetch(line, &store).or_else(|error| {
                eprintln!("cannot fetch the kernel {line}, trying one fetched before: {error:#}");
                cached(line, &store)
            })
        })
        .collect()
}

fn fetch(line: Line, store: &Path) -> Result<Kernel> {
    let apt = Apt::updated(release(line), line.architecture())?;
    let flavour = flavour(line);
    let meta_package = format!("linux-image{flavour}");
    let meta = apt.show(&meta_package)?.into_iter().next();
    let meta = meta.with_context(|| format!("no package {meta_package}"))?;
    let image = dependency(&apt, &meta, "linux-image-")?
        .with_context(|| format!("{meta_package} {} depends on no image", meta.version))?;
    let release = parse_release(&image.name, &flavour)?;
    let directory = store.join(&release);
    let kernel = Kernel::in_directory(line, release, &directory);
    if !kernel.is_complete() {
        println!("fetching Linux {}", kernel.uname());
        let unpacked = store.join("unpacked");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked)?;
        }
        apt.unpack(&image, &unpacked)?;
        // Since 7.x the image, the modules and the configuration are in packages of their own.
        for prefix in ["linux-binary-", "linux-modules-", "linux-base-"] {
            if let Some(holder) = dependency(&apt, &image, prefix)? {
                apt.unpack(&holder, &unpacked)?;
            }
        }
        fs::create_dir_all(&directory)?;
        modules::cache(&unpacked, &kernel.modules)?;
        for (name, path) in [("config", &kernel.config), ("vmlinuz", &kernel.image)] {
            let found = find(name, &unpacked)?
                .with_context(|| format!("the package {} has no {name}", image.name))?;
            fs::rename(found, path)?;
        }
        fs::remove_dir_all(&unpacked)?;
    }
    Ok(kernel)
}

/// The first dependency whose name begins with `prefix`, in the required version.
fn dependency(apt: &Apt, package: &Package, prefix: &str) -> Result<Option<Package>> {
    let Some((name, version)) = package
        .depends
        .iter()
        .find(|(name, _)| name.starts_with(prefix))
    else {
        return Ok(None);
    };
    let mut found = apt.show(name)?;
    found.retain(|package| {
        version
            .as_ref()
            .is_none_or(|wanted| *wanted == package.version)
    });
    if found.is_empty() {
        bail!("{} needs {name}, which is not in the release", package.name);
    }
    Ok(Some(found.swap_remove(0)))
}

/// `linux-image-6.1.0-56-cloud-amd64` holds Linux `6.1.0-56`.
fn parse_release(package: &str, flavour: &str) -> Result<String> {
    package
        .strip_prefix("linux-image-")
        .and_then(|rest| rest.strip_suffix(flavour))
        .map(str::to_owned)
        .with_context(|| format!("cannot find the kernel release in the package name {package}"))
}

/// The kernel of this line that was fetched last.
fn cached(line: Line, store: &Path) -> Result<Kernel> {
    let mut kernels = Vec::new();
    if store.exists() {
        for entry in fs::read_dir(store)? {
            let entry = entry?;
            let release = entry.file_name().to_string_lossy().into_owned();
            let kernel = Kernel::in_directory(line, release, &entry.path());
            if kernel.is_complete() {
                kernels.push((fs::metadata(&kernel.image)?.modified()?, kernel));
            }
        }
    }
    let newest = kernels.into_iter().max_by_key(|(modified, _)| *modified);
    let (_, kernel) = newest.with_context(|| {
        format!(
            "no kernel {line} with its modules was fetched before: {} has none",
            store.display()
        )
    })?;
    Ok(kernel)
}

/// Finds a file `NAME` or `NAME-RELEASE`, which is in `/boot` or with the modules.
fn find(wanted: &str, directory: &Path) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            if let Some(found) = find(wanted, &path)? {
                return Ok(Some(found));
            }
        } else if name == wanted || name.starts_with(&format!("{wanted}-")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_parsed_from_the_package_name() {
        assert_eq!(
            parse_release("linux-image-7.2.13+deb14-cloud-amd64", "-cloud-amd64").unwrap(),
            "7.2.13+deb14"
        );
        assert!(parse_release("linux-image-amd64", "-cloud-amd64").is_err());
    }
}
