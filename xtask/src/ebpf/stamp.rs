//! The stamp of the committed objects: what they were built from, and their hashes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::build::Object;
use super::sources;
use super::toolchain::{Identity, Kind};

/// The folder of the committed objects, relative to the workspace root.
pub(super) const COMMITTED: &str = "conn-cli/ebpf";

const HEAD: &str = "\
# What the objects beside this file were made from, written by `cargo xtask ebpf`.
# `cargo xtask ebpf --check` makes them again and compares.
";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) toolchain: Identity,
    /// The hash of what they were built from.
    sources: String,
    /// The hash of each object, by its path relative to the folder of objects.
    objects: BTreeMap<String, String>,
}

impl Stamp {
    pub(super) fn new(root: &Path, toolchain: Identity, objects: &[Object]) -> Result<Self> {
        let hashed = |object: &Object| (object.name.clone(), sources::hash_bytes(&object.bytes));
        Ok(Self {
            toolchain,
            sources: sources::hash(root)?,
            objects: objects.iter().map(hashed).collect(),
        })
    }

    pub(super) fn read(root: &Path) -> Result<Self> {
        let text = fs::read_to_string(path(root))
            .with_context(|| format!("cannot read {COMMITTED}/STAMP"))?;
        Self::parse(&text).with_context(|| format!("cannot parse {COMMITTED}/STAMP"))
    }

    pub(super) fn write(&self, root: &Path) -> Result<()> {
        write(&path(root), self.to_text().as_bytes())
    }

    /// Describes how the checkout differs from the stamp.
    pub(super) fn mismatches(&self, root: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        if sources::hash(root)? != self.sources {
            found.push("conn-ebpf, conn-common or their build settings have changed".to_owned());
        }
        for (name, hash) in &self.objects {
            let object = format!("{COMMITTED}/{name}");
            match fs::read(root.join(&object)) {
                Ok(bytes) if sources::hash_bytes(&bytes) == *hash => {}
                Ok(_) => found.push(format!("{object} differs from the stamp")),
                Err(error) => found.push(format!("cannot read {object}: {error}")),
            }
        }
        Ok(found)
    }

    fn to_text(&self) -> String {
        let Identity {
            kind,
            rustc,
            linker,
        } = &self.toolchain;
        let mut text = HEAD.to_owned();
        let mut line = |name: &str, value: &str| {
            writeln!(text, "{name} = {value}").expect("writing to a string does not fail");
        };
        line("toolchain", kind.name());
        line("rustc", rustc);
        line("linker", linker);
        line("sources", &self.sources);
        for (name, hash) in &self.objects {
            line(name, hash);
        }
        text
    }

    fn parse(text: &str) -> Result<Self> {
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line
                .split_once(" = ")
                .with_context(|| format!("no `name = value` line: {line}"))?;
            values.insert(name.to_owned(), value.to_owned());
        }
        let mut take = |name: &str| values.remove(name).with_context(|| format!("no {name}"));
        let kind = take("toolchain")?;
        Ok(Self {
            toolchain: Identity {
                kind: Kind::from_name(&kind)
                    .with_context(|| format!("an unknown toolchain: {kind}"))?,
                rustc: take("rustc")?,
                linker: take("linker")?,
            },
            sources: take("sources")?,
            objects: values,
        })
    }
}

fn path(root: &Path) -> PathBuf {
    root.join(COMMITTED).join("STAMP")
}

/// Writes a file, and makes its folder if it is not there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Stamp {
        Stamp {
            toolchain: Identity {
                kind: Kind::Debian,
                rustc: "rustc 1.2.3 (abc), LLVM 4.5.6".to_owned(),
                linker: "bpf-linker 7.8.9".to_owned(),
            },
            sources: "01".to_owned(),
            objects: BTreeMap::from([("x86_64/kprobe.o".to_owned(), "02".to_owned())]),
        }
    }

    #[test]
    fn stamp_is_parsed_as_written() {
        let stamp = example();
        assert_eq!(Stamp::parse(&stamp.to_text()).unwrap(), stamp);
    }

    #[test]
    fn incomplete_stamp_is_refused() {
        let text = example().to_text().replace("linker", "tinker");
        assert_eq!(Stamp::parse(&text).unwrap_err().to_string(), "no linker");
    }

    #[test]
    fn unknown_toolchain_is_refused() {
        let text = example().to_text().replace("debian", "gentoo");
        let error = Stamp::parse(&text).unwrap_err().to_string();
        assert_eq!(error, "an unknown toolchain: gentoo");
    }

    /// The objects that conn-cli embeds must be built from the current eBPF programs.
    #[test]
    fn committed_objects_match_their_sources() {
        let root = lab::workspace::root();
        let mismatches = Stamp::read(&root).unwrap().mismatches(&root).unwrap();
        assert!(
            mismatches.is_empty(),
            "{}; run `cargo xtask ebpf` and commit {COMMITTED}",
            mismatches.join("; ")
        );
    }
}
