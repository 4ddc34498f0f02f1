//! Processes of the guest. Dropping a value kills its process.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::sockets::READY;

/// PID 1 has no `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn command(line: &str) -> Result<Command> {
    let (line, out) = match line.split_once(" > ") {
        Some((line, out)) => (line, Some(out)),
        None => (line, None),
    };
    let words = words(line);
    let (program, words) = words.split_first().context("an empty command line")?;
    let mut command = Command::new(program);
    command
        .args(words)
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    match out {
        Some(out) => command.stdout(File::create(out)?),
        None => command.stdout(Stdio::piped()),
    };
    Ok(command)
}

/// Splits a line into words like a shell whose only quote is `'`.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        match number % 2 {
            0 => words.extend(part.split_whitespace()),
            _ => words.push(part),
        }
    }
    words
}

pub(super) fn run_to_end(line: &str) -> Result<()> {
    lab::command::output(&mut command(line)?)?;
    Ok(())
}

/// A process that is killed when the value is dropped.
pub(super) struct Started {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Started {
    pub(super) fn new(line: &str) -> Result<Self> {
        let child = command(line)?.spawn();
        child
            .map(Self::from_child)
            .with_context(|| format!("cannot start {line}"))
    }

    pub(super) fn from_child(mut child: Child) -> Self {
        Self {
            stderr: child.stderr.take().map(BufReader::new),
            child,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub(super) fn wait_for_stdout(&mut self) -> Result<()> {
        let stdout = self.child.stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim_end() == READY {
            return Ok(());
        }
        let stderr = self.end()?;
        bail!("it did not become ready: {}", stderr.trim_end())
    }

    pub(super) fn wait_for_stderr(&mut self, ready: &str) -> Result<()> {
        let stderr = self.stderr.as_mut().context("no pipe")?;
        let mut output = String::new();
        loop {
            let start = output.len();
            if stderr.read_line(&mut output)? == 0 {
                bail!("it did not become ready: {}", output.trim_end());
            }
            if output[start..].contains(ready) {
                return Ok(());
            }
        }
    }

    /// Resident memory in KiB.
    pub(super) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let line = line.context("it has ended")?;
        Ok(line.trim_end_matches("kB").trim().parse()?)
    }

    /// Ends the processes that it started, and waits until it has ended, too.
    pub(super) fn end_child(&mut self) -> Result<()> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        for child in children.split_whitespace() {
            let child = Pid::from_raw(child.parse()?).context("no process")?;
            kill_process(child, Signal::TERM)?;
        }
        self.child.wait()?;
        Ok(())
    }

    /// Interrupts it, and returns what it wrote to standard error.
    pub(super) fn end(&mut self) -> Result<String> {
        if !self.has_ended()? {
            let pid = Pid::from_raw(self.child.id().cast_signed()).context("no process")?;
            kill_process(pid, Signal::INT)?;
        }
        let mut output = String::new();
        if let Some(mut stderr) = self.stderr.take() {
            stderr.read_to_string(&mut output)?;
        }
        self.child.wait()?;
        Ok(output)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_keep_their_blanks() {
        assert_eq!(words("nft  'add table; x' y"), ["nft", "add table; x", "y"]);
    }
}
