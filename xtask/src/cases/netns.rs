//! Network namespaces and their loopback interface.

use std::fs::File;

use anyhow::{Context as _, Result};
use rustix::fd::{AsFd as _, AsRawFd as _};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Brings `lo` up in this thread's network namespace.
pub(crate) fn bring_loopback_up() -> Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: a zeroed `ifreq` is a valid one, of an interface without a name.
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

/// Moves this thread, which must be the process's only one, into a network namespace of its own.
pub(super) fn enter_new() -> Result<()> {
    // SAFETY: a network namespace of its own changes nothing that memory safety rests on.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("cannot make a network namespace")?;
    bring_loopback_up()
}

/// Moves this thread into the network namespace of a process.
pub(super) fn enter_that_of(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {path}"))
}
