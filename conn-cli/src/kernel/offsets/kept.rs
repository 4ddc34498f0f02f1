//! What was read of the kernel's BTF, kept until the machine is started again: to read it anew
//! takes a third of the time until connections are seen.
//!
//! A file that root alone can write to. Without it, or if anything about it is odd, the BTF is
//! read as if there were none.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    process,
};

use conn_common::SocketOffsets;
use serde::{Deserialize, Serialize};

/// Where it is kept: a file system that is empty after each start.
pub(super) const PATH: &str = "/run/conn-cli/offsets";

/// Larger than it ever is.
const LONGEST: u64 = 4096;

/// Which start of the machine it is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    boot_id: String,
    offsets: SocketOffsets,
}

/// What was kept since the machine was started, if it was.
pub(super) fn read(path: &Path) -> Option<SocketOffsets> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let is_of_root = metadata.uid() == 0 && metadata.mode() & 0o022 == 0;
    if !metadata.is_file() || !is_of_root {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    let kept: Kept = serde_json::from_str(&text).ok()?;
    (kept.boot_id == boot_id()?).then_some(kept.offsets)
}

/// Keeps it, if that can be done.
pub(super) fn write(path: &Path, offsets: SocketOffsets) {
    let Some(boot_id) = boot_id() else {
        return;
    };
    let kept = Kept { boot_id, offsets };
    if let Err(error) = try_write(path, &kept) {
        log::debug!("cannot keep the offsets in {}: {error}", path.display());
    }
}

fn try_write(path: &Path, kept: &Kept) -> io::Result<()> {
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
    file.write_all(&serde_json::to_vec(kept)?)?;
    fs::rename(&unfinished, path)
}

fn boot_id() -> Option<String> {
    fs::read_to_string(BOOT_ID).ok()
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use super::*;

    const OFFSETS: SocketOffsets = SocketOffsets {
        protocol: 516,
        ..SocketOffsets::STABLE
    };

    /// A file in a directory of its own.
    fn file(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("conn-cli-kept-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory.join("offsets")
    }

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn what_is_kept_is_read() {
        let path = file("whole");
        assert_eq!(read(&path), None);
        write(&path, SocketOffsets::STABLE);
        write(&path, OFFSETS);
        // Whoever is not root cannot make a file of root's.
        assert_eq!(read(&path), is_root().then_some(OFFSETS));
        let directory = path.parent().unwrap();
        assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_odd_is_not_read() {
        let path = file("odd");
        write(&path, OFFSETS);
        let whole = fs::read_to_string(&path).unwrap();
        let boot_id = boot_id().unwrap();
        for text in [
            "",
            "{",
            &whole[1..],
            &whole.replace(boot_id.trim(), "another"),
            &whole.replace("\"daddr\"", "\"address\""),
            &whole.replace("516", "65536"),
            &whole.replace("\"daddr\":0", "\"daddr\":\"0\""),
        ] {
            assert_ne!(text, whole);
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path), None, "{text}");
        }
        fs::write(&path, &whole).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert_eq!(read(&path), None, "anyone can write to it");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
