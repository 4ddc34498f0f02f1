//! The sockets of the servers and clients of the benchmarks of live tracing.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, connect, listen, socket_with,
    sockopt,
};

/// What servers and clients print once they are ready.
pub(super) const READY: &str = "ready";

/// More than there are clients, so that no connection is ever refused.
const BACKLOG: i32 = 128;

pub(super) fn tcp() -> Result<OwnedFd> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

pub(super) fn listener(address: &SocketAddrV4) -> Result<OwnedFd> {
    let listener = tcp()?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    bind(&listener, address).context("cannot bind")?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// The next connection.
pub(super) fn accept(listener: &OwnedFd) -> Result<OwnedFd> {
    // With the client's address, because servers ask for it.
    Ok(acceptfrom_with(listener, SocketFlags::CLOEXEC)?.0)
}

/// Connects, and waits until the server, which has accepted, closes.
pub(super) fn connect_until_closed(connection: &OwnedFd, address: &SocketAddrV4) -> Result<()> {
    connect(connection, address).context("cannot connect")?;
    let read = rustix::io::read(connection, &mut [0; 1])?;
    ensure!(read == 0, "the server sent something");
    Ok(())
}
