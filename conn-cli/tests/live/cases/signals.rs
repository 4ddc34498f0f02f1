//! Signals: which end conn-cli, which do not, and what ends it when its output stalls.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::client::Load;
use lab::counts::Counts;
use lab::diagnostics::CountLine;
use lab::process::{Lines, Process, poll_until};
use lab::report::Report;
use lab::server::Server;
use lab::tracer::Tracer;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;

use crate::context::Context;

const CONNECTIONS: u32 = 20;

/// The smallest size of a pipe.
const PIPE_SIZE: usize = 4096;

/// How long conn-cli must keep running if a signal must not end it.
const MIN_SURVIVAL: Duration = Duration::from_millis(500);

/// How long an immediate end may take on an emulated machine.
const MAX_EXIT_TIME: Duration = Duration::from_secs(5);

pub(crate) fn hang_up(context: &Context) -> Result<String> {
    ends_in_order(context, Signal::HUP)
}

/// A signal that by itself would kill conn-cli, as tools send it to any program.
pub(crate) fn user_defined(context: &Context) -> Result<String> {
    ends_in_order(context, Signal::USR2)
}

fn ends_in_order(context: &Context, signal: Signal) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    // The test itself may have been started by `nohup`.
    on_hang_up(command.arg("--json"), libc::SIG_DFL);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let served = server.finish()?;
    let ended = tracer.finish(signal, &stdout)?;
    Ok(Report::new(&ended)?.check(&served)?.to_string())
}

/// A conn-cli that was started by `nohup` continues.
pub(crate) fn nohup(context: &Context) -> Result<String> {
    let server = Server::plain(context.port)?;
    let mut command = context.conn_cli(context.port);
    on_hang_up(command.arg("--json"), libc::SIG_IGN);
    let mut tracer = Tracer::start(&mut command)?;
    let stdout = tracer.stdout()?;
    tracer.process.signal(Signal::HUP)?;
    Load::v4(context.port, CONNECTIONS).run()?;
    let mut lines = stdout.take(CONNECTIONS)?;
    let served = server.finish()?;
    tracer.process.signal(Signal::TERM)?;
    lines.extend(stdout.rest()?);
    Ok(Report::new(&tracer.wait(lines)?)?
        .check(&served)?
        .to_string())
}

/// Has the command start with SIGHUP ignored (`SIG_IGN`) or not (`SIG_DFL`).
fn on_hang_up(command: &mut Command, disposition: libc::sighandler_t) {
    let set = move || {
        // SAFETY: neither disposition is a handler.
        match unsafe { libc::signal(libc::SIGHUP, disposition) } {
            libc::SIG_ERR => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: between fork and exec there is one system call and nothing else.
    unsafe { command.pre_exec(set) };
}

/// A second SIGTERM, which service managers send, loses nothing.
pub(crate) fn two_terms(context: &Context) -> Result<String> {
    let mut stalled = Stalled::start(context)?;
    stalled.begin_shutdown(Signal::TERM)?;
    stalled.tracer.process.signal(Signal::TERM)?;
    stalled.ensure_still_running()?;
    let served = stalled.served;
    // Now the output is read.
    stalled.stdout.read_exact(&mut [0; PIPE_SIZE])?;
    let lines = Lines::of("conn-cli", stalled.stdout).rest()?;
    let figures = Report::new(&stalled.tracer.wait(lines)?)?.check(&served)?;
    ensure!(figures.not_shown == 0, "a line was lost: {figures}");
    Ok(figures.to_string())
}

/// A second SIGINT, from a user who does not want to wait, ends conn-cli at once.
pub(crate) fn second_interrupt(context: &Context) -> Result<String> {
    let stalled = Stalled::start(context)?;
    stalled.begin_shutdown(Signal::INT)?;
    stalled.ensure_still_running()?;
    let start = Instant::now();
    stalled.tracer.process.signal(Signal::INT)?;
    let ended = stalled.tracer.wait(Vec::new())?;
    let stderr = ended.stderr.join(" | ");
    ensure!(
        start.elapsed() < MAX_EXIT_TIME,
        "conn-cli took {:?} to end",
        start.elapsed()
    );
    ensure!(
        ended.status.code() == Some(130),
        "ended with {}: {stderr}",
        ended.status
    );
    let served: u64 = stalled.served.values().sum();
    let diagnostics = CountLine::without_warnings(&ended)?;
    ensure!(
        diagnostics.connections == served && diagnostics.not_shown == served,
        "the count line does not have {served} connections, none of them shown: {stderr}"
    );
    Ok(format!("stderr: {stderr}"))
}

/// A conn-cli that cannot write its lines: the pipe is full.
struct Stalled {
    tracer: Tracer,
    stdout: PipeReader,
    served: Counts,
}

impl Stalled {
    fn start(context: &Context) -> Result<Self> {
        let server = Server::plain(context.port)?;
        let (stdout, writer) = full_pipe()?;
        let tracer = Tracer::start_onto(context.conn_cli(context.port).arg("--json"), writer)?;
        Load::v4(context.port, CONNECTIONS).run()?;
        let served = server.finish()?;
        Ok(Self {
            tracer,
            stdout,
            served,
        })
    }

    /// Sends a signal and waits until conn-cli acts on it, which is when it detaches its probes.
    fn begin_shutdown(&self, signal: Signal) -> Result<()> {
        let process = &self.tracer.process;
        ensure!(
            is_attached(process)?,
            "the test is at fault: no descriptor of conn-cli keeps a probe attached"
        );
        process.signal(signal)?;
        poll_until("conn-cli detaches its probes", || {
            Ok(!is_attached(process)?)
        })
    }

    fn ensure_still_running(&self) -> Result<()> {
        ensure!(
            self.tracer.process.outlives(MIN_SURVIVAL)?,
            "conn-cli did not wait for its reader"
        );
        Ok(())
    }
}

fn full_pipe() -> Result<(PipeReader, PipeWriter)> {
    let (reader, mut writer) = std::io::pipe()?;
    let size = fcntl_setpipe_size(&writer, PIPE_SIZE)?;
    ensure!(size == PIPE_SIZE, "a pipe of {size} bytes");
    writer.write_all(&[0; PIPE_SIZE])?;
    Ok((reader, writer))
}

/// Whether a process holds a descriptor that keeps a probe attached: a BPF link or, before Linux
/// 5.15, a perf event.
fn is_attached(process: &Process) -> Result<bool> {
    let descriptors = format!("/proc/{}/fd", process.child.id());
    for descriptor in fs::read_dir(descriptors).context("conn-cli is gone")? {
        // A descriptor may be closed meanwhile.
        let Ok(target) = fs::read_link(descriptor?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        if target.contains("bpf_link")
            || target.contains("bpf-link")
            || target.contains("perf_event")
        {
            return Ok(true);
        }
    }
    Ok(false)
}
