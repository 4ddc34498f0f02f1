//! How much memory there is; and saves it, since conn-cli may run for weeks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::{system::sysinfo, thread::disable_transparent_huge_pages};

use super::cgroups;

/// Disables transparent huge pages. One of them would take as much memory as everything else, for a
/// heap of some hundred kilobytes. Call this early.
pub(crate) fn save() {
    // If this fails, conn-cli only takes more memory.
    let _ = disable_transparent_huge_pages(true);
}

/// Returns the memory that was only needed to start.
pub(crate) fn release() {
    // SAFETY: malloc_trim only returns unused pages to the system.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The bytes of memory that this process can have: those of the machine, or what its cgroup or one above
/// that allows, in either version, if that is less. None if that is not known.
#[must_use]
pub(crate) fn size() -> Option<u64> {
    let machine = sysinfo();
    let machine = u64::from(machine.mem_unit).checked_mul(machine.totalram);
    let machine = machine.filter(|bytes| *bytes > 0);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let v2 = lowest_limit(cgroups::mount_point(), path_in(&groups, ""), "memory.max");
    let v1 = lowest_limit(
        cgroups::memory_mount_point(),
        path_in(&groups, "memory"),
        "memory.limit_in_bytes",
    );
    [machine, v2, v1].into_iter().flatten().min()
}

/// The path of this process in the hierarchy with this controller: `4:memory:/path`. That of cgroup v2 has
/// no controllers in its line (cgroups(7)).
fn path_in<'a>(groups: &'a str, controller: &str) -> Option<&'a Path> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(":/")?;
        let is_there = controllers.split(',').any(|one| one == controller);
        is_there.then_some(Path::new(path))
    })
}

/// The lowest limit, in files of this name, of a cgroup and of those above it. The mounted one of a container
/// is not the root.
fn lowest_limit(mount: Option<PathBuf>, path: Option<&Path>, file: &str) -> Option<u64> {
    let mount = mount?;
    let groups = path?.ancestors().map(|path| mount.join(path));
    let limit = |group: PathBuf| {
        let limit = fs::read_to_string(group.join(file)).ok()?;
        // Or it is `max`.
        limit.trim_end().parse::<u64>().ok()
    };
    groups.filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_what_the_kernel_says() {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let total = meminfo.strip_prefix("MemTotal:").unwrap();
        let total = total.split_whitespace().next().unwrap();
        let total = total.parse::<u64>().unwrap() * 1024;
        assert!(size().unwrap() <= total);
    }

    #[test]
    fn each_version_has_its_path() {
        let groups = "5:cpu,memory:/docker/1\n2:name=systemd:/\n1:cpuset:/a\n0::/b/c\n";
        for (controller, path) in [
            ("", Some("b/c")),
            ("memory", Some("docker/1")),
            ("cpuset", Some("a")),
            ("pids", None),
        ] {
            assert_eq!(path_in(groups, controller), path.map(Path::new));
        }
        assert_eq!(path_in("4:memory:/\n", ""), None);
    }

    #[test]
    fn the_lowest_limit_counts() {
        let name = format!("conn-cli-memory-{}", std::process::id());
        let mount = std::env::temp_dir().join(name);
        let path = Path::new("system.slice/web.service");
        fs::create_dir_all(mount.join(path)).unwrap();
        let lowest_limit = || lowest_limit(Some(mount.clone()), Some(path), "memory.max");
        assert_eq!(lowest_limit(), None);
        for (group, limit, lowest) in [
            ("system.slice/web.service", "max\n", None),
            ("system.slice", "9000\n", Some(9000)),
            (".", "10000\n", Some(9000)),
            ("system.slice/web.service", "8000\n", Some(8000)),
        ] {
            fs::write(mount.join(group).join("memory.max"), limit).unwrap();
            assert_eq!(lowest_limit(), lowest, "{group} {limit}");
        }
        fs::remove_dir_all(&mount).unwrap();
    }
}
