//! A cache of what was read from the kernel's BTF, valid until the next boot. Reading the BTF again
//! takes half as long as the rest of the startup.
//!
//! The cache is a file that only root can write. If it is missing or anything about it is wrong,
//! the BTF is read instead.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    process,
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{KernelTypes, functions};

/// The path of the cache, on a file system that is empty after each boot.
pub(super) const PATH: &str = "/run/conn-cli/types";

/// More than the size of any valid cache file.
const MAX_LEN: u64 = 4096;

/// `BTF_MAX_TYPE` of `include/uapi/linux/btf.h`.
const MAX_TYPE_ID: u32 = 0x000f_ffff;

/// Where the kernel shows the id of the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The content of the cache, and for which kernel it is valid.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheEntry<T> {
    #[serde(flatten)]
    valid_for: ValidFor,
    types: T,
}

/// The boot id alone would suffice, but a container may have another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ValidFor {
    boot_id: String,
    kernel: String,
    conn_cli: String,
}

/// Returns what was cached since the machine booted, if anything.
pub(super) fn read(path: &Path) -> Option<KernelTypes> {
    if !is_trusted(&fs::symlink_metadata(path.parent()?).ok()?) {
        return None;
    }
    // Without NONBLOCK, opening a FIFO would block.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || !is_trusted(&metadata) {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_LEN).read_to_string(&mut text).ok()?;
    parse(&text, &ValidFor::now()?)
}

/// Whether only root can have written it.
fn is_trusted(metadata: &Metadata) -> bool {
    metadata.uid() == 0 && metadata.mode() & 0o022 == 0
}

fn parse(text: &str, now: &ValidFor) -> Option<KernelTypes> {
    let cache: CacheEntry<KernelTypes> = serde_json::from_str(text).ok()?;
    let KernelTypes {
        offsets,
        task_offsets: _,
        request_offsets: _,
        functions: ids,
        counts_kprobe_misses: _,
        allocates_on_demand: _,
    } = &cache.types;
    // The file of another build may lack a function, which does not mean that the kernel does.
    let has_all = functions().all(|function| ids.contains_key(function));
    let are_ids = ids
        .values()
        .flatten()
        .all(|id| (1..=MAX_TYPE_ID).contains(id));
    (cache.valid_for == *now && offsets.fit() && has_all && are_ids).then_some(cache.types)
}

/// Writes the cache. A failure is only logged.
pub(super) fn write(path: &Path, types: &KernelTypes) {
    let Some(valid_for) = ValidFor::now() else {
        return;
    };
    let cache = CacheEntry { valid_for, types };
    if let Err(error) = try_write(path, &cache) {
        log::debug!("cannot write the cache {}: {error}", path.display());
    }
}

fn try_write(path: &Path, cache: &CacheEntry<&KernelTypes>) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        match DirBuilder::new().mode(0o755).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => (),
        }
    }
    // Renamed once it is complete, so that no other process reads a partial file.
    let temporary = path.with_extension(process::id().to_string());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)?;
    let written = file
        .write_all(&serde_json::to_vec(cache)?)
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that matters is why the file could not be written.
        let _ = fs::remove_file(&temporary);
    }
    written
}

impl ValidFor {
    fn now() -> Option<Self> {
        let uname = rustix::system::uname();
        let (release, version) = (uname.release(), uname.version());
        Some(Self {
            boot_id: fs::read_to_string(BOOT_ID).ok()?.trim_end().to_owned(),
            kernel: format!(
                "{} {}",
                release.to_string_lossy(),
                version.to_string_lossy()
            ),
            conn_cli: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::PathBuf,
    };

    use conn_common::{RequestOffsets, SocketOffsets, TaskOffsets};
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn types() -> KernelTypes {
        KernelTypes {
            task_offsets: TaskOffsets {
                flags: 44,
                ..TaskOffsets::UNKNOWN
            },
            offsets: SocketOffsets {
                protocol: 516,
                ..SocketOffsets::STABLE
            },
            request_offsets: Some(RequestOffsets::NONE),
            functions: functions()
                .map(|function| (function.to_owned(), Some(30_000)))
                .chain([("bpf_lsm_sock_graft".to_owned(), Some(40_000))])
                .collect(),
            counts_kprobe_misses: true,
            allocates_on_demand: true,
        }
    }

    fn valid_for(boot_id: &str) -> ValidFor {
        ValidFor {
            boot_id: boot_id.to_owned(),
            kernel: "6.1 #1".to_owned(),
            conn_cli: "0.1.0".to_owned(),
        }
    }

    /// The path of a cache file in a directory that does not exist yet.
    fn file(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("conn-cli-cache-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory.join("types")
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn stale_or_invalid_caches_are_ignored() {
        let now = valid_for("one");
        let cache = CacheEntry {
            valid_for: now.clone(),
            types: types(),
        };
        let whole = serde_json::to_string(&cache).unwrap();
        assert_eq!(parse(&whole, &now), Some(types()));
        assert_eq!(parse(&whole, &valid_for("two")), None);
        let another = ValidFor {
            kernel: "6.1 #2".to_owned(),
            ..now.clone()
        };
        assert_eq!(parse(&whole, &another), None);
        for text in [
            "",
            "{",
            &whole[1..],
            &whole.replace("\"daddr\"", "\"address\""),
            &whole.replace("\"protocol\":516", "\"protocol\":65536"),
            &whole.replace("\"daddr\":0", "\"daddr\":\"0\""),
            &whole.replace("\"net\":48", "\"net\":480"),
            &whole.replace(":30000", ":0"),
            &whole.replace(":30000", ":4294967295"),
            &whole.replace("security_sock_graft", "another"),
            &whole.replace(":40000", ":0"),
            &whole.replace("\"bpf_lsm_sock_graft\":40000,", ""),
        ] {
            assert_ne!(text, whole);
            assert_eq!(parse(text, &now), None, "{text}");
        }
        // Not every kernel has the BPF LSM.
        let without = parse(&whole.replace(":40000", ":null"), &now).unwrap();
        assert_eq!(without.function_id("bpf_lsm_sock_graft"), None);
    }

    #[test]
    fn the_cache_is_only_read_if_only_root_can_write_it() {
        let path = file("trusted");
        assert_eq!(read(&path), None);
        write(&path, &KernelTypes::without_btf());
        write(&path, &types());
        let directory = path.parent().unwrap();
        assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
        assert_eq!(read(&path), is_root().then(types));
        for (writable, mode) in [(&*path, 0o644), (directory, 0o755)] {
            fs::set_permissions(writable, Permissions::from_mode(mode | 0o002)).unwrap();
            assert_eq!(
                read(&path),
                None,
                "anyone can write to {}",
                writable.display()
            );
            fs::set_permissions(writable, Permissions::from_mode(mode)).unwrap();
        }
        let elsewhere = directory.join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert_eq!(read(&path), None, "a symbolic link");
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o644), 0).unwrap();
        assert_eq!(read(&path), None, "a FIFO without a writer");
        fs::remove_dir_all(directory).unwrap();
    }
}
