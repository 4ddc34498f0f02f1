//! A running tracer, and what it has reported.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::clock::executed;
use super::ends::work_command;
use super::process::{Started, run_to_end};
use super::rows::{Kind, OUT, Ready, Reports, Row, SERVER};

/// Lists the functions that something is attached to. Reading it costs a million instructions.
const ATTACHED: &str = "/sys/kernel/tracing/enabled_functions";

/// How often to check whether a tracer has attached, and how long it may take to, both in guest
/// time.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const ATTACH_LIMIT: Duration = Duration::from_secs(300);

/// A tracer that sees connections.
pub(super) struct Tracer<'a> {
    row: &'a Row,
    process: Process,
    log: KernelLog,
    /// Instructions from exec until it was ready; 0 if nothing is started beside the server.
    pub(super) ready: u64,
}

enum Process {
    None,
    Beside(Started),
    /// The server's parent.
    Around(Started),
}

impl<'a> Tracer<'a> {
    /// Starts it beside a running server.
    pub(super) fn beside(row: &'a Row, server: u32) -> Result<Self> {
        let mut tracer = Self::none(row)?;
        // Reading the count takes instructions, too.
        let first = executed()?;
        let before = executed()?;
        let read_cost = before - first;
        match row.kind {
            Kind::Nothing => return Ok(tracer),
            Kind::Rule { .. } => {
                run_to_end(row.line)?;
                return Ok(tracer);
            }
            Kind::Beside { ready, .. } => {
                tracer.process = Process::Beside(start(row.line, ready)?);
            }
            Kind::Around { attached } => {
                let ready = Ready::Prints(attached.context("it cannot attach to a process")?);
                let line = row.line.replace(SERVER, &format!("-p {server}"));
                tracer.process = Process::Beside(start(&line, ready)?);
            }
        }
        tracer.ready = executed()? - before - read_cost;
        Ok(tracer)
    }

    /// Starts it; it then starts the server.
    pub(super) fn around(row: &'a Row) -> Result<Self> {
        let mut tracer = Self::none(row)?;
        let mut process = Started::new(&row.line.replace(SERVER, &work_command("")))?;
        process.wait_for_stdout()?;
        tracer.process = Process::Around(process);
        Ok(tracer)
    }

    fn none(row: &'a Row) -> Result<Self> {
        if fs::exists(OUT)? {
            fs::remove_file(OUT)?;
        }
        Ok(Self {
            row,
            process: Process::None,
            log: KernelLog::open_at_end()?,
            ready: 0,
        })
    }

    /// Resident memory in KiB; 0 if no process stays.
    pub(super) fn resident(&self) -> Result<u64> {
        match &self.process {
            Process::None => Ok(0),
            Process::Beside(process) | Process::Around(process) => process.resident(),
        }
    }

    /// How many connections it has reported in [`OUT`] so far.
    pub(super) fn count_in_output(&self) -> Result<u64> {
        match self.row.reports {
            Reports::Lines { with, .. } => Ok(count_lines_with(with, &fs::read(OUT)?)),
            _ => Ok(0),
        }
    }

    /// Ends it, and returns how many connections it reported, if it does so one by one.
    pub(super) fn end(mut self) -> Result<Option<u64>> {
        let mut stderr = String::new();
        match &mut self.process {
            Process::None => {}
            Process::Beside(process) => stderr = process.end()?,
            Process::Around(process) => process.end_child()?,
        }
        if let Kind::Rule { undo } = self.row.kind {
            run_to_end(undo)?;
        }
        Ok(match self.row.reports {
            Reports::Nowhere => None,
            Reports::Lines { .. } => Some(self.count_in_output()?),
            Reports::Captured => Some(parse_captured(&stderr)?),
            Reports::KernelLog { with } => Some(self.log.count_lines_with(with)?),
        })
    }
}

fn start(line: &str, ready: Ready) -> Result<Started> {
    let functions = match ready {
        Ready::Prints(text) => {
            let mut process = Started::new(line)?;
            process.wait_for_stderr(text)?;
            return Ok(process);
        }
        Ready::Hooks(functions) => functions,
    };
    let attached =
        || Ok::<_, anyhow::Error>(count_attached(functions, &fs::read_to_string(ATTACHED)?));
    ensure!(attached()? == 0, "another tracer is still attached");
    let mut process = Started::new(line)?;
    let start = Instant::now();
    while attached()? < functions.len() {
        if process.has_ended()? || start.elapsed() > ATTACH_LIMIT {
            bail!("it did not attach: {}", process.end()?.trim_end());
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(process)
}

/// How many of the functions [`ATTACHED`] lists.
fn count_attached(functions: &[&str], attached: &str) -> usize {
    let names = attached.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| functions.contains(name)).count()
}

fn count_lines_with(text: &str, output: &[u8]) -> u64 {
    let output = String::from_utf8_lossy(output);
    output.lines().filter(|line| line.contains(text)).count() as u64
}

/// Parses `2100 packets captured`, which tcpdump prints.
fn parse_captured(stderr: &str) -> Result<u64> {
    let number = stderr
        .lines()
        .find_map(|line| line.split_once(" packets captured"));
    let (number, _) = number.with_context(|| format!("tcpdump printed {stderr:?}"))?;
    Ok(number.parse()?)
}

/// The kernel's log since it was opened.
struct KernelLog(File);

impl KernelLog {
    fn open_at_end() -> Result<Self> {
        let mut log = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")?;
        log.seek(SeekFrom::End(0))?;
        Ok(Self(log))
    }

    /// How many of its lines contain this; each read returns one line.
    fn count_lines_with(&mut self, text: &str) -> Result<u64> {
        let mut line = [0; 8192];
        let mut found = 0;
        loop {
            match self.0.read(&mut line) {
                Ok(length) => found += count_lines_with(text, &line[..length]).min(1),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(found),
                Err(error) => return Err(error).context("cannot read /dev/kmsg"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_packets_are_parsed() {
        let stderr = "listening on any\n2100 packets captured\n4200 packets received by filter\n";
        assert_eq!(parse_captured(stderr).unwrap(), 2100);
        assert!(parse_captured("tcpdump: any: No such device\n").is_err());
    }

    #[test]
    fn attached_functions_are_counted() {
        let attached = "inet_csk_accept (1) R I  \ttramp: 0xffffffffc0200000\n\
            security_sock_graft_x (1) R\n";
        let functions = ["inet_csk_accept", "security_sock_graft"];
        assert_eq!(count_attached(&functions, attached), 1);
        assert_eq!(count_attached(&functions, ""), 0);
    }
}
