//! Child processes: their output lines, their end and their signals, all with deadlines.

use std::io::{self, BufRead as _, BufReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How long any wait may take; emulated guests side by side are slow.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A child process that is killed on drop, even if the case fails.
pub struct Process {
    /// The child itself.
    pub child: Child,
    name: &'static str,
}

impl Process {
    /// Starts a child, which messages call `name`.
    pub fn spawn(name: &'static str, command: &mut Command) -> Result<Self> {
        Self::spawn_by(Command::spawn, name, command)
    }

    /// The same, with a child that `spawn` starts.
    pub fn spawn_by(
        spawn: impl FnOnce(&mut Command) -> io::Result<Child>,
        name: &'static str,
        command: &mut Command,
    ) -> Result<Self> {
        let program = command.get_program().display().to_string();
        let child = spawn(command).with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, name })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid()?, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until the child has ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let pidfd = pidfd_open(self.pid()?, PidfdFlags::empty())?;
        let limit = Timespec::try_from(DEADLINE)?;
        let ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))?;
        if ready == 0 {
            bail!("{} has not ended after {DEADLINE:?}", self.name);
        }
        Ok(self.child.wait()?)
    }

    /// Whether the child is still running after `time`.
    pub fn outlives(&self, time: Duration) -> Result<bool> {
        let pidfd = pidfd_open(self.pid()?, PidfdFlags::empty())?;
        let limit = Timespec::try_from(time)?;
        Ok(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))? == 0)
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(self.child.id().cast_signed()).context("the process has no valid id")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines from a pipe, read as they arrive.
pub struct Lines {
    receiver: Receiver<String>,
    what: &'static str,
}

impl Lines {
    /// Begins to read the lines of `pipe`, which messages call `what`.
    pub fn of(what: &'static str, pipe: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { receiver, what }
    }

    /// The next line, or `None` once the pipe is closed.
    pub fn next(&self) -> Result<Option<String>> {
        match self.next_within(DEADLINE) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("nothing from {} for {DEADLINE:?}", self.what)
            }
        }
    }

    /// The next line, if it comes within this time.
    pub fn next_within(&self, time: Duration) -> Result<String, RecvTimeoutError> {
        self.receiver.recv_timeout(time)
    }

    /// The next `count` lines; an error if the pipe is closed before.
    pub fn take(&self, count: u32) -> Result<Vec<String>> {
        let next = || {
            self.next()?
                .with_context(|| format!("{} was closed too early", self.what))
        };
        (0..count).map(|_| next()).collect()
    }

    /// All remaining lines until the pipe is closed.
    pub fn rest(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) = self.next()? {
            lines.push(line);
        }
        Ok(lines)
    }
}

/// Hands each line to `on_line`, as it arrives, until the pipe is closed.
pub fn each_line(pipe: impl Read, mut on_line: impl FnMut(&str)) {
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        on_line(&String::from_utf8_lossy(&line));
    }
}

/// Reads a line and closes the pipe.
pub fn first_line(pipe: impl AsFd + Read) -> Result<String> {
    let limit = Timespec::try_from(DEADLINE)?;
    let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&limit))?;
    ensure!(ready > 0, "no line within {DEADLINE:?}");
    let mut line = String::new();
    BufReader::new(pipe)
        .read_line(&mut line)
        .context("cannot read the first line")?;
    Ok(line)
}

/// Polls until `condition` holds, for changes that the kernel reports by no event.
pub fn poll_until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !condition()? {
        if start.elapsed() > DEADLINE {
            bail!("{what}: not within {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
