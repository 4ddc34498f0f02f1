//! Runs conn-cli for a case: starts it, waits until it is attached, ends it by a signal.

use std::process::{ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use crate::process::{Lines, Process};

/// The start of the line on standard error that conn-cli prints once its probes are attached.
const ATTACHED: &str = "Tracing";

/// How the warning about missed runs begins.
pub const AT_LEAST: &str = "warning: the count is at least ";

/// An attached conn-cli.
pub struct Tracer {
    /// Its process.
    pub process: Process,
    stdout: Option<ChildStdout>,
    stderr: Messages,
    /// The lines of standard error so far.
    messages: Vec<String>,
}

/// The exit status of conn-cli and all of its output.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// The lines of standard output.
    pub stdout: Vec<String>,
    /// The lines of standard error.
    pub stderr: Vec<String>,
}

impl Tracer {
    /// Starts conn-cli and waits until it reports that it is attached.
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::start_onto(command, Stdio::piped())
    }

    /// The same, with this standard output.
    pub fn start_onto(command: &mut Command, stdout: impl Into<Stdio>) -> Result<Self> {
        let mut process = Process::spawn("conn-cli", piped(command).stdout(stdout))?;
        let stdout = process.child.stdout.take();
        let stderr = process.child.stderr.take().context("no pipe")?;
        let mut stderr = Messages::new(Lines::of("conn-cli's standard error", stderr));
        let mut messages = Vec::new();
        while let Some(line) = stderr.next()? {
            let is_attached = line.starts_with(ATTACHED);
            messages.push(line);
            if is_attached {
                return Ok(Self {
                    process,
                    stdout,
                    stderr,
                    messages,
                });
            }
        }
        let status = process.wait()?;
        bail!(
            "conn-cli did not attach: {status}: {}",
            messages.join(" | ")
        );
    }

    /// Waits for a line of standard error that contains this, and returns it.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        while let Some(line) = self.stderr.next()? {
            self.messages.push(line.clone());
            if line.contains(text) {
                return Ok(line);
            }
        }
        bail!(
            "conn-cli never printed {text:?}: {}",
            self.messages.join(" | ")
        );
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Takes standard output and begins to read it; [`Tracer::finish`] needs its lines.
    pub fn stdout(&mut self) -> Result<Lines> {
        let stdout = self.take_stdout()?;
        Ok(Lines::of("conn-cli", stdout))
    }

    /// Takes standard output, to read it later or not at all.
    pub fn take_stdout(&mut self) -> Result<ChildStdout> {
        self.stdout
            .take()
            .context("standard output is already taken")
    }

    /// Sends `signal` and waits for the end; `stdout` has the remaining lines.
    pub fn finish(self, signal: Signal, stdout: &Lines) -> Result<Ended> {
        self.process.signal(signal)?;
        self.wait(stdout.rest()?)
    }

    /// Waits for the end, once `stdout` is all that conn-cli wrote.
    pub fn wait(mut self, stdout: Vec<String>) -> Result<Ended> {
        self.messages.extend(self.stderr.rest()?);
        Ok(Ended {
            status: self.process.wait()?,
            stdout,
            stderr: self.messages,
        })
    }
}

impl Ended {
    /// The exit code must be 0, or 1 if conn-cli reports that its count is too low.
    pub fn check_code(&self) -> Result<()> {
        let is_at_least = |line: &String| line.starts_with(AT_LEAST);
        let expected = i32::from(self.stderr.iter().any(is_at_least));
        ensure!(
            self.status.code() == Some(expected),
            "conn-cli ended with {}: {}",
            self.status,
            self.stderr.join(" | ")
        );
        Ok(())
    }
}

/// Runs a conn-cli that ends by itself.
pub fn run_to_end(command: &mut Command) -> Result<Ended> {
    let mut process = Process::spawn("conn-cli", piped(command))?;
    let stdout = process.child.stdout.take().context("no pipe")?;
    let stdout = Lines::of("conn-cli", stdout);
    let stderr = process.child.stderr.take().context("no pipe")?;
    let mut stderr = Messages::new(Lines::of("conn-cli's standard error", stderr));
    let (stdout, stderr) = (stdout.rest()?, stderr.rest()?);
    Ok(Ended {
        status: process.wait()?,
        stdout,
        stderr,
    })
}

/// Standard error, without the diagnostics that `-v` adds: those are shown, and nothing else is done
/// with them.
struct Messages {
    lines: Lines,
    /// Whether the last line belonged to a diagnostic.
    in_diagnostic: bool,
}

impl Messages {
    fn new(lines: Lines) -> Self {
        Self {
            lines,
            in_diagnostic: false,
        }
    }

    /// The next line that is a message to the user.
    fn next(&mut self) -> Result<Option<String>> {
        while let Some(line) = self.lines.next()? {
            self.in_diagnostic = is_diagnostic(&line) || self.in_diagnostic && continues(&line);
            if !self.in_diagnostic {
                return Ok(Some(line));
            }
            eprintln!("{DIAGNOSTIC}{line}");
        }
        Ok(None)
    }

    /// All remaining messages.
    fn rest(&mut self) -> Result<Vec<String>> {
        let mut messages = Vec::new();
        while let Some(line) = self.next()? {
            messages.push(line);
        }
        Ok(messages)
    }
}

/// The start of the line that shows a diagnostic.
pub const DIAGNOSTIC: &str = "conn-cli -v: ";

/// Whether a line is that of a logger: `DEBUG aya::bpf: ...`.
fn is_diagnostic(line: &str) -> bool {
    let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    line.split_once(' ').is_some_and(|(level, rest)| {
        levels.contains(&level)
            && rest
                .split(' ')
                .next()
                .is_some_and(|target| target.ends_with(':'))
    })
}

/// Whether a line may be part of a diagnostic of several lines.
fn continues(line: &str) -> bool {
    line.starts_with([' ', '\t', '}', ']', ')'])
}

/// Connects both outputs of conn-cli to pipes.
pub fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostics_are_no_messages() {
        assert!(is_diagnostic(
            "DEBUG aya::bpf: BPF Feature Detection: Features {"
        ));
        assert!(continues("    bpf_name: true,") && continues("}"));
        for line in [
            "Tracing TCP connections to port 80",
            "DEBUG of a sort",
            "warning: x: y",
        ] {
            assert!(!is_diagnostic(line), "{line}");
        }
    }
}
