//! The kernel modules that guests load: what the programs beside conn-cli need and Debian
//! did not build in.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use lzma_rust2::XzReader;
use object::{Object as _, ObjectSection as _};

/// What `ss` queries, the interfaces that packets are sent through, and sockets that the kernel accepts
/// for.
const WANTED: [&str; 7] = [
    "tcp_diag",
    "veth",
    "8021q",
    "inet_diag",
    "vrf",
    "bridge",
    "smc",
];

/// Written last, beside the modules: lists which ones they are.
const STAMP: &str = "wanted";

/// Whether the directory has all modules that are wanted now.
pub(super) fn are_cached(directory: &Path) -> bool {
    fs::read_to_string(directory.join(STAMP)).is_ok_and(|stamp| stamp == WANTED.join("\n"))
}

/// Finds the modules and their dependencies in `unpacked`, and caches them in
/// `directory`, uncompressed, with names in the order in which to load them.
///
/// A module that has no file is built in.
pub(super) fn cache(unpacked: &Path, directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let mut files = Vec::new();
    find_modules(unpacked, &mut files)?;
    // Debian's packages have no modules.dep: it is generated when they are installed.
    let modules = load_order(&WANTED, |name| {
        let Some((_, path)) = files.iter().find(|(found, _)| found == name) else {
            return Ok(None);
        };
        let content = read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let depends = read_depends(&content)
            .with_context(|| format!("cannot find the dependencies of {}", path.display()))?;
        Ok(Some((content, depends)))
    })?;
    for (index, (name, content)) in modules.iter().enumerate() {
        fs::write(directory.join(format!("{index:02}-{name}.ko")), content)?;
    }
    fs::write(directory.join(STAMP), WANTED.join("\n"))?;
    Ok(())
}

/// The names and contents of the modules cached in `directory`, in the order to load them.
pub(super) fn cached(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".ko") {
            modules.push((name, fs::read(entry.path())?));
        }
    }
    modules.sort();
    Ok(modules)
}

/// The names and files of all modules, compressed or not.
fn find_modules(directory: &Path, found: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            find_modules(&path, found)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some((name, _)) = name.split_once(".ko")
        {
            // Dependencies use this name, even if the file name has a dash.
            found.push((name.replace('-', "_"), path));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let content = fs::read(path)?;
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(content);
    }
    let mut uncompressed = Vec::new();
    XzReader::new(content.as_slice(), true).read_to_end(&mut uncompressed)?;
    Ok(uncompressed)
}

fn read_depends(module: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(module)?;
    let section = file.section_by_name(".modinfo").context("no .modinfo")?;
    parse_depends(section.data()?).context("no field `depends`")
}

/// Parses `.modinfo`: strings `KEY=VALUE`, each terminated by a zero byte.
fn parse_depends(modinfo: &[u8]) -> Option<Vec<String>> {
    let value = modinfo
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"depends="))?;
    let names = String::from_utf8_lossy(value);
    let names = names.split(',').filter(|name| !name.is_empty());
    Some(names.map(|name| name.replace('-', "_")).collect())
}

/// The wanted modules and all their dependencies, each after its own dependencies.
///
/// `read` returns a module's content and dependencies, or None if it has no file.
fn load_order<T>(
    wanted: &[impl AsRef<str>],
    mut read: impl FnMut(&str) -> Result<Option<(T, Vec<String>)>>,
) -> Result<Vec<(String, T)>> {
    fn visit<T>(
        name: &str,
        read: &mut impl FnMut(&str) -> Result<Option<(T, Vec<String>)>>,
        seen: &mut Vec<String>,
        order: &mut Vec<(String, T)>,
    ) -> Result<()> {
        if seen.iter().any(|seen| seen == name) {
            return Ok(());
        }
        seen.push(name.to_owned());
        if let Some((content, depends)) = read(name)? {
            for dependency in depends {
                visit(&dependency, read, seen, order)?;
            }
            order.push((name.to_owned(), content));
        }
        Ok(())
    }
    let (mut seen, mut order) = (Vec::new(), Vec::new());
    for name in wanted {
        visit(name.as_ref(), &mut read, &mut seen, &mut order)?;
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_parsed_from_modinfo() {
        let modinfo = b"version=1.8\0alias=rtnl-link-vlan\0depends=mrp,garp\0retpoline=Y\0";
        assert_eq!(parse_depends(modinfo).unwrap(), ["mrp", "garp"]);
        assert!(
            parse_depends(b"license=GPL\0depends=\0")
                .unwrap()
                .is_empty()
        );
        assert_eq!(parse_depends(b"license=GPL\0"), None);
    }

    #[test]
    fn modules_come_after_their_dependencies() {
        let depends = |name: &str| {
            Ok(match name {
                "8021q" => Some(vec!["mrp", "garp"]),
                "garp" => Some(vec!["stp", "llc"]),
                "stp" => Some(vec!["llc"]),
                "mrp" | "llc" => Some(vec![]),
                // Built in.
                _ => None,
            }
            .map(|depends| ((), depends.into_iter().map(str::to_owned).collect())))
        };
        let order = load_order(&["8021q", "af_packet", "llc"], depends).unwrap();
        let order: Vec<_> = order.iter().map(|(name, ())| name.as_str()).collect();
        assert_eq!(order, ["mrp", "llc", "stp", "garp", "8021q"]);
    }
}
