//! Many processes that listen, each in a network namespace of its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::parent_id;
use std::process::{ChildStdin, Stdio};

use anyhow::{Context as _, Result, ensure};
use lab::itself;
use lab::process::{Lines, Process};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Listens in many network namespaces until standard input ends
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    number: usize,
    #[arg(long)]
    port: u16,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    for _ in 0..args.number {
        let parent = std::process::id();
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => return Err(std::io::Error::last_os_error()).context("cannot start a process"),
            0 => {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                ensure!(parent_id() == parent, "the parent has ended");
                return listen_elsewhere(args.port);
            }
            _ => (),
        }
    }
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Listens in a new network namespace, and says so, until the process is killed.
fn listen_elsewhere(port: u16) -> Result<()> {
    // SAFETY: a separate network namespace changes nothing that memory safety depends on.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("no new network namespace")?;
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    listen(&socket, 1)?;
    println!("listening");
    loop {
        std::thread::park();
    }
}

/// The running processes; they end with this value.
pub(crate) struct Listeners {
    _stdin: ChildStdin,
    _parent: Process,
}

impl Listeners {
    /// Starts so many, and waits until they listen.
    pub(crate) fn start(number: usize, port: u16) -> Result<Self> {
        let mut command = itself::command("listen-in-namespaces");
        command.args(["--number", &number.to_string()]);
        command.args(["--port", &port.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut parent = Process::spawn("the listeners", &mut command)?;
        let stdout = parent.child.stdout.take().context("no pipe")?;
        let lines = Lines::of("the listeners", stdout);
        lines.take(u32::try_from(number)?)?;
        Ok(Self {
            _stdin: parent.child.stdin.take().context("no pipe")?,
            _parent: parent,
        })
    }
}
