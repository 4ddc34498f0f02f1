//! A server in a separate process, which counts what it accepts.
//!
//! The program runs itself for it: only the server's threads accept there, and its count is the reference
//! for conn-cli's.

use std::ffi::{CStr, CString};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};
use rustix::process::Signal;
use rustix::thread::set_name;

use crate::accept::Accept;
use crate::as_user;
use crate::counts::{Counts, Tally};
use crate::family::Family;
use crate::itself;
use crate::netns;
use crate::process::{Lines, Process, poll_until};

/// The line that the server prints once it listens.
const READY: &str = "listening";

/// `AF_SMC` of `include/linux/socket.h`, whose addresses are those of IPv4.
const AF_SMC: AddressFamily = AddressFamily::from_raw(43);

/// Enough for any case that does not test the backlog.
const BACKLOG: u16 = 4096;

/// Serves until its standard input ends, then prints what it accepted
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    accept: Accept,
    /// Connections that may wait to be accepted; the kernel lets one more wait
    #[arg(long)]
    backlog: u16,
    /// Listen with MPTCP
    #[arg(long)]
    mptcp: bool,
    /// Listen with SMC, for which the kernel accepts TCP connections
    #[arg(long)]
    smc: bool,
    /// Serve in a new network namespace
    #[arg(long)]
    netns: bool,
    /// Serve, as an ordinary user, in a new network namespace of that user
    #[arg(long)]
    users_netns: bool,
    /// Accept nothing until there is a line on standard input
    #[arg(long)]
    hold: bool,
    /// Use a thread name that would corrupt a terminal or JSON
    #[arg(long)]
    hostile_name: bool,
    /// Use this thread name
    #[arg(long)]
    name: Option<String>,
    /// Accept as an ordinary user
    #[arg(long)]
    nobody: bool,
}

/// An escape sequence, a quotation mark, a backslash, invalid UTF-8 and a newline.
const HOSTILE_NAME: &CStr = c"\x1b[2J\"\\\xff\n";

/// The main function of the server process.
pub fn run(args: &Args) -> Result<()> {
    if args.netns {
        netns::enter_new()?;
    }
    if args.users_netns {
        as_user::become_nobody().context("cannot become an ordinary user")?;
        netns::enter_new_of_user()?;
    }
    let listener = listener(args)
        .with_context(|| format!("cannot listen on {} (mptcp: {})", args.listen, args.mptcp))?;
    let tally = Arc::new(Tally::default());
    if args.hostile_name {
        // Threads inherit the name of the thread that starts them.
        set_name(HOSTILE_NAME)?;
    }
    if let Some(name) = &args.name {
        set_name(&CString::new(name.as_str())?)?;
    }
    if args.nobody {
        as_user::become_nobody().context("cannot become an ordinary user")?;
    }
    let mut stdout = std::io::stdout();
    if args.hold {
        writeln!(stdout, "{READY}")?;
        std::io::stdin().read_line(&mut String::new())?;
        args.accept.start(listener, Arc::clone(&tally))?;
    } else {
        args.accept.start(listener, Arc::clone(&tally))?;
        writeln!(stdout, "{READY}")?;
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for (address, connections) in tally.counts() {
        writeln!(stdout, "{address} {connections}")?;
    }
    Ok(())
}

fn listener(args: &Args) -> Result<OwnedFd> {
    let family = match args.listen {
        SocketAddr::V4(_) if args.smc => AF_SMC,
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let protocol = args.mptcp.then_some(ipproto::MPTCP);
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, protocol)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &args.listen)?;
    listen(&socket, args.backlog.into())?;
    Ok(socket)
}

/// How to start a server.
#[derive(Clone, Copy, Debug)]
pub struct Serve {
    /// The address to listen on.
    pub address: IpAddr,
    /// How to wait for connections.
    pub accept: Accept,
    /// Connections that may wait to be accepted; the kernel lets one more wait.
    pub backlog: u16,
    /// Listen with MPTCP.
    pub mptcp: bool,
    /// Listen with SMC.
    pub smc: bool,
    /// Serve in a new network namespace.
    pub netns: bool,
    /// Serve, as an ordinary user, in a new network namespace of that user.
    pub users_netns: bool,
    /// Listen, but accept only after [`Server::release`].
    pub hold: bool,
    /// Use a thread name that would corrupt a terminal or JSON.
    pub hostile_name: bool,
    /// Use this thread name.
    pub name: Option<&'static str>,
    /// Accept as an ordinary user.
    pub nobody: bool,
}

impl Serve {
    /// This many threads that wait for connections to this address.
    pub fn threads(threads: u32, address: IpAddr) -> Self {
        Self {
            address,
            accept: Accept::Threads(threads),
            backlog: BACKLOG,
            mptcp: false,
            smc: false,
            netns: false,
            users_netns: false,
            hold: false,
            hostile_name: false,
            name: None,
            nobody: false,
        }
    }

    /// A server that delays each accept by `delay` milliseconds and has a backlog of two: a few
    /// clients overload it.
    pub fn slow(delay: u32, address: IpAddr) -> Self {
        Self {
            accept: Accept::Slow(delay),
            backlog: 2,
            ..Self::threads(1, address)
        }
    }

    /// A server of an ordinary user in a new network namespace of that user.
    pub fn of_user() -> Self {
        Self {
            users_netns: true,
            ..Self::threads(2, Family::V4.listen())
        }
    }

    fn command(&self, port: u16) -> Command {
        let address = SocketAddr::new(self.address, port).to_string();
        let mut command = itself::command("serve");
        command
            .args(["--listen", &address])
            .args(["--accept", &self.accept.to_string()])
            .args(["--backlog", &self.backlog.to_string()])
            .args(self.mptcp.then_some("--mptcp"))
            .args(self.smc.then_some("--smc"))
            .args(self.netns.then_some("--netns"))
            .args(self.users_netns.then_some("--users-netns"))
            .args(self.hold.then_some("--hold"))
            .args(self.hostile_name.then_some("--hostile-name"))
            .args(self.name.into_iter().flat_map(|name| ["--name", name]))
            .args(self.nobody.then_some("--nobody"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }
}

/// A running server, as the case sees it.
pub struct Server {
    process: Process,
    stdout: Lines,
    accept: Accept,
}

impl Server {
    /// Starts a server and waits until all its threads wait for connections.
    pub fn start(serve: Serve, port: u16) -> Result<Self> {
        Self::start_by(Command::spawn, serve, port)
    }

    /// The same, with a process that `spawn` starts.
    pub fn start_by(
        spawn: impl FnOnce(&mut Command) -> io::Result<Child>,
        serve: Serve,
        port: u16,
    ) -> Result<Self> {
        let mut process = Process::spawn_by(spawn, "the server", &mut serve.command(port))?;
        let stdout = process.child.stdout.take().context("no pipe")?;
        let server = Self {
            process,
            stdout: Lines::of("the server", stdout),
            accept: serve.accept,
        };
        if server.stdout.next()?.as_deref() != Some(READY) {
            bail!("the server did not start");
        }
        if !serve.hold {
            server.wait_until_blocked()?;
        }
        Ok(server)
    }

    /// A server with a few threads on the loopback address, as most cases need it.
    pub fn plain(port: u16) -> Result<Self> {
        Self::start(Serve::threads(4, Family::V4.listen()), port)
    }

    /// Lets a server that was started with `hold` accept.
    pub fn release(&mut self) -> Result<()> {
        let stdin = self.process.child.stdin.as_mut().context("no pipe")?;
        writeln!(stdin).context("cannot write to the server")
    }

    /// Stops all its threads, whatever they do, and waits until they are stopped.
    pub fn stop(&self) -> Result<()> {
        self.process.signal(Signal::STOP)?;
        let tasks = format!("/proc/{}/task", self.pid());
        poll_until("all threads of the server have stopped", || {
            let mut running = 0;
            for task in std::fs::read_dir(&tasks)? {
                let stat = std::fs::read_to_string(task?.path().join("stat"))?;
                // The state comes after the name.
                let (_, rest) = stat.rsplit_once(") ").context("no state")?;
                running += u32::from(!rest.starts_with('T'));
            }
            Ok(running == 0)
        })
    }

    /// Lets its threads continue.
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Ends the server and returns what it accepted.
    pub fn finish(mut self) -> Result<Counts> {
        drop(self.process.child.stdin.take());
        let lines = self.stdout.rest()?;
        let status = self.process.wait()?;
        if !status.success() {
            bail!("the server failed: {status}");
        }
        lines.iter().map(|line| parse_count(line)).collect()
    }

    /// Cases must test threads that are already in `accept` when conn-cli attaches.
    fn wait_until_blocked(&self) -> Result<()> {
        let (calls, threads) = self.accept.waits_in();
        let tasks = format!("/proc/{}/task", self.pid());
        poll_until("all threads of the server wait for connections", || {
            let mut blocked = 0;
            for task in std::fs::read_dir(&tasks)? {
                let call = std::fs::read_to_string(task?.path().join("syscall"))?;
                let number = call.split(' ').next().unwrap_or_default();
                blocked += u32::from(calls.iter().any(|call| call.to_string() == number));
            }
            // The workers of io_uring show the system call in which they were created.
            Ok(blocked >= threads)
        })
    }
}

fn parse_count(line: &str) -> Result<(IpAddr, u64)> {
    let (address, connections) = line
        .split_once(' ')
        .with_context(|| format!("the server wrote {line:?}"))?;
    Ok((address.parse()?, connections.parse()?))
}
