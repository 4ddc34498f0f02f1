//! Many processes that listen, each in a network namespace of its own.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::process::parent_id;
use std::process::{ChildStdin, Stdio};

use anyhow::{Context as _, Result, ensure};
use lab::itself;
use lab::netns::bring_loopback_up;
use lab::process::{Lines, Process, poll_until};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, accept, bind, listen, socket};
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_parent_process_death_signal, waitpid,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// How many namespaces more than those that listen there may be at once, if that is limited.
const SPARE: usize = 10;

/// The kernel's own count is held against this (`kernel/ucount.c`).
const MAX_NAMESPACES: &str = "/proc/sys/user/max_net_namespaces";

/// Listens in many network namespaces until standard input ends; each further line on it replaces them
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    number: usize,
    #[arg(long)]
    port: u16,
    /// How many connections each makes to itself, and accepts
    #[arg(long, default_value_t = 0)]
    connections: u32,
    /// In a user namespace that has not room for twice as many
    #[arg(long)]
    limited: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.limited {
        // SAFETY: this process has one thread, and the namespace changes nothing that memory safety
        // depends on.
        unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.context("no new user namespace")?;
        fs::write(MAX_NAMESPACES, (args.number + SPARE).to_string())?;
    }
    loop {
        let children = start(args)?;
        if std::io::stdin().read_line(&mut String::new())? == 0 {
            return Ok(());
        }
        for child in children {
            kill_process(child, Signal::KILL)?;
            waitpid(Some(child), WaitOptions::empty())?;
        }
    }
}

fn start(args: &Args) -> Result<Vec<Pid>> {
    let mut children = Vec::new();
    for _ in 0..args.number {
        let parent = std::process::id();
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => return Err(std::io::Error::last_os_error()).context("cannot start a process"),
            0 => {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                ensure!(parent_id() == parent, "the parent has ended");
                listen_elsewhere(args)?;
            }
            child => children.push(Pid::from_raw(child).context("no process id")?),
        }
    }
    Ok(children)
}

/// Listens in a new network namespace, and says how many connections it has accepted, until the process is
/// killed.
fn listen_elsewhere(args: &Args) -> Result<()> {
    // One that has ended counts until the kernel has cleaned it up.
    poll_until("room for one more network namespace", || {
        // SAFETY: a separate network namespace changes nothing that memory safety depends on.
        match unsafe { unshare_unsafe(UnshareFlags::NEWNET) } {
            Err(Errno::NOSPC) => Ok(false),
            result => Ok(result.map(|()| true)?),
        }
    })?;
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(
        &socket,
        &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, args.port),
    )?;
    listen(&socket, 1)?;
    let accepted = if args.connections > 0 {
        accept_own(&socket, args)?
    } else {
        0
    };
    println!("{accepted}");
    loop {
        std::thread::park();
    }
}

fn accept_own(socket: &OwnedFd, args: &Args) -> Result<u32> {
    bring_loopback_up()?;
    let mut accepted = 0;
    for _ in 0..args.connections {
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, args.port))?;
        accept(socket)?;
        accepted += 1;
    }
    Ok(accepted)
}

/// The running processes; they end with this value.
pub(crate) struct Listeners {
    stdin: ChildStdin,
    lines: Lines,
    number: u32,
    accepted: u64,
    _parent: Process,
}

impl Listeners {
    /// Starts so many, and waits until they listen.
    pub(crate) fn start(number: usize, port: u16) -> Result<Self> {
        Self::start_with(number, port, &[])
    }

    /// Starts so many, which make connections to themselves. There cannot be many more network namespaces
    /// of theirs at once, so those that were replaced must be gone.
    pub(crate) fn start_limited(number: usize, port: u16, connections: u32) -> Result<Self> {
        let connections = connections.to_string();
        Self::start_with(number, port, &["--limited", "--connections", &connections])
    }

    fn start_with(number: usize, port: u16, options: &[&str]) -> Result<Self> {
        let mut command = itself::command("listen-in-namespaces");
        command.args(["--number", &number.to_string()]);
        command.args(["--port", &port.to_string()]).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut parent = Process::spawn("the listeners", &mut command)?;
        let stdout = parent.child.stdout.take().context("no pipe")?;
        let mut listeners = Self {
            stdin: parent.child.stdin.take().context("no pipe")?,
            lines: Lines::of("the listeners", stdout),
            number: u32::try_from(number)?,
            accepted: 0,
            _parent: parent,
        };
        listeners.wait()?;
        Ok(listeners)
    }

    /// Ends them, starts as many again, and waits until they listen.
    pub(crate) fn replace(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n")?;
        self.wait()
    }

    /// How many connections they have accepted, those that were replaced included.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    fn wait(&mut self) -> Result<()> {
        for line in self.lines.take(self.number)? {
            self.accepted += line.parse::<u64>()?;
        }
        Ok(())
    }
}
