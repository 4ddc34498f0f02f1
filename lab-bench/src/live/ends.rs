//! The two ends of the connections that answer requests: the client, and a server that waits in
//! many threads.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::process::{Started, command};
use super::rows::PORT;
use crate::sockets::READY;

/// How long the threads of a server may take until all wait in `accept`, in guest time.
const LIMIT: Duration = Duration::from_secs(60);

/// The command line of the server or the client.
pub(super) fn work_command(options: &str) -> String {
    format!("/init live-work --port {PORT} {options}")
}

/// A process that answers each line with a number.
struct Responder {
    process: Started,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Responder {
    fn start(options: &str) -> Result<Self> {
        let mut child = command(&work_command(options))?
            .stdin(Stdio::piped())
            .spawn()?;
        let mut responder = Self {
            stdin: child.stdin.take().context("no pipe")?,
            stdout: BufReader::new(child.stdout.take().context("no pipe")?),
            process: Started::from_child(child),
        };
        let line = responder.line()?;
        ensure!(line == READY, "{options} printed {line:?}");
        Ok(responder)
    }

    fn request(&mut self, request: &str) -> Result<u64> {
        writeln!(self.stdin, "{request}")?;
        let answer = self.line()?;
        answer
            .parse()
            .with_context(|| format!("the answer to {request:?} was {answer:?}"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

/// The client, which waits for the number of connections to make.
pub(super) struct Client(Responder);

impl Client {
    pub(super) fn start() -> Result<Self> {
        Responder::start("--client").map(Self)
    }

    /// Makes this many connections, and returns how many nanoseconds that took.
    pub(super) fn connect(&mut self, connections: u32) -> Result<u64> {
        self.0.request(&connections.to_string())
    }
}

/// A server whose threads all wait in `accept`.
pub(super) struct WaitingServer(Responder);

impl WaitingServer {
    /// Returns once all of them wait.
    pub(super) fn start(threads: usize) -> Result<Self> {
        let server = Self(Responder::start(&format!("--threads {threads}"))?);
        let start = Instant::now();
        while server.waiting()? < threads {
            if start.elapsed() > LIMIT {
                bail!("not all threads of the server wait in accept");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.process.id()
    }

    /// How many connections it has accepted.
    pub(super) fn accepted(&mut self) -> Result<u64> {
        self.0.request("")
    }

    /// How many threads wait in `accept`.
    fn waiting(&self) -> Result<usize> {
        let mut waiting = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let call = fs::read_to_string(task?.path().join("syscall"))?;
            waiting += usize::from(is_accept(&call));
        }
        Ok(waiting)
    }
}

/// Whether this line of `/proc/PID/syscall` shows a thread that sleeps in `accept4`.
fn is_accept(call: &str) -> bool {
    let number = call
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    number == Some(libc::SYS_accept4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_wait_in_accept_are_recognised() {
        let call = format!(
            "{} 0x3 0x7ffd5 0x7ffd1 0x80000 0x0 0x0 0x7ffd8 0x7f1b\n",
            libc::SYS_accept4
        );
        assert!(is_accept(&call));
        assert!(!is_accept(
            "0 0x0 0x55d 0x2000 0x0 0x0 0x0 0x7ffd8 0x7f1b\n"
        ));
        assert!(!is_accept("running\n"));
    }
}
