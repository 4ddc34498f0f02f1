//! One hash of what the objects are built from: the sources, the locked versions of
//! aya's crates and the settings of the build.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::build::RUSTFLAGS;

/// The packages of the workspace that are built into the objects.
const FOLDERS: [&str; 2] = ["conn-common", "conn-ebpf"];

/// Name prefixes of the registry packages that are built into the objects. Other
/// packages only take part in the build, as macros and build scripts.
const DEPENDENCIES: [&str; 3] = ["aya-ebpf", "aya-log-common", "aya-log-ebpf"];

/// A named part of what is hashed.
type Part = (String, Vec<u8>);

/// The hash of everything that the objects of this checkout should be built from.
pub(super) fn hash(root: &Path) -> Result<String> {
    let mut parts = Vec::new();
    for folder in FOLDERS {
        collect(root, &root.join(folder), &mut parts)?;
    }
    let read =
        |name| fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"));
    parts.push((
        "Cargo.lock".to_owned(),
        locked(&read("Cargo.lock")?).into_bytes(),
    ));
    parts.push((
        "Cargo.toml".to_owned(),
        settings(&read("Cargo.toml")?).into_bytes(),
    ));
    parts.push(("rustflags".to_owned(), RUSTFLAGS.join(" ").into_bytes()));
    Ok(hash_parts(parts))
}

pub(super) fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Does not depend on the order of the parts, because file systems list folders in any order.
fn hash_parts(mut parts: Vec<Part>) -> String {
    parts.sort();
    let mut hasher = Sha256::new();
    for (name, content) in &parts {
        // The lengths separate each part from the next.
        for bytes in [name.as_bytes(), content] {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Collects the Rust sources and manifests in a folder and its subfolders.
fn collect(root: &Path, folder: &Path, parts: &mut Vec<Part>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, parts)?;
        } else if path.extension().is_some_and(|extension| extension == "rs")
            || path.file_name().is_some_and(|name| name == "Cargo.toml")
        {
            let name = path.strip_prefix(root)?.display().to_string();
            let content = fs::read(&path).with_context(|| format!("cannot read {name}"))?;
            parts.push((name, content));
        }
    }
    Ok(())
}

/// The entries of a Cargo.lock for crates that are in the objects.
fn locked(lock: &str) -> String {
    let is_ours = |entry: &&str| {
        entry.lines().any(|line| {
            line.strip_prefix("name = \"")
                .is_some_and(|name| DEPENDENCIES.iter().any(|prefix| name.starts_with(prefix)))
        })
    };
    lock.split("\n\n")
        .filter(is_ours)
        .map(|entry| entry.trim().to_owned() + "\n")
        .collect()
}

/// The lines of the workspace's Cargo.toml that determine how the objects are built:
/// the release profile, and the requirements for aya's crates.
fn settings(manifest: &str) -> String {
    let mut lines = String::new();
    let mut in_profile = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_profile = line.starts_with("[profile.release");
        }
        let is_dependency = DEPENDENCIES.iter().any(|prefix| line.starts_with(prefix));
        if (in_profile || is_dependency) && !line.is_empty() && !line.starts_with('#') {
            lines += line;
            lines += "\n";
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, content: &str) -> Part {
        (name.to_owned(), content.as_bytes().to_vec())
    }

    #[test]
    fn order_of_parts_does_not_change_the_hash() {
        let one = hash_parts(vec![part("a", "1"), part("b", "2")]);
        assert_eq!(one, hash_parts(vec![part("b", "2"), part("a", "1")]));
    }

    #[test]
    fn every_byte_and_every_name_changes_the_hash() {
        let hashes = [
            hash_parts(vec![part("a", "12"), part("b", "3")]),
            hash_parts(vec![part("a", "1x"), part("b", "3")]),
            hash_parts(vec![part("a", "1"), part("b", "23")]),
            hash_parts(vec![part("a", "12"), part("c", "3")]),
            hash_parts(vec![part("a", "3"), part("b", "12")]),
            hash_parts(vec![part("a", "12b3")]),
            hash_parts(vec![part("a", "12")]),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[index + 1..].contains(hash), "{index}");
        }
    }

    #[test]
    fn hash_is_sha256() {
        let empty_hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash_bytes(b""), empty_hash);
    }

    #[test]
    fn source_names_are_relative_to_the_root() {
        let root = lab::workspace::root();
        let mut parts = Vec::new();
        collect(&root, &root.join("conn-common"), &mut parts).unwrap();
        let mut names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert!(names.contains(&"conn-common/Cargo.toml"), "{names:?}");
        assert!(names.contains(&"conn-common/src/lib.rs"), "{names:?}");
    }

    #[test]
    fn only_crates_in_the_objects_are_taken_from_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"aya\"\nversion = \"1.0.0\"\n\n\
                    [[package]]\nname = \"aya-ebpf\"\nversion = \"2.0.0\"\n\n\
                    [[package]]\nname = \"aya-log-common\"\nversion = \"3.0.0\"\n";
        assert_eq!(
            locked(lock),
            "[[package]]\nname = \"aya-ebpf\"\nversion = \"2.0.0\"\n\
             [[package]]\nname = \"aya-log-common\"\nversion = \"3.0.0\"\n"
        );
    }

    #[test]
    fn only_build_settings_are_taken_from_the_manifest() {
        let manifest = "[workspace.dependencies]\nanyhow = \"1\"\naya-ebpf = \"=1\"\n\n\
                        # why\n[profile.release]\n# why\nlto = true\n\n\
                        [profile.release.package.conn-ebpf]\ndebug = 2\n\n\
                        [profile.dev]\ndebug = 0\n";
        assert_eq!(
            settings(manifest),
            "aya-ebpf = \"=1\"\n[profile.release]\nlto = true\n\
             [profile.release.package.conn-ebpf]\ndebug = 2\n"
        );
    }
}
