//! The server of the recordings: it accepts in the ways that servers usually do, and its
//! own count is the expected result of a recording.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketFlags, SocketType, accept, acceptfrom, acceptfrom_with,
    bind, listen, socket_with, sockopt,
};

const ANSWER: &[u8] = b"HTTP/1.0 204 No Content\r\n\r\n";

/// Serves until standard input ends, then writes its counts
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(required = true)]
    listen: Vec<SocketAddr>,
    #[arg(long, value_enum, default_value_t = Call::Accept4)]
    call: Call,
    #[arg(long, value_enum, default_value_t = Way::Poll)]
    way: Way,
    /// Threads for each listening address, for `--way threads`
    #[arg(long, default_value_t = 4)]
    threads: u32,
    /// Where to write the counts
    #[arg(long)]
    counts: PathBuf,
    /// File that is created once the server listens
    #[arg(long)]
    ready: PathBuf,
}

/// The system call, and whether it asks for the client's address.
#[derive(Clone, Copy, ValueEnum)]
enum Call {
    Accept,
    Accept4,
    /// `accept(3, NULL, NULL)`: the server does not ask for the client's address
    Null,
}

/// What the server does between two connections.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Way {
    /// One thread waits in `poll` and accepts one connection
    Poll,
    /// The same, but it accepts until `accept` fails with `EAGAIN`
    Nonblocking,
    /// Threads that each wait in `accept`
    Threads,
    /// One thread that waits in `accept` and starts a process for each connection; the
    /// end of that process interrupts `accept`
    Children,
}

/// The server's counts: connections by port and client, and failed calls by error.
#[derive(Default)]
struct Tally {
    connections: BTreeMap<(u16, String), u64>,
    failed: BTreeMap<&'static str, u64>,
}

struct Server {
    call: Call,
    way: Way,
    tally: Mutex<Tally>,
}

struct Listener {
    socket: OwnedFd,
    port: u16,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let server = Arc::new(Server {
        call: args.call,
        way: args.way,
        tally: Mutex::default(),
    });
    let listeners = args
        .listen
        .iter()
        .map(|address| {
            listener(address, args.way).with_context(|| format!("cannot listen on {address}"))
        })
        .collect::<Result<Vec<_>>>()?;
    match args.way {
        Way::Poll | Way::Nonblocking => {
            std::fs::write(&args.ready, "")?;
            server.poll(&listeners)?;
        }
        Way::Threads => {
            for listener in listeners.into_iter().map(Arc::new) {
                for _ in 0..args.threads {
                    let (server, listener) = (Arc::clone(&server), Arc::clone(&listener));
                    thread::spawn(move || server.accept_forever(&listener));
                }
            }
            std::fs::write(&args.ready, "")?;
            std::io::stdin().read_to_end(&mut Vec::new())?;
        }
        Way::Children => {
            let (counting, counts) = (Arc::clone(&server), args.counts.clone());
            thread::spawn(move || {
                block_sigchld();
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                let written = counting.write_counts(&counts);
                std::process::exit(i32::from(written.is_err()));
            });
            extern "C" fn interrupt(_: libc::c_int) {}
            let handler: extern "C" fn(libc::c_int) = interrupt;
            // SAFETY: the handler does nothing, so it is async-signal-safe.
            unsafe { libc::signal(libc::SIGCHLD, handler as libc::sighandler_t) };
            std::fs::write(&args.ready, "")?;
            for listener in &listeners {
                server.accept_forever(listener);
            }
        }
    }
    server.write_counts(&args.counts)
}

/// Blocks SIGCHLD in this thread, so that the kernel interrupts the accepting thread instead.
fn block_sigchld() {
    // SAFETY: `sigemptyset` accepts a zeroed `sigset_t`; all three calls access only the
    // set, which outlives them.
    unsafe {
        let mut children = std::mem::zeroed();
        libc::sigemptyset(&raw mut children);
        libc::sigaddset(&raw mut children, libc::SIGCHLD);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const children, std::ptr::null_mut());
    }
}

fn listener(address: &SocketAddr, way: Way) -> Result<Listener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let mut flags = SocketFlags::CLOEXEC;
    flags.set(SocketFlags::NONBLOCK, way == Way::Nonblocking);
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, address)?;
    listen(&socket, 128)?;
    let port = address.port();
    Ok(Listener { socket, port })
}

impl Server {
    /// Accepts on all listeners in this thread, until standard input ends.
    fn poll(&self, listeners: &[Listener]) -> Result<()> {
        let stdin = std::io::stdin();
        loop {
            let mut waiting = vec![PollFd::new(&stdin, PollFlags::IN)];
            waiting.extend(
                listeners
                    .iter()
                    .map(|l| PollFd::new(&l.socket, PollFlags::IN)),
            );
            poll(&mut waiting, None)?;
            for (listener, polled) in listeners.iter().zip(&waiting[1..]) {
                if !polled.revents().is_empty() {
                    while self.accept(listener) && self.way == Way::Nonblocking {}
                }
            }
            if !waiting[0].revents().is_empty() {
                return Ok(());
            }
        }
    }

    fn accept_forever(&self, listener: &Listener) {
        loop {
            self.accept(listener);
        }
    }

    /// Accepts and serves one connection; returns whether there was one.
    fn accept(&self, listener: &Listener) -> bool {
        let accepted = match self.call {
            Call::Accept => acceptfrom(&listener.socket),
            Call::Accept4 => acceptfrom_with(&listener.socket, SocketFlags::CLOEXEC),
            Call::Null => accept(&listener.socket).map(|connection| (connection, None)),
        };
        match accepted {
            Ok((connection, client)) => {
                self.count(listener.port, client);
                self.serve(&connection);
                true
            }
            Err(error) => {
                let name = match error {
                    Errno::AGAIN => "EAGAIN",
                    Errno::INTR => "EINTR",
                    _ => "other",
                };
                let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
                *tally.failed.entry(name).or_default() += 1;
                false
            }
        }
    }

    fn count(&self, port: u16, client: Option<SocketAddrAny>) {
        let client = client
            .and_then(|client| SocketAddr::try_from(client).ok())
            .map_or("unknown".to_owned(), |client| {
                client.ip().to_canonical().to_string()
            });
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.connections.entry((port, client)).or_default() += 1;
    }

    /// Reads and answers without checks: a connection that fails here was counted all the same.
    fn serve(&self, connection: &OwnedFd) {
        let _ = rustix::io::read(connection, &mut [0; 256]);
        let _ = rustix::io::write(connection, ANSWER);
        if self.way == Way::Children {
            // Only its end matters. Nothing waits for it, so it stays a zombie.
            let _ = Command::new("true").spawn();
        }
    }

    /// One line each: `accepted PORT CLIENT COUNT` or `failed NAME COUNT`.
    fn write_counts(&self, path: &Path) -> Result<()> {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for ((port, client), count) in &tally.connections {
            writeln!(text, "accepted {port} {client} {count}")?;
        }
        for (name, count) in &tally.failed {
            writeln!(text, "failed {name} {count}")?;
        }
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
