//! Clients that connect from several loopback addresses, as fast as the server accepts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with, sockopt,
};

use crate::counts::Counts;
use crate::family::Family;
use crate::netns;

/// How long one connection may take. The kernel retransmits SYNs that a full backlog drops after 1,
/// 3 and 7 seconds.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);

/// What to connect to, and how often.
#[derive(Clone, Debug)]
pub struct Load {
    /// The addresses to connect from, in turn.
    pub from: Vec<IpAddr>,
    /// The local port of every connection; 0 for any.
    pub from_port: u16,
    /// The address to connect to; without one, the loopback of the client's family.
    pub to: Option<IpAddr>,
    /// The port to connect to.
    pub port: u16,
    /// How many connections to make.
    pub connections: u32,
    /// How many threads make them.
    pub threads: u32,
    /// Connect with MPTCP.
    pub mptcp: bool,
    /// Connect in the network namespace of this process.
    pub netns_pid: Option<u32>,
}

impl Load {
    /// One connection after another, from several IPv4 addresses in turn.
    pub fn v4(port: u16, connections: u32) -> Self {
        Self {
            from: Family::V4.clients(),
            from_port: 0,
            to: None,
            port,
            connections,
            threads: 1,
            mptcp: false,
            netns_pid: None,
        }
    }

    /// The source addresses of the first `connections` connections, with their counts.
    pub fn first(&self, connections: u32) -> Counts {
        let mut counts = Counts::new();
        for ticket in 0..connections {
            *counts.entry(self.source(ticket)).or_default() += 1;
        }
        counts
    }

    fn source(&self, ticket: u32) -> IpAddr {
        self.from[ticket as usize % self.from.len()]
    }

    /// Makes all connections and returns the count for each address.
    pub fn run(&self) -> Result<Counts> {
        self.start()?.finish()
    }

    /// Starts to make the connections.
    pub fn start(&self) -> Result<RunningLoad> {
        let shared = Arc::new(Shared::default());
        let threads = (0..self.threads)
            .map(|_| {
                let (load, shared) = (self.clone(), Arc::clone(&shared));
                thread::Builder::new().spawn(move || load.work(&shared))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(RunningLoad { threads, shared })
    }

    fn work(&self, shared: &Shared) -> Result<Counts> {
        if let Some(pid) = self.netns_pid {
            netns::join(pid)?;
        }
        let mut counts = Counts::new();
        while !shared.stop.load(Ordering::Relaxed) {
            let ticket = shared.tickets.fetch_add(1, Ordering::Relaxed);
            if ticket >= self.connections {
                break;
            }
            let from = self.source(ticket);
            self.open(ticket)
                .and_then(|connection| connection.wait_until_served())
                .with_context(|| format!("connection {ticket} from {from}"))?;
            *counts.entry(from).or_default() += 1;
            shared.made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(counts)
    }

    /// Makes one connection.
    pub fn open(&self, ticket: u32) -> Result<Connection> {
        self.open_within(ticket, CONNECTION_LIMIT)
    }

    /// Makes one connection. The client gives up if it cannot connect within `limit`, or if the
    /// server later does not answer for that long.
    pub fn open_within(&self, ticket: u32, limit: Duration) -> Result<Connection> {
        let from = self.source(ticket);
        let (family, loopback): (_, IpAddr) = match from {
            IpAddr::V4(_) => (AddressFamily::INET, Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(_) => (AddressFamily::INET6, Ipv6Addr::LOCALHOST.into()),
        };
        let to = self.to.unwrap_or(loopback);
        let protocol = self.mptcp.then_some(ipproto::MPTCP);
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, protocol)?;
        for direction in [sockopt::Timeout::Send, sockopt::Timeout::Recv] {
            sockopt::set_socket_timeout(&socket, direction, Some(limit))?;
        }
        // Closing leaves no socket in TIME_WAIT, so the ports do not run out.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        if self.from_port != 0 {
            // A server of an earlier case may have left this port in TIME_WAIT.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        bind(&socket, &SocketAddr::new(from, self.from_port)).context("cannot bind")?;
        connect(&socket, &SocketAddr::new(to, self.port)).context("cannot connect")?;
        Ok(Connection(socket))
    }
}

/// A client's end of a connection, which is reset when the value is dropped.
pub struct Connection(OwnedFd);

impl Connection {
    /// Waits until the server closes the connection; it has counted it by then.
    pub fn wait_until_served(self) -> Result<()> {
        let mut buffer = [0; 16];
        loop {
            match rustix::io::read(&self.0, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("the server did not close the connection"),
            }
        }
    }
}

#[derive(Default)]
struct Shared {
    tickets: AtomicU32,
    made: AtomicU32,
    stop: AtomicBool,
}

/// Running clients.
pub struct RunningLoad {
    threads: Vec<JoinHandle<Result<Counts>>>,
    shared: Arc<Shared>,
}

impl RunningLoad {
    /// Whether it has made all connections, or failed.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Connections made so far.
    pub fn made(&self) -> u32 {
        self.shared.made.load(Ordering::Relaxed)
    }

    /// Tells the clients to stop early.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the clients; every connection has a deadline.
    pub fn finish(self) -> Result<Counts> {
        let mut counts = Counts::new();
        for thread in self.threads {
            let thread_counts = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            for (address, connections) in thread_counts {
                *counts.entry(address).or_default() += connections;
            }
        }
        Ok(counts)
    }
}
