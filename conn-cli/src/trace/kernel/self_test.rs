//! The self-test: conn-cli connects to a socket of its own, and each attached hook must see that.
//!
//! Kprobes and trampolines can be switched off for the whole machine, at any time. They attach
//! without an error then, and never run.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, Shutdown, SocketFlags, SocketType, acceptfrom_with, bind, connect, listen,
        shutdown, socket_with, sockopt,
    },
};

use super::{counters, totals::count_at};
use crate::model::{
    self_test::{SelfTestResult, SilentCause},
    stage::Stage,
};

/// How often a hook may be silent before it is taken for dead.
const ATTEMPTS: u32 = 3;

/// How long a connection within this machine may take.
const TIMEOUT: Duration = Duration::from_millis(200);

/// How many ports are tried.
const PORT_ATTEMPTS: u32 = 16;

/// Both ends of conn-cli's own connection.
#[derive(Debug)]
pub struct SelfTest {
    server: OwnedFd,
    server_address: SocketAddrV4,
    client_address: SocketAddrV4,
    /// Keeps the client's port, which every test binds again.
    _reserved: OwnedFd,
}

impl SelfTest {
    /// Reserves both ends.
    ///
    /// # Errors
    /// An error of the system.
    pub fn prepare() -> io::Result<Self> {
        let mut random = RandomState::new().hash_one(());
        let mut next = |bits: u32| {
            let bits_taken = random & ((1 << bits) - 1);
            random >>= bits;
            bits_taken as u16
        };
        // Not 127.0.0.x, where servers are.
        let address = Ipv4Addr::new(127, 16 + next(7) as u8, next(8) as u8, 1 + next(7) as u8);
        // Both below 65,536, and above the ports of servers.
        let first_port = 20_000 + next(15);
        let mut attempt = 0;
        loop {
            let port = first_port + 2 * attempt;
            let reserved = reserve(SocketAddrV4::new(address, port)).and_then(|server| {
                let client = SocketAddrV4::new(address, port + 1);
                Ok((server, reserve(client)?, client))
            });
            match reserved {
                Ok((server, reserved, client_address)) => {
                    return Ok(Self {
                        server,
                        server_address: SocketAddrV4::new(address, port),
                        client_address,
                        _reserved: reserved,
                    });
                }
                Err(Errno::ADDRINUSE) if u32::from(attempt) < PORT_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The address of both ends.
    pub(super) fn address(&self) -> Ipv4Addr {
        *self.server_address.ip()
    }

    /// The ports of the server and of the client.
    pub(super) fn ports(&self) -> (u16, u16) {
        (self.server_address.port(), self.client_address.port())
    }

    /// Connects until the hooks of these stages have seen it, but not often.
    pub(super) fn run(&self, counters: &counters::Live, stages: &[Stage]) -> SelfTestResult {
        let seen = |stage| count_at(&counters.get().self_tests, stage);
        let before: Vec<u64> = stages.iter().map(|stage| seen(*stage)).collect();
        let silent = || {
            let counts = stages.iter().zip(&before);
            let mut silent = counts.filter(|(stage, before)| seen(**stage) == **before);
            silent.next().map(|(stage, _)| *stage)
        };
        for _ in 0..ATTEMPTS {
            if let Err(error) = self.connect() {
                return SelfTestResult::NotTested(format!(
                    "conn-cli cannot connect to itself: {error}"
                ));
            }
            if silent().is_none() {
                return SelfTestResult::Passed;
            }
        }
        match silent() {
            Some(stage) => SelfTestResult::Silent(stage, silent_cause()),
            None => SelfTestResult::Passed,
        }
    }

    /// Makes one connection, and accepts it. The socket listens only meanwhile.
    fn connect(&self) -> io::Result<()> {
        listen(&self.server, 8)?;
        let result = self.connect_and_accept();
        // A listener that is shut down no longer listens, and keeps its port.
        shutdown(&self.server, Shutdown::Both)?;
        result
    }

    fn connect_and_accept(&self) -> io::Result<()> {
        let client = reserve(self.client_address)?;
        // Closed with a reset, which leaves the port free for the next test.
        sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
        match connect(&client, &self.server_address) {
            Ok(()) => (),
            Err(Errno::INPROGRESS) => {
                wait(&client, PollFlags::OUT)?;
                sockopt::socket_error(&client)??;
            }
            Err(error) => return Err(error.into()),
        }
        // Anyone on this machine can connect meanwhile.
        loop {
            match acceptfrom_with(&self.server, SocketFlags::CLOEXEC) {
                Ok((accepted, peer)) => {
                    sockopt::set_socket_linger(&accepted, Some(Duration::ZERO))?;
                    let peer = peer.and_then(|peer| SocketAddrV4::try_from(peer).ok());
                    if peer == Some(self.client_address) {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN) => wait(&self.server, PollFlags::IN)?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A socket that is bound to this address, which others that say so may be bound to as well.
fn reserve(address: SocketAddrV4) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// Waits for one of these events, for a limited time.
fn wait(socket: &OwnedFd, events: PollFlags) -> io::Result<()> {
    let timeout = Timespec::try_from(TIMEOUT).map_err(|_| Errno::INVAL)?;
    match poll(&mut [PollFd::new(socket, events)], Some(&timeout))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Whether the kernel's function tracer is switched off, as far as that can be read.
pub(super) fn is_ftrace_off() -> bool {
    is_off("/proc/sys/kernel/ftrace_enabled")
}

fn is_off(path: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "0")
}

fn silent_cause() -> SilentCause {
    if is_ftrace_off() {
        SilentCause::FtraceOff
    } else if is_off("/sys/kernel/debug/kprobes/enabled") {
        SilentCause::KprobesOff
    } else {
        SilentCause::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_connects_again_and_again_and_listens_only_meanwhile() {
        let test = SelfTest::prepare().unwrap();
        for _ in 0..3 {
            test.connect().unwrap();
            let stranger = std::net::TcpStream::connect(test.server_address);
            assert_eq!(
                stranger.unwrap_err().kind(),
                io::ErrorKind::ConnectionRefused
            );
        }
    }
}
