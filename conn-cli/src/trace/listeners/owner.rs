//! Finds the processes that have a listener open, and their threads that are blocked in accept
//! (`Documentation/filesystems/proc.rst`).

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::{Dir, Mode, OFlags, open, readlinkat_raw},
    io::Errno,
};

use crate::{
    model::listener::{Listener, Owner},
    system::{
        procfs::{is_denied, processes, threads},
        text::escaped,
    },
};

/// Longer than any `socket:[INODE]`. Longer links are truncated, and are not sockets.
const MAX_LINK_LEN: usize = 32;

/// Finds the processes that have these listeners open, until `stop` is set, and returns how many
/// processes could not be searched. Each descriptor of each process is read: a listener can be passed to
/// any process, whatever network namespace that is in.
pub(super) fn find(listeners: &mut [Listener], stop: &AtomicBool) -> usize {
    match processes() {
        Ok(processes) => find_among(processes, listeners, stop),
        Err(_) => 0,
    }
}

/// The same, among these processes only.
pub(super) fn find_among(
    processes: impl IntoIterator<Item = u32>,
    listeners: &mut [Listener],
    stop: &AtomicBool,
) -> usize {
    // The sockets of all namespaces get their inode numbers from one counter.
    let mut wanted = HashMap::new();
    for (index, listener) in listeners.iter().enumerate() {
        if listener.inode != 0 {
            wanted.insert(listener.inode, index);
        }
    }
    if wanted.is_empty() {
        return 0;
    }
    let mut owners = vec![Vec::new(); listeners.len()];
    let mut denied = 0;
    for pid in processes {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match held_listeners(pid, &wanted, stop) {
            Ok(held) if held.is_empty() => (),
            Ok(held) => add_owner(&mut owners, pid, &held, stop),
            // Any other error: it has just exited.
            Err(error) => denied += usize::from(is_denied(&error)),
        }
    }
    for (listener, mut owners) in listeners.iter_mut().zip(owners) {
        owners.sort_by_key(Owner::order);
        listener.owners = owners.into();
    }
    denied
}

/// The indices of the listeners that a process has open, by descriptor.
fn held_listeners(
    pid: u32,
    wanted: &HashMap<u32, usize>,
    stop: &AtomicBool,
) -> io::Result<HashMap<u32, usize>> {
    let process = format!("/proc/{pid}");
    let (held, has_any) = descriptors(&process, wanted, stop)?;
    if has_any {
        return Ok(held);
    }
    // After the first thread has exited, only the others show the open files.
    for tid in threads(pid)?.filter(|&tid| tid != pid) {
        let (held, has_any) = descriptors(&format!("{process}/task/{tid}"), wanted, stop)?;
        if has_any {
            return Ok(held);
        }
    }
    Ok(HashMap::new())
}

/// The same for one thread, and whether it has any descriptors at all.
fn descriptors(
    thread: &str,
    wanted: &HashMap<u32, usize>,
    stop: &AtomicBool,
) -> io::Result<(HashMap<u32, usize>, bool)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory: OwnedFd = open(format!("{thread}/fd"), flags, Mode::empty())?;
    let mut held = HashMap::new();
    let mut has_any = false;
    for entry in Dir::read_from(&directory)? {
        // There may be a million.
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let entry = entry?;
        let Ok(Ok(fd)) = entry.file_name().to_str().map(str::parse) else {
            continue;
        };
        has_any = true;
        let inode = socket_inode(&directory, entry.file_name())?;
        if let Some(&index) = inode.and_then(|inode| wanted.get(&inode)) {
            held.insert(fd, index);
        }
    }
    Ok((held, has_any))
}

/// The inode number of the socket that an entry of `/proc/PID/fd` refers to. The only error is that
/// entries must not be read: a user may list those of all of the user's processes, but not follow those of
/// a process with more privileges (`fs/proc/base.c`, `proc_fd_access_allowed`).
fn socket_inode(directory: impl AsFd, name: &std::ffi::CStr) -> io::Result<Option<u32>> {
    let mut link = [0; MAX_LINK_LEN];
    match readlinkat_raw(directory, name, &mut link) {
        Ok(length) => Ok(parse_inode(&link[..length])),
        Err(Errno::ACCESS) => Err(Errno::ACCESS.into()),
        // It has just been closed.
        Err(_) => Ok(None),
    }
}

/// The number in `socket:[3262480]`.
fn parse_inode(link: &[u8]) -> Option<u32> {
    let link = str::from_utf8(link).ok()?;
    let inode = link.strip_prefix("socket:[")?.strip_suffix(']')?;
    inode.parse().ok()
}

/// Adds a process to the owners of the listeners that it has open.
fn add_owner(owners: &mut [Vec<Owner>], pid: u32, held: &HashMap<u32, usize>, stop: &AtomicBool) {
    let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name: Arc<str> = escaped(comm.strip_suffix(b"\n").unwrap_or(&comm)).into();
    let in_accept = in_accept(pid, held, stop);
    // Two descriptors may be one listener.
    let indices: HashSet<_> = held.values().copied().collect();
    for index in indices {
        owners[index].push(Owner {
            pid,
            name: Arc::clone(&name),
            in_accept: in_accept
                .as_ref()
                .map(|threads| threads.get(&index).copied().unwrap_or_default()),
        });
    }
}

/// How many threads of a process are blocked in accept on each of these listeners. None if that cannot
/// be read.
fn in_accept(
    pid: u32,
    held: &HashMap<u32, usize>,
    stop: &AtomicBool,
) -> Option<HashMap<usize, u32>> {
    let mut in_accept = HashMap::new();
    let mut is_readable = false;
    for tid in threads(pid).ok()? {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        match fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")) {
            Ok(call) => {
                is_readable = true;
                if let Some(&index) = accept_fd(&call).and_then(|fd| held.get(&fd)) {
                    *in_accept.entry(index).or_default() += 1;
                }
            }
            Err(error) if is_denied(&error) => return None,
            // The thread has just exited, or the kernel has no such files.
            Err(_) => (),
        }
    }
    is_readable.then_some(in_accept)
}

/// The descriptor on which a thread is blocked in accept. `call` is the system call's number on
/// this architecture, then its arguments (`fs/proc/base.c`, `proc_pid_syscall`). A 32-bit process
/// on a 64-bit kernel has other numbers, so its calls are not found.
fn accept_fd(call: &str) -> Option<u32> {
    let mut words = call.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    if number != libc::SYS_accept && number != libc::SYS_accept4 {
        return None;
    }
    // A descriptor is an int: the kernel ignores the upper bits of the register.
    let register = words.next()?.strip_prefix("0x")?;
    let register = u64::from_str_radix(register, 16).ok()?;
    Some(register as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accept_calls_have_a_descriptor() {
        let call = |number: i64, rest: &str| accept_fd(&format!("{number} {rest}\n"));
        let rest = "0x1f 0x7ffd 0x0 0x80000 0x0 0x0 0x7ffd7d13c2d8 0x7f9d4d2a1b37";
        assert_eq!(call(libc::SYS_accept, rest), Some(31));
        assert_eq!(call(libc::SYS_accept4, rest), Some(31));
        assert_eq!(call(libc::SYS_read, rest), None);
        assert_eq!(call(libc::SYS_accept4, "0xdeadbeef00000003 0x0"), Some(3));
    }

    #[test]
    fn other_states_have_no_descriptor() {
        for text in [
            "",
            "running\n",
            "-1 0x7ffd7d13c2d8 0x7f9d4d2a1b37\n",
            &format!("{}\n", libc::SYS_accept4),
            &format!("{} 3\n", libc::SYS_accept4),
            &format!("{} 0x\n", libc::SYS_accept4),
        ] {
            assert_eq!(accept_fd(text), None, "{text}");
        }
    }

    #[test]
    fn only_sockets_have_a_socket_inode() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = fs::File::open("/proc/self/comm").unwrap();
        let directory = fs::File::open("/proc/self/fd").unwrap();
        let inode = |file: &dyn std::os::fd::AsRawFd| {
            let name = std::ffi::CString::new(file.as_raw_fd().to_string()).unwrap();
            socket_inode(&directory, &name).unwrap()
        };
        let expected = {
            use std::os::fd::AsRawFd as _;
            let link = fs::read_link(format!("/proc/self/fd/{}", one.as_raw_fd())).unwrap();
            link.to_str().unwrap().to_owned()
        };
        assert_eq!(format!("socket:[{}]", inode(&one).unwrap()), expected);
        assert_eq!(inode(&file), None);
    }
}
