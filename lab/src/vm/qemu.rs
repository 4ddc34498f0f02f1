//! Boots one guest and follows its serial console.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::guest::{LAST_LINE_FAILURE, LAST_LINE_SUCCESS, SHELL_LINE, STARTED_LINE};
use crate::machine::{Architecture, Processors};
use crate::packages::{self, Install};
use crate::tracer::DIAGNOSTIC;

/// How long a guest may take to reach PID 1; it needs 2 to 5 seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// How long to wait for further messages of a kernel that has failed.
const FAILURE_OUTPUT_LIMIT: Duration = Duration::from_secs(10);

/// How long a guest may give a prompt, and how long it has to end after its last line.
const SHELL_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
const END_LIMIT: Duration = Duration::from_secs(1);

/// Kernel messages after which its behaviour cannot be trusted.
const KERNEL_FAILURES: [&str; 8] = [
    "Kernel panic",
    "Oops:",
    "BUG:",
    "general protection fault",
    "soft lockup",
    "hard LOCKUP",
    "detected stall",
    "blocked for more than",
];

/// A guest to boot.
pub struct Guest<'a> {
    /// The architecture of the kernel.
    pub architecture: Architecture,
    /// The image to boot.
    pub kernel: &'a Path,
    /// The file system to boot with.
    pub initramfs: &'a Path,
    /// Appended to the kernel's command line.
    pub arguments: &'a str,
    /// What it runs on.
    pub processors: Processors,
    /// In MiB.
    pub memory: u32,
    /// The file for what the guest writes to its second serial line.
    pub second_serial: Option<&'a Path>,
    /// The file for the console's output.
    pub log: &'a Path,
    /// How long the guest may take.
    pub limit: Duration,
    /// Whether the guest may give a prompt, which this program's standard input goes to.
    pub shell: bool,
}

/// The program that emulates an architecture.
fn qemu(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "qemu-system-x86_64",
        Architecture::Aarch64 => "qemu-system-aarch64",
    }
}

/// QEMU's options for the machine.
fn machine_options(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        // With cmpxchg16b, some boots hang.
        Architecture::X86_64 => &["-cpu", "max,-cx16"],
        // `max` would authenticate pointers, which takes QEMU several times as long.
        Architecture::Aarch64 => &["-machine", "virt", "-cpu", "cortex-a57"],
    }
}

/// The kernel's name for the first serial line.
fn console(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "ttyS0",
        Architecture::Aarch64 => "ttyAMA0",
    }
}

/// QEMU's options for this many processors.
fn options(processors: Processors) -> &'static [&'static str] {
    match processors {
        Processors::One => &["-smp", "1"],
        Processors::Two => &["-smp", "2"],
        Processors::CountedOne => &["-smp", "1", "-icount", "shift=0,sleep=off"],
    }
}

/// How a guest ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// PID 1 reported success.
    Success,
    /// PID 1 reported a failure.
    Failure,
    /// It never reached PID 1.
    NoInit,
    /// It ended without PID 1's last line; with the reason from the console.
    Died(String),
}

/// Fails, or installs QEMU, if it is missing for one of these architectures.
pub fn require(architectures: &BTreeSet<Architecture>, install: Install) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the guests' programs are built on x86_64: run this on an x86_64 machine");
    }
    let programs: Vec<_> = architectures.iter().copied().map(qemu).collect();
    packages::require(&programs, install)
}

/// Boots `guest` and hands each line of its console to `on_line`.
pub fn boot(guest: &Guest<'_>, mut on_line: impl FnMut(&str)) -> Result<End> {
    let mut running = Running(
        command_line(guest)
            .spawn()
            .with_context(|| format!("cannot start {}", qemu(guest.architecture)))?,
    );
    let console = running.0.stdout.take().context("no pipe from QEMU")?;
    if let Some(directory) = guest.log.parent() {
        fs::create_dir_all(directory)?;
    }
    let log =
        File::create(guest.log).with_context(|| format!("cannot write {}", guest.log.display()))?;
    let end = follow(&console_lines(console), log, guest.limit, &mut on_line);
    if guest.shell {
        // QEMU restores the terminal's settings when it ends.
        thread::sleep(END_LIMIT);
    }
    end
}

fn command_line(guest: &Guest<'_>) -> Command {
    let mut qemu = Command::new(qemu(guest.architecture));
    qemu
        // With several threads, QEMU 7 loses changes to kernel text that is patched
        // while another processor runs it.
        .args(["-accel", "tcg,thread=single"])
        .args(machine_options(guest.architecture))
        .args(options(guest.processors))
        .args(["-m", &guest.memory.to_string()])
        .args(["-nodefaults", "-no-reboot", "-display", "none"])
        .args(["-serial", "stdio"])
        .arg("-kernel")
        .arg(guest.kernel)
        .arg("-initrd")
        .arg(guest.initramfs)
        .arg("-append")
        .arg(format!(
            "console={} quiet panic=-1 oops=panic {}",
            console(guest.architecture),
            guest.arguments
        ))
        .stdin(if guest.shell {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    if let Some(path) = guest.second_serial {
        let mut to = OsString::from("file:");
        to.push(path);
        qemu.arg("-serial").arg(to);
    }
    qemu
}

/// Reads the console until the guest's last line, its end, or a time limit.
fn follow(
    lines: &Receiver<String>,
    mut log: File,
    limit: Duration,
    on_line: &mut impl FnMut(&str),
) -> Result<End> {
    let mut deadline = Instant::now() + BOOT_LIMIT;
    let mut started = false;
    let mut failure = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(error) => return Ok(end_without_last_line(error, started, failure)),
        };
        writeln!(log, "{line}")?;
        if line == STARTED_LINE {
            started = true;
            deadline = Instant::now() + limit;
        }
        if line == SHELL_LINE {
            deadline = Instant::now() + SHELL_LIMIT;
        }
        match parse_end(&line) {
            // The kernel's next messages show why.
            Some(End::Died(why)) if failure.is_none() => {
                failure = Some(why);
                deadline = Instant::now() + FAILURE_OUTPUT_LIMIT;
            }
            Some(End::Died(_)) | None => on_line(&line),
            Some(end) => return Ok(failure.map_or(end, End::Died)),
        }
    }
}

fn end_without_last_line(error: RecvTimeoutError, started: bool, failure: Option<String>) -> End {
    match (failure, started, error) {
        (Some(why), ..) => End::Died(why),
        (None, false, _) => End::NoInit,
        (None, true, RecvTimeoutError::Timeout) => End::Died("did not finish in time".to_owned()),
        (None, true, RecvTimeoutError::Disconnected) => {
            End::Died("ended without its last line".to_owned())
        }
    }
}

fn parse_end(line: &str) -> Option<End> {
    match line {
        LAST_LINE_SUCCESS => Some(End::Success),
        LAST_LINE_FAILURE => Some(End::Failure),
        // What conn-cli says is not the kernel's.
        _ if !line.starts_with(DIAGNOSTIC)
            && KERNEL_FAILURES.iter().any(|text| line.contains(text)) =>
        {
            Some(End::Died(line.to_owned()))
        }
        _ => None,
    }
}

fn console_lines(console: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut line = Vec::new();
        let mut is_shell = false;
        while let Ok(bytes @ [_, ..]) = console.fill_buf() {
            // A prompt is not a whole line.
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            line.extend(&bytes[..taken]);
            if is_shell {
                let mut stdout = std::io::stdout();
                let _ = stdout
                    .write_all(&bytes[..taken])
                    .and_then(|()| stdout.flush());
            }
            console.consume(taken);
            if end.is_some() {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                is_shell |= text == SHELL_LINE;
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        }
    });
    lines
}

/// Kills QEMU when dropped, so that a guest that hangs does not keep running.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_parsed_from_the_console() {
        assert_eq!(parse_end("guest: success"), Some(End::Success));
        assert_eq!(parse_end("guest: failure"), Some(End::Failure));
        assert_eq!(parse_end("outcome ipv4 auto ok"), None);
        let oops = "[    2.1] Oops: 0000 [#1] SMP";
        assert_eq!(parse_end(oops), Some(End::Died(oops.to_owned())));
    }
}
