//! The workload that tracers are measured on: a client that connects and a server that accepts.
//! Each is a process that does nothing else, and has one thread by default.

use std::io::{BufRead as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Result;

use crate::sockets::{READY, accept, connect_until_closed, listener, tcp};

/// Connects or accepts, for the benchmark
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    port: u16,
    /// For each line of standard input, make that many connections and print the time taken, in ns
    #[arg(long)]
    client: bool,
    /// Accept in N more threads, and print the number of connections for each line of standard
    /// input
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: u32,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, args.port);
    match (args.client, args.threads) {
        (true, _) => client(&address),
        (false, 0) => serve(&address),
        (false, threads) => serve_in_threads(&address, threads),
    }
}

/// Accepts until the process is killed.
fn serve(address: &SocketAddrV4) -> Result<()> {
    let listener = listener(address)?;
    println!("{READY}");
    loop {
        drop(accept(&listener)?);
    }
}

/// Accepts in `threads` threads until standard input ends.
fn serve_in_threads(address: &SocketAddrV4, threads: u32) -> Result<()> {
    let listener = listener(address)?;
    let accepted = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while accept(&listener).is_ok() {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        println!("{READY}");
        for line in std::io::stdin().lock().lines() {
            line?;
            println!("{}", accepted.load(Ordering::Relaxed));
        }
        std::process::exit(0)
    })
}

fn client(address: &SocketAddrV4) -> Result<()> {
    println!("{READY}");
    for line in std::io::stdin().lock().lines() {
        let connections: u32 = line?.parse()?;
        let start = Instant::now();
        for _ in 0..connections {
            let connection = tcp()?;
            connect_until_closed(&connection, address)?;
        }
        println!("{}", start.elapsed().as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}
