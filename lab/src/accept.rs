//! The ways in which a server accepts connections.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use io_uring::squeue::Flags;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom, acceptfrom_with, getpeername};
use rustix::thread::set_name;

use crate::counts::Tally;

/// How many accepts an io_uring server keeps in flight.
const IN_FLIGHT: u32 = 8;

/// Threads of an epoll server: each connection wakes all of them, and all but one find none left.
const EPOLL_THREADS: u32 = 4;

/// How the server waits for its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// This many threads, each blocked in `accept` or `accept4`.
    Threads(u32),
    /// The same, and each thread has another name at each accept.
    Renaming(u32),
    /// Threads that wait in `epoll_wait`, edge-triggered, and accept until none is left.
    Epoll,
    /// `IORING_OP_ACCEPT`: no thread of the server calls `accept`.
    IoUring,
    /// The same, with each accept in a worker of io_uring.
    IoUringWorker,
    /// One process accepts and forks another for each connection.
    Fork,
    /// One thread that waits in `poll` and delays each accept by this many milliseconds: an
    /// overloaded server.
    Slow(u32),
}

/// The system calls that `poll` may make: the newer architectures have only the later one.
#[cfg(target_arch = "x86_64")]
const POLL: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_ppoll];
#[cfg(not(target_arch = "x86_64"))]
const POLL: &[libc::c_long] = &[libc::SYS_ppoll];

impl Accept {
    /// The system calls that the waiting threads block in, and how many threads wait.
    pub fn waits_in(self) -> (&'static [libc::c_long], u32) {
        match self {
            Self::Threads(threads) | Self::Renaming(threads) => {
                (&[libc::SYS_accept, libc::SYS_accept4], threads)
            }
            Self::Fork => (&[libc::SYS_accept, libc::SYS_accept4], 1),
            Self::Epoll => (&[libc::SYS_epoll_pwait], EPOLL_THREADS),
            Self::IoUring | Self::IoUringWorker => (&[libc::SYS_io_uring_enter], 1),
            Self::Slow(_) => (POLL, 1),
        }
    }

    /// Starts threads that accept until the process exits.
    pub fn start(self, listener: OwnedFd, tally: Arc<Tally>) -> Result<()> {
        let listener = Arc::new(listener);
        let (_, threads) = self.waits_in();
        if self == Self::Epoll {
            rustix::io::ioctl_fionbio(&listener, true)?;
        }
        if self == Self::Fork {
            // SAFETY: ignoring a signal installs no handler; the kernel reaps the children.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        }
        for index in 0..threads {
            let (listener, tally) = (Arc::clone(&listener), Arc::clone(&tally));
            thread::Builder::new().spawn(move || {
                if let Err(error) = self.serve(index, &listener, &tally) {
                    eprintln!("error: server: {error:#}");
                    std::process::exit(1);
                }
            })?;
        }
        Ok(())
    }

    /// Runs in each thread; `index` is the number of the thread.
    fn serve(self, index: u32, listener: &OwnedFd, tally: &Tally) -> Result<()> {
        match self {
            Self::Threads(_) => blocking(index, listener, tally, |_| Ok(())),
            Self::Renaming(_) => blocking(index, listener, tally, |accept| {
                set_name(&CString::new(format!("{index} at {accept}"))?)?;
                Ok(())
            }),
            Self::Epoll => epolling(listener, tally),
            Self::IoUring => io_uring(Flags::empty(), listener, tally),
            Self::IoUringWorker => io_uring(Flags::ASYNC, listener, tally),
            Self::Fork => forking(listener, tally),
            Self::Slow(delay) => slow(Duration::from_millis(delay.into()), listener, tally),
        }
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads(threads) => write!(f, "threads:{threads}"),
            Self::Renaming(threads) => write!(f, "renaming:{threads}"),
            Self::Epoll => f.write_str("epoll"),
            Self::IoUring => f.write_str("io-uring"),
            Self::IoUringWorker => f.write_str("io-uring-worker"),
            Self::Fork => f.write_str("fork"),
            Self::Slow(delay) => write!(f, "slow:{delay}"),
        }
    }
}

impl FromStr for Accept {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "epoll" => Self::Epoll,
            "io-uring" => Self::IoUring,
            "io-uring-worker" => Self::IoUringWorker,
            "fork" => Self::Fork,
            _ => match text.split_once(':') {
                Some(("threads", threads)) => Self::Threads(threads.parse()?),
                Some(("renaming", threads)) => Self::Renaming(threads.parse()?),
                Some(("slow", delay)) => Self::Slow(delay.parse()?),
                _ => bail!("unknown accept mode: {text}"),
            },
        })
    }
}

/// Half of the threads use each of the two system calls, which differ in their flags. `before` runs before
/// each call, with its number.
fn blocking(
    index: u32,
    listener: &OwnedFd,
    tally: &Tally,
    before: impl Fn(u32) -> Result<()>,
) -> Result<()> {
    for accept in 0.. {
        before(accept)?;
        let accepted = if index.is_multiple_of(2) {
            acceptfrom_with(listener, SocketFlags::CLOEXEC)
        } else {
            acceptfrom(listener)
        };
        let (connection, peer) = accepted.context("accept failed")?;
        count(tally, peer)?;
        drop(connection);
    }
    Ok(())
}

fn epolling(listener: &OwnedFd, tally: &Tally) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let interest = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(0), interest)?;
    let mut events = Vec::with_capacity(1);
    loop {
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => events.clear(),
            Err(error) => return Err(error).context("epoll_wait failed"),
        }
        loop {
            match acceptfrom_with(listener, SocketFlags::CLOEXEC) {
                Ok((_connection, peer)) => count(tally, peer)?,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error).context("accept4 failed"),
            }
        }
    }
}

fn io_uring(flags: Flags, listener: &OwnedFd, tally: &Tally) -> Result<()> {
    let mut ring = io_uring::IoUring::new(IN_FLIGHT).context("this kernel has no io_uring")?;
    let listener = io_uring::types::Fd(listener.as_raw_fd());
    let mut to_submit = IN_FLIGHT;
    loop {
        for _ in 0..to_submit {
            let accept =
                io_uring::opcode::Accept::new(listener, std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: the entry points to none of our memory, and the listener is never closed.
            unsafe { ring.submission().push(&accept.build().flags(flags)) }?;
        }
        ring.submit_and_wait(1).context("io_uring_enter failed")?;
        to_submit = 0;
        for completion in ring.completion() {
            to_submit += 1;
            let result = completion.result();
            if result < 0 {
                let error = std::io::Error::from_raw_os_error(-result);
                return Err(error).context("io_uring accept failed");
            }
            // SAFETY: the completion of an accept is a new descriptor that nothing else owns.
            let connection = unsafe { OwnedFd::from_raw_fd(result) };
            count(tally, getpeername(connection.as_fd())?)?;
        }
    }
}

fn forking(listener: &OwnedFd, tally: &Tally) -> Result<()> {
    loop {
        let (connection, peer) = acceptfrom(listener).context("accept failed")?;
        count(tally, peer)?;
        // SAFETY: the process has several threads; its child makes only the two system calls below
        // before it exits.
        match unsafe { libc::fork() } {
            -1 => return Err(std::io::Error::last_os_error()).context("fork failed"),
            0 => {
                // SAFETY: both take plain numbers, and `write` a pointer to one valid byte.
                unsafe {
                    libc::write(connection.as_raw_fd(), b"x".as_ptr().cast(), 1);
                    libc::_exit(0);
                }
            }
            _ => drop(connection),
        }
    }
}

fn slow(delay: Duration, listener: &OwnedFd, tally: &Tally) -> Result<()> {
    loop {
        match poll(&mut [PollFd::new(listener, PollFlags::IN)], None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error).context("poll failed"),
        }
        thread::sleep(delay);
        let (connection, peer) = acceptfrom(listener).context("accept failed")?;
        count(tally, peer)?;
        drop(connection);
    }
}

fn count(tally: &Tally, peer: Option<SocketAddrAny>) -> Result<()> {
    let peer = peer.context("the connection has no peer")?;
    tally.add(std::net::SocketAddr::try_from(peer)?.ip());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_round_trips() {
        for accept in [
            Accept::Threads(64),
            Accept::Renaming(4),
            Accept::Epoll,
            Accept::IoUring,
            Accept::IoUringWorker,
            Accept::Fork,
            Accept::Slow(250),
        ] {
            assert_eq!(accept.to_string().parse::<Accept>().unwrap(), accept);
        }
    }
}
