//! What was read of the kernel's BTF, kept until the machine is started again: to read it anew
//! takes half as long as all else until connections are seen.
//!
//! A file that root alone can write to. Without it, or if anything about it is odd, the BTF is
//! read as if there were none.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    process,
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::KernelTypes;

/// Where it is kept: a file system that is empty after each start.
pub(super) const PATH: &str = "/run/conn-cli/types";

/// Larger than it ever is.
const MAX_LEN: u64 = 4096;

/// `BTF_MAX_TYPE` of `include/uapi/linux/btf.h`.
const MAX_TYPE_ID: u32 = 0x000f_ffff;

/// Which start of the machine it is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What is kept, and what it holds for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheEntry {
    #[serde(flatten)]
    valid_for: ValidFor,
    types: KernelTypes,
}

/// The boot alone would do, but a container may have another's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ValidFor {
    boot_id: String,
    kernel: String,
    conn_cli: String,
}

/// What was kept since the machine was started, if it was.
pub(super) fn read(path: &Path) -> Option<KernelTypes> {
    if !is_trusted(&fs::symlink_metadata(path.parent()?).ok()?) {
        return None;
    }
    // What is no file would be waited for.
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

/// Whether root alone can have written it.
fn is_trusted(metadata: &Metadata) -> bool {
    metadata.uid() == 0 && metadata.mode() & 0o022 == 0
}

fn parse(text: &str, now: &ValidFor) -> Option<KernelTypes> {
    let cache: CacheEntry = serde_json::from_str(text).ok()?;
    let KernelTypes {
        offsets,
        graft_id,
        lsm_graft_id,
    } = cache.types;
    let is_id = |id| (1..=MAX_TYPE_ID).contains(&id);
    // Not every kernel has the BPF LSM.
    let is_sound = offsets.fit() && graft_id.is_some_and(is_id) && lsm_graft_id.is_none_or(is_id);
    (cache.valid_for == *now && is_sound).then_some(cache.types)
}

/// Keeps it, if that can be done.
pub(super) fn write(path: &Path, types: KernelTypes) {
    let Some(valid_for) = ValidFor::now() else {
        return;
    };
    let cache = CacheEntry { valid_for, types };
    if let Err(error) = try_write(path, &cache) {
        log::debug!("cannot keep {}: {error}", path.display());
    }
}

fn try_write(path: &Path, cache: &CacheEntry) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        match DirBuilder::new().mode(0o755).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => (),
        }
    }
    // Under its name only when it is whole.
    let unfinished = path.with_extension(process::id().to_string());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&unfinished)?;
    let written = file
        .write_all(&serde_json::to_vec(cache)?)
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // The error that is told is why it could not be written.
        let _ = fs::remove_file(&unfinished);
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

    use conn_common::SocketOffsets;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const TYPES: KernelTypes = KernelTypes {
        offsets: SocketOffsets {
            protocol: 516,
            ..SocketOffsets::STABLE
        },
        graft_id: Some(30_000),
        lsm_graft_id: Some(40_000),
    };

    fn valid_for(boot_id: &str) -> ValidFor {
        ValidFor {
            boot_id: boot_id.to_owned(),
            kernel: "6.1 #1".to_owned(),
            conn_cli: "0.1.0".to_owned(),
        }
    }

    /// A file in a directory of its own.
    fn file(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("conn-cli-kept-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory.join("types")
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn what_holds_for_another_start_or_is_odd_is_not_taken() {
        let now = valid_for("one");
        let cache = CacheEntry {
            valid_for: now.clone(),
            types: TYPES,
        };
        let whole = serde_json::to_string(&cache).unwrap();
        assert_eq!(parse(&whole, &now), Some(TYPES));
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
            &whole.replace(":30000", ":null"),
            &whole.replace(":30000", ":0"),
            &whole.replace(":30000", ":4294967295"),
            &whole.replace("security_sock_graft", "another"),
            &whole.replace(":40000", ":0"),
            &whole.replace(",\"bpf_lsm_sock_graft\":40000", ""),
        ] {
            assert_ne!(text, whole);
            assert_eq!(parse(text, &now), None, "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_read_if_it_is_roots_alone() {
        let path = file("kept");
        assert_eq!(read(&path), None);
        write(&path, KernelTypes::WITHOUT_BTF);
        write(&path, TYPES);
        let directory = path.parent().unwrap();
        assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
        assert_eq!(read(&path), is_root().then_some(TYPES));
        for (open, shut) in [(&*path, 0o644), (directory, 0o755)] {
            fs::set_permissions(open, Permissions::from_mode(shut | 0o002)).unwrap();
            assert_eq!(read(&path), None, "anyone can write to {}", open.display());
            fs::set_permissions(open, Permissions::from_mode(shut)).unwrap();
        }
        let elsewhere = directory.join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert_eq!(read(&path), None, "a link");
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o644), 0).unwrap();
        assert_eq!(read(&path), None, "a pipe that nobody writes to");
        fs::remove_dir_all(directory).unwrap();
    }
}
