//! The workload: clients that connect as fast as they can, and a server of several threads that
//! accepts, counts and closes.
//!
//! Clients reset the connection once the server has closed its end. So nothing stays in TIME_WAIT,
//! and the ports do not run out however many connections are made.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rustix::net::sockopt;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::sockets::{READY, accept, connect_until_closed, listener, tcp};

/// Connects or accepts, for the benchmark of the highest rate
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    port: u16,
    /// Threads that connect or accept
    #[arg(long)]
    threads: u32,
    /// The processor that they run on
    #[arg(long)]
    processor: usize,
    /// For each line of standard input, make that many connections and print the time taken, in ns
    #[arg(long)]
    client: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // Threads inherit the affinity of the thread that starts them.
    let mut processors = CpuSet::new();
    processors.set(args.processor);
    sched_setaffinity(None, &processors)?;
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, args.port);
    if args.client {
        client(&address, args.threads)
    } else {
        serve(&address, args.threads)
    }
}

/// Accepts until standard input ends, then prints how many connections it accepted.
fn serve(address: &SocketAddrV4, threads: u32) -> Result<()> {
    static ACCEPTED: AtomicU64 = AtomicU64::new(0);
    let listener = listener(address)?;
    for _ in 0..threads {
        let listener = listener.try_clone()?;
        thread::Builder::new().spawn(move || accept_all(&listener, &ACCEPTED))?;
    }
    println!("{READY}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", ACCEPTED.load(Ordering::SeqCst));
    Ok(())
}

/// Accepts until the process exits. Counts a connection before the client sees it closed.
fn accept_all(listener: &OwnedFd, accepted: &AtomicU64) {
    loop {
        match accept(listener) {
            Ok(connection) => {
                accepted.fetch_add(1, Ordering::SeqCst);
                drop(connection);
            }
            // The count is then too low, and the benchmark fails.
            Err(error) => return eprintln!("cannot accept: {error:#}"),
        }
    }
}

fn client(address: &SocketAddrV4, threads: u32) -> Result<()> {
    println!("{READY}");
    for line in std::io::stdin().lock().lines() {
        let connections = line?.parse()?;
        println!("{}", connect_all(address, threads, connections)?.as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Makes this many connections, each on whichever thread is free.
fn connect_all(address: &SocketAddrV4, threads: u32, connections: u32) -> Result<Duration> {
    let begun = AtomicU32::new(0);
    let work = || -> Result<()> {
        while begun.fetch_add(1, Ordering::Relaxed) < connections {
            connect_once(address)?;
        }
        Ok(())
    };
    let start = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            let ended = thread.join();
            ended.map_err(|_| anyhow!("a client panicked"))?
        })
    })?;
    Ok(start.elapsed())
}

fn connect_once(address: &SocketAddrV4) -> Result<()> {
    let connection = tcp()?;
    sockopt::set_socket_linger(&connection, Some(Duration::ZERO))?;
    connect_until_closed(&connection, address)
}
