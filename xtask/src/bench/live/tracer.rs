//! A tracer that runs, and what it has told.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::clock::executed;
use super::ends::work;
use super::process::{Started, run_to_end};
use super::rows::{Kind, OUT, Ready, Row, SERVER, Told};

/// Lists the functions that something is attached to. To read it costs a million instructions.
const ATTACHED: &str = "/sys/kernel/tracing/enabled_functions";

/// How often it is looked whether a tracer has attached, and how long it may take to, both of the
/// guest's time.
const LOOK: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(300);

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
    /// Starts it beside a server that runs.
    pub(super) fn beside(row: &'a Row, server: u32) -> Result<Self> {
        let mut tracer = Self::none(row)?;
        // To ask takes instructions, too.
        let looked = executed()?;
        let before = executed()?;
        let look = before - looked;
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
                let ready = Ready::Says(attached.context("it cannot attach to a process")?);
                let line = row.line.replace(SERVER, &format!("-p {server}"));
                tracer.process = Process::Beside(start(&line, ready)?);
            }
        }
        tracer.ready = executed()? - before - look;
        Ok(tracer)
    }

    /// Starts it, and it starts the server.
    pub(super) fn around(row: &'a Row) -> Result<Self> {
        let mut tracer = Self::none(row)?;
        let mut process = Started::new(&row.line.replace(SERVER, &work("")))?;
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
            log: KernelLog::at_its_end()?,
            ready: 0,
        })
    }

    /// In KiB; 0 if nothing stays.
    pub(super) fn resident(&self) -> Result<u64> {
        match &self.process {
            Process::None => Ok(0),
            Process::Beside(process) | Process::Around(process) => process.resident(),
        }
    }

    /// How many connections it has told of in [`OUT`] until now.
    pub(super) fn told_in_out(&self) -> Result<u64> {
        match self.row.told {
            Told::Lines { with, .. } => Ok(lines_with(with, &fs::read(OUT)?)),
            _ => Ok(0),
        }
    }

    /// Ends it, and returns how many connections it has told of, if it does one by one.
    pub(super) fn end(mut self) -> Result<Option<u64>> {
        let mut said = String::new();
        match &mut self.process {
            Process::None => {}
            Process::Beside(process) => said = process.end()?,
            Process::Around(process) => process.end_child()?,
        }
        if let Kind::Rule { undo } = self.row.kind {
            run_to_end(undo)?;
        }
        Ok(match self.row.told {
            Told::Nowhere => None,
            Told::Lines { .. } => Some(self.told_in_out()?),
            Told::Captured => Some(captured(&said)?),
            Told::KernelLog { with } => Some(self.log.lines_with(with)?),
        })
    }
}

fn start(line: &str, ready: Ready) -> Result<Started> {
    let functions = match ready {
        Ready::Says(sign) => {
            let mut process = Started::new(line)?;
            process.wait_for_stderr(sign)?;
            return Ok(process);
        }
        Ready::Hooks(functions) => functions,
    };
    let attached =
        || Ok::<_, anyhow::Error>(attached_to(functions, &fs::read_to_string(ATTACHED)?));
    ensure!(attached()? == 0, "another tracer is still attached");
    let mut process = Started::new(line)?;
    let start = Instant::now();
    while attached()? < functions.len() {
        if process.has_ended()? || start.elapsed() > LIMIT {
            bail!("it did not attach: {}", process.end()?.trim_end());
        }
        thread::sleep(LOOK);
    }
    Ok(process)
}

/// To how many of the functions something is attached, as [`ATTACHED`] tells it.
fn attached_to(functions: &[&str], attached: &str) -> usize {
    let names = attached.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| functions.contains(name)).count()
}

fn lines_with(text: &str, output: &[u8]) -> u64 {
    let output = String::from_utf8_lossy(output);
    output.lines().filter(|line| line.contains(text)).count() as u64
}

/// Reads `2100 packets captured`, as tcpdump says it.
fn captured(said: &str) -> Result<u64> {
    let number = said
        .lines()
        .find_map(|line| line.split_once(" packets captured"));
    let (number, _) = number.with_context(|| format!("tcpdump said {said:?}"))?;
    Ok(number.parse()?)
}

/// What the kernel logs from now on.
struct KernelLog(File);

impl KernelLog {
    fn at_its_end() -> Result<Self> {
        let mut log = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")?;
        log.seek(SeekFrom::End(0))?;
        Ok(Self(log))
    }

    /// How many of its lines contain this; one each time is read.
    fn lines_with(&mut self, text: &str) -> Result<u64> {
        let mut line = [0; 8192];
        let mut found = 0;
        loop {
            match self.0.read(&mut line) {
                Ok(length) => found += lines_with(text, &line[..length]).min(1),
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
    fn reads_how_many_packets_were_captured() {
        let said = "listening on any\n2100 packets captured\n4200 packets received by filter\n";
        assert_eq!(captured(said).unwrap(), 2100);
        assert!(captured("tcpdump: any: No such device\n").is_err());
    }

    #[test]
    fn knows_what_is_attached() {
        let attached = "inet_csk_accept (1) R I  \ttramp: 0xffffffffc0200000\n\
            security_sock_graft_x (1) R\n";
        let functions = ["inet_csk_accept", "security_sock_graft"];
        assert_eq!(attached_to(&functions, attached), 1);
        assert_eq!(attached_to(&functions, ""), 0);
    }
}
