//! The clients of the recordings: make one connection after the other, from several
//! addresses in turn.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// Long enough for SYNs that are dropped on purpose and retransmitted.
const LIMIT: Duration = Duration::from_secs(30);

/// Connects to a server, from each client a given number of times
#[derive(clap::Args)]
pub(crate) struct Args {
    to: SocketAddr,
    /// An address to connect from, and how often: ADDRESS=COUNT
    #[arg(required = true)]
    clients: Vec<Client>,
    /// Connect from this port each time, instead of a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Send options in the IP header, or an extension header of IPv6
    #[arg(long)]
    ip_options: bool,
    /// Expect that the connection is refused, because there is no listener
    #[arg(long)]
    refused: bool,
}

#[derive(Clone)]
struct Client {
    address: IpAddr,
    connections: u32,
}

impl FromStr for Client {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (address, connections) = text.split_once('=').context("no `=`")?;
        Ok(Self {
            address: address.parse()?,
            connections: connections.parse()?,
        })
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let rounds = args.clients.iter().map(|client| client.connections).max();
    for round in 0..rounds.unwrap_or_default() {
        for client in args.clients.iter().filter(|c| round < c.connections) {
            let from = SocketAddr::new(client.address, args.port);
            connect_once(from, args).with_context(|| format!("connection {round} from {from}"))?;
        }
    }
    Ok(())
}

/// Makes one connection, and waits until the server has counted and closed it.
fn connect_once(from: SocketAddr, args: &Args) -> Result<()> {
    let family = match from {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    for timeout in [sockopt::Timeout::Send, sockopt::Timeout::Recv] {
        sockopt::set_socket_timeout(&socket, timeout, Some(LIMIT))?;
    }
    if args.ip_options {
        set_ip_options(&socket, from).context("cannot set IP options")?;
    }
    bind(&socket, &from).context("cannot bind")?;
    match connect(&socket, &args.to) {
        Err(Errno::CONNREFUSED) if args.refused => return Ok(()),
        other => other.context("cannot connect")?,
    }
    rustix::io::write(&socket, REQUEST)?;
    let mut buffer = [0; 256];
    while rustix::io::read(&socket, &mut buffer).context("the server did not answer")? > 0 {}
    Ok(())
}

/// Sets options without effect: they only move what follows them.
fn set_ip_options(socket: &OwnedFd, family: SocketAddr) -> Result<()> {
    // Four "no operation" options; a hop-by-hop header of eight bytes, all but two padding.
    let (level, name, value): (_, _, &[u8]) = match family {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_OPTIONS, &[1; 4]),
        SocketAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_HOPOPTS,
            &[0, 0, 1, 4, 0, 0, 0, 0],
        ),
    };
    let length = libc::socklen_t::try_from(value.len())?;
    // SAFETY: the kernel reads `length` bytes from `value`, which is that long.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        )
    };
    if result < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}
