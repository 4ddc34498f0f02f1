//! Network namespaces and their loopback interface.

use std::fs::File;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use rustix::fd::{AsFd as _, AsRawFd as _};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Brings `lo` up in this thread's network namespace.
pub fn bring_loopback_up() -> Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: a zeroed `ifreq` is valid: an interface without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` is an `ifreq`, which is what this ioctl reads, and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).context("SIOCSIFFLAGS failed");
    }
    Ok(())
}

/// Moves this thread, and the threads that it starts, into a new network namespace.
pub fn enter_new() -> Result<()> {
    // SAFETY: a separate network namespace changes nothing that memory safety depends on.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("cannot create a network namespace")?;
    bring_loopback_up()
}

/// Moves this process, which has only one thread so far, into a new network namespace of a new user
/// namespace, as every user may.
pub fn enter_new_of_user() -> Result<()> {
    // SAFETY: separate namespaces change nothing that memory safety depends on.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }
        .context("cannot create a user namespace")?;
    bring_loopback_up()
}

/// Moves this thread into the network namespace of a process.
pub fn join(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {path}"))
}

/// A network namespace that exists as long as this value, or something in it.
pub struct Namespace(File);

impl Namespace {
    /// Creates a namespace and brings its `lo` up.
    pub fn new() -> Result<Self> {
        in_thread(|| {
            enter_new()?;
            let own = "/proc/thread-self/ns/net";
            let file = File::open(own).with_context(|| format!("cannot open {own}"))?;
            Ok(Self(file))
        })
    }

    /// The path by which others can open it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs `work`, and the processes that it starts, in the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .context("cannot enter a network namespace")?;
            work()
        })
    }
}

/// Runs `work` in a separate thread, which may move to another network namespace.
fn in_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().map_err(|_| anyhow!("a thread panicked"))?
    })
}
