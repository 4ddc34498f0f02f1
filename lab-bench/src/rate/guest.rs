//! The guest's side: runs each row in turn, with a run without a tracer before and after it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::process::{Lines, Process};
use lab::tracer::Tracer;
use rustix::process::Signal;

use super::figures::{Figure, Message};
use super::rows::{OUT, PORT, ROWS, Row};
use super::verdict;
use crate::sockets::READY;

/// Threads that connect: enough that one can always go on while the others wait.
pub(super) const CLIENTS: u32 = 8;
/// Threads that accept.
pub(super) const SERVERS: u32 = 4;

/// Connections made before those that are measured.
const WARM_UP: u32 = 500;

/// Time for the kernel to finish its work for the last run.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// How long a connection may take, on average, before the run counts as failed.
const MAX_CONNECTION_TIME: Duration = Duration::from_millis(50);

/// Runs the rows in the guest
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file with the number of connections and of runs
    #[arg(long)]
    plan: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let plan = fs::read_to_string(&args.plan)?;
    let (connections, runs) = plan.trim().split_once(' ').context("no plan")?;
    let (connections, runs) = (connections.parse()?, runs.parse()?);
    for row in turns(ROWS.len(), runs) {
        let figure = measure(&ROWS[row], connections).map_err(|error| format!("{error:#}"));
        println!("{}", Message { row, figure });
    }
    Ok(())
}

/// The order in which rows are run: row 0, which the others are compared with, is before and after
/// each of them.
fn turns(rows: usize, runs: u32) -> impl Iterator<Item = usize> {
    let traced = (0..runs).flat_map(move |_| 1..rows);
    traced.flat_map(|row| [0, row]).chain([0])
}

fn measure(row: &Row, connections: u32) -> Result<Figure> {
    thread::sleep(SETTLE_TIME);
    // Before conn-cli: as in practice, the threads must already wait when conn-cli attaches.
    let server = Worker::server()?;
    let tracer = match row.line {
        "" => None,
        line => Some(start_conn_cli(line)?),
    };
    let mut client = Worker::client()?;
    client.connect(WARM_UP)?;
    let elapsed = client.connect(connections)?;
    let ended = match tracer {
        Some(tracer) => {
            tracer.process.signal(Signal::INT)?;
            Some(tracer.wait(Vec::new())?)
        }
        None => None,
    };
    let served = server.finish()?;
    ensure!(
        served == u64::from(WARM_UP) + u64::from(connections),
        "the benchmark is wrong: the server accepted {served}"
    );
    let lines = match &ended {
        Some(ended) => verdict::lines(row.reports, &fs::read_to_string(OUT)?, ended, served)?,
        None => verdict::Lines::default(),
    };
    let rate = f64::from(connections) / elapsed.as_secs_f64();
    Ok(Figure { rate, lines })
}

/// Starts conn-cli, and returns once it is attached.
fn start_conn_cli(line: &str) -> Result<Tracer> {
    let (line, out) = line.split_once(" > ").context("no output")?;
    let mut words = line.split(' ');
    let program = words.next().context("no program")?;
    let mut command = Command::new(Path::new("/bin").join(program));
    Tracer::start_onto(command.args(words), File::create(out)?)
}

/// The server or the client, in a process of its own.
struct Worker {
    process: Process,
    stdout: Lines,
}

impl Worker {
    /// Starts the server on the first processor.
    fn server() -> Result<Self> {
        Self::start("the server", &format!("--threads {SERVERS} --processor 0"))
    }

    /// Starts the client on the last processor. On a shared one, the rate would be lower and would
    /// depend on the placement of the threads.
    fn client() -> Result<Self> {
        let last = thread::available_parallelism()?.get() - 1;
        let options = format!("--client --threads {CLIENTS} --processor {last}");
        Self::start("the client", &options)
    }

    fn start(name: &'static str, options: &str) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["rate-work", "--port", &PORT.to_string()])
            .args(options.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::spawn(name, &mut command)?;
        let stdout = process.child.stdout.take().context("no pipe")?;
        let stdout = Lines::of(name, stdout);
        let first = stdout.next()?;
        ensure!(first.as_deref() == Some(READY), "{name} printed {first:?}");
        Ok(Self { process, stdout })
    }

    /// Has the client make this many connections, and returns how long that took.
    fn connect(&mut self, connections: u32) -> Result<Duration> {
        let stdin = self.process.child.stdin.as_mut().context("no pipe")?;
        writeln!(stdin, "{connections}")?;
        let limit = SETTLE_TIME + MAX_CONNECTION_TIME * connections;
        let line = self.stdout.next_within(limit);
        let line = line.context("the client did not finish in time")?;
        Ok(Duration::from_nanos(line.parse()?))
    }

    /// Ends the server, and returns how many connections it accepted.
    fn finish(mut self) -> Result<u64> {
        drop(self.process.child.stdin.take());
        let line = self.stdout.next()?.context("the server printed no count")?;
        self.process.wait()?;
        Ok(line.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_is_between_two_untraced_runs() {
        let turns: Vec<_> = turns(3, 2).collect();
        assert_eq!(turns, [0, 1, 0, 2, 0, 1, 0, 2, 0]);
    }
}
