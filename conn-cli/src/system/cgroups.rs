//! Cgroup v2 paths by cgroup id, which is the inode number of the cgroup's directory.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    os::unix::{
        ffi::OsStringExt as _,
        fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use rustix::fs::{FsWord, statfs};

use super::text::escaped;

/// The type of the file system.
pub(crate) const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;

const MOUNTS: &str = "/proc/self/mounts";

/// The most cgroups that are read. A user who may create cgroups can create many.
const MAX_CGROUPS: usize = 65_536;

/// The paths of all cgroups by id, as in `/proc/PID/cgroup`: `/system.slice/nginx.service`.
/// They are not safe to show: names may contain any bytes, of which only invalid UTF-8 is
/// replaced. Empty if cgroup v2 is not mounted.
#[must_use]
pub(crate) fn paths() -> HashMap<u64, Box<str>> {
    mount_point().map_or_else(HashMap::new, |mount| paths_below(&mount))
}

/// The ids of a cgroup and of all below it.
#[must_use]
pub(crate) fn ids_below(directory: &Path) -> HashSet<u64> {
    paths_below(directory).into_keys().collect()
}

/// Directories that cannot be read are left out.
fn paths_below(mount: &Path) -> HashMap<u64, Box<str>> {
    let mut paths = HashMap::new();
    let Ok(root) = fs::metadata(mount) else {
        return paths;
    };
    paths.insert(root.ino(), "/".into());
    // Breadth first, so that many nested cgroups do not crowd out the others.
    let mut pending = VecDeque::from([PathBuf::new()]);
    while let Some(parent) = pending.pop_front() {
        let Ok(entries) = fs::read_dir(mount.join(&parent)) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if paths.len() >= MAX_CGROUPS {
                return paths;
            }
            let path = parent.join(entry.file_name());
            paths.insert(entry.ino(), format!("/{}", path.to_string_lossy()).into());
            pending.push_back(path);
        }
    }
    paths
}

/// The part of a path, as in [`paths`], that only root can have named: up to the first cgroup of another
/// user, who can make cgroups there. A service can be such a one, with `Delegate=` and `User=`.
#[must_use]
pub(crate) fn named_by_root(path: &str) -> &str {
    let mount = mount_point().unwrap_or_default();
    named_by_owner(path, |cgroup| {
        let directory = mount.join(cgroup.trim_start_matches('/'));
        fs::metadata(directory).is_ok_and(|directory| directory.uid() == 0)
    })
}

fn named_by_owner(path: &str, owns: impl Fn(&str) -> bool) -> &str {
    let ends = path.match_indices('/').map(|(end, _)| end).skip(1);
    let mut all = ends.chain([path.len()]).map(|end| &path[..end]);
    all.find(|cgroup| !owns(cgroup)).unwrap_or(path)
}

/// The directory of a cgroup. `path` is that directory, or the path in `/proc/PID/cgroup`, with
/// or without the leading slash.
///
/// # Errors
/// If the path is not a cgroup v2 directory.
pub(crate) fn directory(path: &Path) -> anyhow::Result<PathBuf> {
    directory_below(mount_point().as_deref(), path, is_cgroup2)
}

fn directory_below(
    mount: Option<&Path>,
    path: &Path,
    is_cgroup2: impl Fn(&Path) -> io::Result<bool>,
) -> anyhow::Result<PathBuf> {
    let name = escaped(path.as_os_str().as_encoded_bytes());
    // Otherwise an empty shell variable would mean the root, which contains every process.
    if name.is_empty() {
        bail!("the cgroup path is empty; use / for the root");
    }
    let relative = path.strip_prefix("/").unwrap_or(path);
    let below = mount.map(|mount| mount.join(relative));
    let mut is_other_filesystem = false;
    for candidate in path
        .is_absolute()
        .then_some(path)
        .into_iter()
        .chain(below.as_deref())
    {
        match is_cgroup2(candidate) {
            Ok(true) => {
                let directory = fs::metadata(candidate)
                    .with_context(|| format!("cannot access the cgroup {name}"))?;
                if !directory.is_dir() {
                    bail!("{name} is a file in a cgroup; give the directory instead");
                }
                return Ok(candidate.to_owned());
            }
            Ok(false) => is_other_filesystem = true,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot access the cgroup {name}"));
            }
        }
    }
    Err(match mount {
        None => anyhow!("cgroup v2 is not mounted: {MOUNTS} has no cgroup2 entry"),
        Some(_) if is_other_filesystem => {
            anyhow!("{name} is not a directory of a cgroup v2 hierarchy")
        }
        Some(mount) => {
            let mount = escaped(mount.as_os_str().as_encoded_bytes());
            anyhow!("there is no cgroup {name} below {mount}")
        }
    })
}

/// Whether it is in a cgroup v2 hierarchy.
pub(super) fn is_cgroup2(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.f_type == CGROUP2_SUPER_MAGIC)
}

/// Where cgroup v2 is mounted.
#[must_use]
pub(crate) fn mount_point() -> Option<PathBuf> {
    mount_points_in(&fs::read(MOUNTS).ok()?, is_version_2).next()
}

/// Where the hierarchy of cgroup v1 that limits memory is mounted, and not hidden by another mount.
#[must_use]
pub(crate) fn memory_mount_point() -> Option<PathBuf> {
    mount_points_in(&fs::read(MOUNTS).ok()?, limits_memory).find(|path| path.exists())
}

fn is_version_2(kind: &[u8], _: &[u8]) -> bool {
    kind == b"cgroup2"
}

fn limits_memory(kind: &[u8], options: &[u8]) -> bool {
    kind == b"cgroup"
        && options
            .split(|&byte| byte == b',')
            .any(|one| one == b"memory")
}

/// Where those file systems are mounted whose type and options are `wanted`.
fn mount_points_in(
    mounts: &[u8],
    wanted: fn(&[u8], &[u8]) -> bool,
) -> impl Iterator<Item = PathBuf> {
    mounts.split(|&byte| byte == b'\n').filter_map(move |line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        let options = fields.next().unwrap_or_default();
        wanted(kind, options).then(|| PathBuf::from(OsString::from_vec(unescaped(path))))
    })
}

/// Unescapes a field of the mount table, where separators and backslashes are octal escapes.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let (byte, after) = match rest {
            [
                b'\\',
                high @ b'0'..=b'3',
                middle @ b'0'..=b'7',
                low @ b'0'..=b'7',
                after @ ..,
            ] => {
                let digits = [high, middle, low].map(|digit| digit - b'0');
                (digits[0] << 6 | digits[1] << 3 | digits[2], after)
            }
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt as _, fs::symlink};

    use super::*;

    /// Ordinary directories instead of cgroups: they have inode numbers too. Removed on drop.
    struct Tree(PathBuf);

    impl Tree {
        fn with(name: &str, directories: &[&str]) -> Self {
            let name = format!("conn-cli-cgroups-{name}-{}", std::process::id());
            let tree = Self(std::env::temp_dir().join(name));
            let _ = fs::remove_dir_all(&tree.0);
            fs::create_dir(&tree.0).unwrap();
            for directory in directories {
                tree.make(directory);
            }
            tree
        }

        fn make(&self, directory: &str) -> u64 {
            fs::create_dir_all(self.0.join(directory)).unwrap();
            self.id(directory)
        }

        fn id(&self, path: &str) -> u64 {
            fs::metadata(self.0.join(path)).unwrap().ino()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn paths_contain_every_directory() {
        let tree = Tree::with("paths", &["a.slice/b.service", "c.slice"]);
        fs::write(tree.0.join("cgroup.procs"), "").unwrap();
        symlink("/", tree.0.join("link")).unwrap();
        symlink(&tree.0, tree.0.join("c.slice/loop")).unwrap();
        let paths = paths_below(&tree.0);
        for (directory, path) in [
            ("", "/"),
            ("a.slice", "/a.slice"),
            ("a.slice/b.service", "/a.slice/b.service"),
            ("c.slice", "/c.slice"),
        ] {
            assert_eq!(paths[&tree.id(directory)].as_ref(), path);
        }
        assert_eq!(paths.len(), 4);
    }

    #[test]
    fn paths_are_empty_without_a_mount() {
        assert!(paths_below(Path::new("/nonexistent")).is_empty());
    }

    #[test]
    fn invalid_utf8_in_names_is_replaced() {
        let tree = Tree::with("bytes", &[]);
        let name = std::ffi::OsStr::from_bytes(b"a\xff\x1b");
        fs::create_dir_all(tree.0.join(name).join("b")).unwrap();
        let id = fs::metadata(tree.0.join(name).join("b")).unwrap().ino();
        assert_eq!(paths_below(&tree.0)[&id].as_ref(), "/a\u{fffd}\x1b/b");
    }

    #[test]
    fn names_below_a_cgroup_of_another_user_are_that_users() {
        let part = |path| named_by_owner(path, |cgroup| !cgroup.ends_with("/a.service"));
        for (path, expected) in [
            ("/", "/"),
            ("/system.slice/b.service/c", "/system.slice/b.service/c"),
            ("/system.slice/a.service", "/system.slice/a.service"),
            ("/system.slice/a.service/c/d", "/system.slice/a.service"),
            ("/a.service/c/a.service/d", "/a.service"),
        ] {
            assert_eq!(part(path), expected, "{path}");
        }
    }

    #[test]
    fn directory_is_found_or_refused() {
        let tree = Tree::with("id", &["a.slice/b.service"]);
        fs::write(tree.0.join("cgroup.procs"), "").unwrap();
        let is_in_tree = |path: &Path| Ok(path.canonicalize()?.starts_with(&tree.0));
        let id = |path: &str| -> anyhow::Result<u64> {
            let directory = directory_below(Some(&tree.0), Path::new(path), is_in_tree)?;
            Ok(directory.metadata()?.ino())
        };
        let b = tree.id("a.slice/b.service");
        let absolute = tree.0.join("a.slice/b.service");
        for path in [
            "/a.slice/b.service",
            "a.slice/b.service",
            "./a.slice/../a.slice/b.service/",
        ] {
            assert_eq!(id(path).unwrap(), b, "{path}");
        }
        assert_eq!(id(absolute.to_str().unwrap()).unwrap(), b);
        assert_eq!(id("/").unwrap(), tree.id(""));
        for (path, expected) in [
            ("", "is empty"),
            ("/b.service", "there is no cgroup /b.service below /"),
            (
                "a.slice/\x1b[2J",
                "there is no cgroup a.slice/\\u{1b}[2J below",
            ),
            ("cgroup.procs", "is a file in a cgroup"),
            ("cgroup.procs/a", "there is no cgroup"),
            ("/proc", "/proc is not a directory of a cgroup v2 hierarchy"),
            ("..", ".. is not a directory"),
        ] {
            let error = format!("{:#}", id(path).unwrap_err());
            assert!(error.contains(expected), "{path}: {error}");
        }
        let error = directory_below(None, Path::new("/a.slice"), is_in_tree).unwrap_err();
        assert!(error.to_string().contains("cgroup v2 is not mounted"));
    }

    #[test]
    fn mount_point_is_found_among_other_mounts() {
        let mount = |mounts: &str| mount_points_in(mounts.as_bytes(), is_version_2).next();
        let hybrid = "proc /proc proc rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let odd = r"none /a\040b\134\400\9 cgroup2 rw 0 0";
        assert_eq!(mount(odd), Some(r"/a b\\400\9".into()));
        for none in ["", "\n\n", "cgroup2", "cgroup2 /a", "cgroup2 /a cgroup rw"] {
            assert_eq!(mount(none), None, "{none}");
        }
        let with_memory = |mounts: &str| mount_points_in(mounts.as_bytes(), limits_memory).next();
        assert_eq!(with_memory(hybrid), None);
        let memory = format!("{hybrid}cgroup /sys/fs/cgroup/memory cgroup rw,cpu,memory 0 0\n");
        assert_eq!(with_memory(&memory), Some("/sys/fs/cgroup/memory".into()));
    }

    #[test]
    fn own_cgroup_is_found() {
        // The other tests do not need a mounted cgroup v2.
        let (Some(mount), Ok(own)) = (mount_point(), fs::read_to_string("/proc/self/cgroup"))
        else {
            return;
        };
        let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
            return;
        };
        // It may be outside of this cgroup namespace.
        let Ok(found) = directory(Path::new(own)) else {
            return;
        };
        let expected = mount.join(own.trim_start_matches('/'));
        let id = fs::metadata(&expected).unwrap().ino();
        assert_eq!(fs::metadata(&found).unwrap().ino(), id);
        assert_eq!(paths()[&id].as_ref(), own);
        assert!(directory(&expected.join("cgroup.procs")).is_err());
        assert!(directory(Path::new("/proc")).is_err());
    }
}
