//! The processes and threads of `/proc`.

use std::{collections::HashSet, fs, io};

/// The ids of all processes, without kernel threads if these can be recognized: they have no open
/// files, and a machine with many CPUs has thousands of them.
pub(crate) fn processes() -> io::Result<impl Iterator<Item = u32>> {
    let kernel_threads = kernel_threads();
    Ok(numbers("/proc")?.filter(move |pid| !kernel_threads.contains(pid)))
}

/// The children of kthreadd, process 2 of the initial PID namespace (`kernel/kthread.c`). In other
/// namespaces, process 2 has an executable or no children. Programs that the kernel starts itself,
/// such as the one for core dumps, are children of kthreadd, too (`kernel/umh.c`). They do not
/// listen.
fn kernel_threads() -> HashSet<u32> {
    let executable = fs::read_link("/proc/2/exe");
    let is_kthreadd = executable.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let children = if is_kthreadd {
        fs::read_to_string("/proc/2/task/2/children").unwrap_or_default()
    } else {
        String::new()
    };
    let ids = children.split_ascii_whitespace();
    ids.filter_map(|id| id.parse().ok()).collect()
}

/// The ids of all threads of a process.
pub(crate) fn threads(pid: u32) -> io::Result<impl Iterator<Item = u32>> {
    numbers(&format!("/proc/{pid}/task"))
}

/// The entries of a directory that are numbers.
fn numbers(path: &str) -> io::Result<impl Iterator<Item = u32> + use<>> {
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(fs::read_dir(path)?.filter_map(number))
}

/// Whether a file is not readable for lack of permission.
#[must_use]
pub(crate) fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_threads_have_the_flag() {
        /// `PF_KTHREAD` of `include/linux/sched.h`.
        const KTHREAD: u32 = 0x0020_0000;
        let is_kernel_thread = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name may contain anything.
            let (_, rest) = stat.rsplit_once(") ")?;
            let flags: u32 = rest.split(' ').nth(6)?.parse().ok()?;
            Some(flags & KTHREAD != 0)
        };
        let found = kernel_threads();
        let all: Vec<_> = numbers("/proc").unwrap().collect();
        for &pid in &all {
            // A process that has just exited or started is not checked.
            if let Some(is_kernel_thread) = is_kernel_thread(pid)
                && found.contains(&pid)
            {
                assert!(is_kernel_thread, "{pid}");
            }
        }
        // The kernel may not list children, and a container does not show kernel threads.
        let is_visible = fs::read_link("/proc/1/exe").is_ok()
            && fs::exists("/proc/thread-self/children").unwrap()
            && is_kernel_thread(2) == Some(true);
        assert!(!is_visible || found.len() > 1, "{found:?} of {all:?}");
    }
}
