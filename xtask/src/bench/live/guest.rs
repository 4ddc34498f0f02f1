//! The guest's side: runs each row in turn and says what it cost.
//!
//! The guest's clock counts executed instructions, one nanosecond each, and while nothing
//! runs it leaps to the next timer. So the time that processes ran is what they executed, and
//! to wait until all is at rest costs nothing.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::figures::{Figure, Said};
use super::rows::{Kind, OUT, PORT, ROWS, Row, SERVER, Told};
use super::work::READY;

/// Connections before those that are measured.
const WARM_UP: u32 = 100;

/// Longer than anyone holds back what is to be shown; tcpdump, for a second.
const REST: Duration = Duration::from_secs(3);

/// As long as the kernel keeps the ends of connections, among which new ones look for a port.
const FORGOTTEN: Duration = Duration::from_secs(61);

/// Runs the rows in a guest that counts instructions
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
    let mut failed = vec![false; ROWS.len()];
    for _ in 0..runs {
        for number in turns() {
            let row = &ROWS[number];
            if failed[number] {
                continue;
            }
            let figure = measure(row, connections).map_err(|error| format!("{error:#}"));
            failed[number] = figure.is_err();
            let said = Said {
                row: number,
                figure,
            };
            println!("{said}");
        }
    }
    Ok(())
}

/// The rows of a run; the first, which the others are compared with, comes in between, too.
fn turns() -> impl Iterator<Item = usize> {
    (0..ROWS.len()).flat_map(|number| match number > 0 && number % 5 == 0 {
        true => vec![0, number],
        false => vec![number],
    })
}

fn measure(row: &Row, connections: u32) -> Result<Figure> {
    if fs::exists(OUT)? {
        fs::remove_file(OUT)?;
    }
    thread::sleep(FORGOTTEN);
    let mut kernel_log = KernelLog::at_its_end()?;
    let mut server = match row.kind {
        Kind::Around => Started::new(&row.line.replace(SERVER, &work("")))?,
        _ => Started::new(&work(""))?,
    };
    server.wait_for_stdout()?;
    rest();
    let before = executed()?;
    let mut tracer = match row.kind {
        Kind::Nothing | Kind::Around => None,
        Kind::Beside { ready } => {
            let mut tracer = Started::new(row.line)?;
            tracer.wait_for_stderr(ready)?;
            Some(tracer)
        }
        Kind::Rule { .. } => {
            run_to_end(row.line)?;
            None
        }
    };
    let mut figure = Figure::default();
    if tracer.is_some() {
        figure.ready = executed()? - before;
    }
    let mut client = Client::start()?;
    rest();
    if let Some(tracer) = &tracer {
        figure.resident = tracer.resident()?;
    } else if matches!(row.kind, Kind::Around) {
        figure.resident = server.resident()?;
    }
    client.connect(WARM_UP)?;
    rest();

    let before = executed()?;
    let elapsed = client.connect(connections)?;
    rest();
    figure.all = (executed()? - before) / u64::from(connections);
    figure.meanwhile = elapsed / u64::from(connections);

    let said = match &mut tracer {
        Some(tracer) => tracer.end()?,
        None => String::new(),
    };
    match row.kind {
        Kind::Around => server.end_child()?,
        Kind::Rule { undo } => run_to_end(undo)?,
        Kind::Nothing | Kind::Beside { .. } => {}
    }
    let wanted = u64::from(connections + WARM_UP);
    let (wanted, told) = match row.told {
        Told::Nowhere => return Ok(figure),
        Told::Lines { each, with } => (wanted * u64::from(each), lines_with(with, &fs::read(OUT)?)),
        Told::Captured => (wanted, captured(&said)?),
        Told::KernelLog { with } => (wanted, kernel_log.lines_with(with)?),
    };
    ensure!(told <= wanted, "it told of {told} instead of {wanted}");
    figure.told = Some((told, wanted - told));
    Ok(figure)
}

/// The command line of the server or the client.
fn work(option: &str) -> String {
    format!("/init bench-work --port {PORT} {option}")
}

/// Until nobody has anything to do.
fn rest() {
    thread::sleep(REST);
}

/// What all processes have executed since boot: the time that the processor was not idle, as
/// far as those tell that do not run now.
fn executed() -> Result<u64> {
    let text = fs::read_to_string("/proc/schedstat")?;
    let line = text.lines().find(|line| line.starts_with("cpu0 "));
    let field = line.and_then(|line| line.split(' ').nth(7));
    Ok(field.context("no cpu0 in /proc/schedstat")?.parse()?)
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

fn command(line: &str) -> Result<Command> {
    let (line, out) = match line.split_once(" > ") {
        Some((line, out)) => (line, Some(out)),
        None => (line, None),
    };
    let words = words(line);
    let (program, words) = words.split_first().context("an empty command line")?;
    let program = match program.starts_with('/') {
        true => PathBuf::from(program),
        false => Path::new("/bin").join(program),
    };
    let mut command = Command::new(program);
    command
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    match out {
        Some(out) => command.stdout(File::create(out)?),
        None => command.stdout(Stdio::piped()),
    };
    Ok(command)
}

/// As a shell that knows no quote but `'`.
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

fn run_to_end(line: &str) -> Result<()> {
    crate::command::output(&mut command(line)?)?;
    Ok(())
}

/// A process that ends with the value.
struct Started {
    child: Child,
    stderr: Option<BufReader<std::process::ChildStderr>>,
}

impl Started {
    fn new(line: &str) -> Result<Self> {
        let mut child = command(line)?
            .spawn()
            .with_context(|| format!("cannot start {line}"))?;
        Ok(Self {
            stderr: child.stderr.take().map(BufReader::new),
            child,
        })
    }

    fn wait_for_stdout(&mut self) -> Result<()> {
        let stdout = self.child.stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim_end() == READY {
            return Ok(());
        }
        let said = self.end()?;
        bail!("it did not get ready: {}", said.trim_end())
    }

    fn wait_for_stderr(&mut self, ready: &str) -> Result<()> {
        let stderr = self.stderr.as_mut().context("no pipe")?;
        let mut said = String::new();
        loop {
            let start = said.len();
            if stderr.read_line(&mut said)? == 0 {
                bail!("it did not get ready: {}", said.trim_end());
            }
            if said[start..].contains(ready) {
                return Ok(());
            }
        }
    }

    /// In KiB.
    fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let line = line.context("it has ended")?;
        Ok(line.trim_end_matches("kB").trim().parse()?)
    }

    /// Ends what it has started, and waits until it has ended, too.
    fn end_child(&mut self) -> Result<()> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        for child in children.split_whitespace() {
            let child = Pid::from_raw(child.parse()?).context("no process")?;
            kill_process(child, Signal::TERM)?;
        }
        self.child.wait()?;
        Ok(())
    }

    /// Interrupts it, and returns what it said to standard error.
    fn end(&mut self) -> Result<String> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("no process")?;
        kill_process(pid, Signal::INT)?;
        let mut said = String::new();
        if let Some(mut stderr) = self.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        self.child.wait()?;
        Ok(said)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client, which waits to be told how often to connect.
struct Client {
    /// Ends with the value.
    _process: Started,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Client {
    fn start() -> Result<Self> {
        let line = work("--client");
        let mut child = command(&line)?.stdin(Stdio::piped()).spawn()?;
        let mut client = Self {
            stdin: child.stdin.take().context("no pipe")?,
            stdout: BufReader::new(child.stdout.take().context("no pipe")?),
            _process: Started {
                child,
                stderr: None,
            },
        };
        let said = client.line()?;
        ensure!(said == READY, "the client said {said:?}");
        Ok(client)
    }

    /// Connects so often, and returns how many nanoseconds that took.
    fn connect(&mut self, connections: u32) -> Result<u64> {
        writeln!(self.stdin, "{connections}")?;
        let said = self.line()?;
        said.parse()
            .with_context(|| format!("the client said {said:?}"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
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
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(found),
                Err(error) => return Err(error).context("cannot read /dev/kmsg"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_words() {
        assert_eq!(words("nft  'add table; x' y"), ["nft", "add table; x", "y"]);
    }

    #[test]
    fn reads_how_many_packets_were_captured() {
        let said = "listening on any\n2100 packets captured\n4200 packets received by filter\n";
        assert_eq!(captured(said).unwrap(), 2100);
        assert!(captured("tcpdump: any: No such device\n").is_err());
    }
}
