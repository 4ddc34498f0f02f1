//! `cargo xtask vm`: runs the cases in guests with real kernels, under QEMU.

pub(crate) mod apt;
pub(crate) mod initramfs;
pub(crate) mod kernels;
mod modules;
pub(crate) mod qemu;
pub(crate) mod root;
pub(crate) mod tools;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use crate::cases::{Depth, Machine, Outcome, Results, check_names, format_list, planned};
use crate::ebpf::strip::strip_debug;
use crate::{command, guest, workspace_root};
use initramfs::Archive;
use kernels::Kernel;
pub(crate) use kernels::Line;
use qemu::End;
pub(crate) use qemu::Processors;

/// How long a guest may take for all its cases.
const GUEST_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The memory of a guest, in MiB.
const GUEST_MEMORY: u32 = 1024;

/// The kernel that also runs locked down.
const LOCKED_DOWN: Line = Line::V6_1;

/// Run the cases in guests with Debian's kernels, under QEMU
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run on this kernel only; can be given several times
    #[arg(long = "kernel", value_name = "LINE")]
    kernels: Vec<Line>,
    /// Run this case only; can be given several times
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Also run cases that are too heavy to run for each change
    #[arg(long)]
    all: bool,
    /// A static conn-cli to test, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
    /// Number of guests to run at the same time, each on one processor
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
}

impl Args {
    fn depth(&self) -> Depth {
        if self.all { Depth::All } else { Depth::Usual }
    }
}

/// Two, if there are two processors; more would need more memory.
fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, |processors| processors.get().min(2))
}

/// One boot of one kernel.
struct Job {
    kernel: Kernel,
    machine: Machine,
}

impl Job {
    fn name(&self) -> String {
        match self.machine {
            Machine::LockedDown => format!("{}+lockdown", self.kernel.release),
            Machine::Preemptible(_, Processors::One) => {
                format!("{}+preemptible+1cpu", self.kernel.release)
            }
            Machine::Preemptible(..) => format!("{}+preemptible", self.kernel.release),
            _ => self.kernel.release.clone(),
        }
    }

    fn arguments(&self) -> &'static str {
        match self.machine {
            Machine::LockedDown => "lockdown=confidentiality",
            // It is always preemptible, by default with lazy preemption.
            Machine::Preemptible(Line::Newest, _) => "",
            Machine::Preemptible(..) => "preempt=full",
            _ => "",
        }
    }

    fn processors(&self) -> Processors {
        match self.machine {
            Machine::Preemptible(_, processors) => processors,
            _ => Processors::Two,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    check_names(&args.cases)?;
    qemu::ensure_installed()?;
    tools::ensure_installed()?;
    let conn_cli = conn_cli(args.conn_cli.as_deref())?;
    let directory = workspace_root().join("target/vm");
    fs::create_dir_all(&directory)?;
    let mut lines = args.kernels.clone();
    if lines.is_empty() {
        lines.extend(Line::ALL);
    }
    let jobs = jobs(kernels::obtain(&lines, &directory)?, args);
    let results = run_jobs(jobs, &programs(&conn_cli)?, args, &directory)?;
    summarise(&results)
}

/// The path of the conn-cli to test: the given one, or the release build of this tree.
pub(crate) fn conn_cli(path: Option<&Path>) -> Result<PathBuf> {
    path.map_or_else(build_conn_cli, |path| Ok(path.to_owned()))
}

/// Builds conn-cli as it is released, and returns its path.
pub(crate) fn build_conn_cli() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--package", "conn-cli"]);
    let messages = command::output(cargo.arg("--message-format=json-render-diagnostics"))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "conn-cli")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo built no conn-cli")
}

/// The cargo that runs this xtask, in this workspace.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.current_dir(workspace_root()).stderr(Stdio::inherit());
    cargo
}

/// The boots that have cases to run.
fn jobs(kernels: Vec<Kernel>, args: &Args) -> VecDeque<Job> {
    let mut jobs = VecDeque::new();
    for kernel in kernels {
        let mut machines = vec![Machine::Guest(kernel.line)];
        if kernel.line == LOCKED_DOWN {
            machines.push(Machine::LockedDown);
        }
        if kernel.line != Line::V5_10 {
            machines.push(Machine::Preemptible(kernel.line, Processors::One));
        }
        // The newest kernel is preemptible by default.
        if matches!(kernel.line, Line::V6_1 | Line::V6_12) {
            machines.push(Machine::Preemptible(kernel.line, Processors::Two));
        }
        for machine in machines {
            if !planned(machine, &args.cases, args.depth()).is_empty() {
                let kernel = kernel.clone();
                jobs.push_back(Job { kernel, machine });
            }
        }
    }
    jobs
}

/// The part of the initramfs that all guests share.
pub(crate) fn programs(conn_cli: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for directory in ["dev", "bin", "proc", "run", "sys", "tmp"] {
        archive.directory(directory)?;
    }
    archive.character_device("dev/console", 5, 1)?;
    archive.executable("init", &init()?)?;
    archive.program(guest::CONN_CLI.trim_start_matches('/'), conn_cli)?;
    tools::pack(&mut archive)?;
    archive.finish()
}

/// This program, which is PID 1 of each guest.
fn init() -> Result<Vec<u8>> {
    let init = fs::read(std::env::current_exe()?).context("cannot read xtask")?;
    // Most of it is debug information, which the guest would take long to unpack.
    strip_debug(&init)
}

/// Writes what a guest boots from: the shared part, its own part, and its kernel's modules and
/// configuration.
pub(crate) fn write_initramfs(
    path: &Path,
    programs: &[u8],
    mut own: Archive,
    kernel: &Kernel,
) -> Result<()> {
    let modules = guest::MODULES.trim_start_matches('/');
    own.directory(modules)?;
    for (name, content) in modules::cached(&kernel.modules)? {
        own.file(&format!("{modules}/{name}"), content)?;
    }
    own.directory("boot")?;
    let config = fs::read(&kernel.config).context("cannot read the kernel's configuration")?;
    own.file(&format!("boot/config-{}", kernel.uname()), config)?;
    fs::write(path, [programs, &own.finish()?].concat())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Runs the jobs, `args.jobs` at a time.
fn run_jobs(
    jobs: VecDeque<Job>,
    programs: &[u8],
    args: &Args,
    directory: &Path,
) -> Result<Vec<(String, Results, Option<String>)>> {
    let queue = Mutex::new(jobs);
    let finished = Mutex::new(Vec::new());
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs.max(1))
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let Some(job) = next() {
                        let (results, problem) = run_job(&job, programs, args, directory)?;
                        finished
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((job.name(), results, problem));
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    Ok(finished
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

/// Boots one guest, once more if it never reached PID 1, and collects its results.
fn run_job(
    job: &Job,
    programs: &[u8],
    args: &Args,
    directory: &Path,
) -> Result<(Results, Option<String>)> {
    let name = job.name();
    let ids = planned(job.machine, &args.cases, args.depth());
    let initramfs = directory.join(format!("{name}.cpio.gz"));
    let mut archive = Archive::new();
    archive.file(guest::CASES.trim_start_matches('/'), format_list(&ids))?;
    write_initramfs(&initramfs, programs, archive, &job.kernel)?;
    let guest = qemu::Guest {
        kernel: &job.kernel.image,
        initramfs: &initramfs,
        arguments: job.arguments(),
        processors: job.processors(),
        memory: GUEST_MEMORY,
        second_serial: None,
        log: &directory.join(format!("{name}.log")),
        limit: GUEST_LIMIT,
    };
    let mut results = Results::new(ids);
    let mut boot = || {
        qemu::boot(&guest, |line| {
            if let Some(outcome) = Outcome::parse(line) {
                println!("{name} {outcome}");
                results.record(outcome);
            }
        })
    };
    let start = Instant::now();
    let mut end = boot()?;
    if end == End::NoInit {
        println!("{name} did not reach PID 1; booting it once more");
        end = boot()?;
    }
    println!("{name} ended after {:.0} s", start.elapsed().as_secs_f64());
    let log = guest.log.display();
    let problem = match end {
        End::Success => None,
        End::Failure => Some(format!("PID 1 reported a failure; see {log}")),
        End::NoInit => Some(format!("never reached PID 1; see {log}")),
        End::Died(why) => Some(format!("{why}; see {log}")),
    };
    Ok((results, problem))
}

/// Prints the results of each guest; an error unless every case in each ran and passed.
fn summarise(results: &[(String, Results, Option<String>)]) -> Result<()> {
    let mut all_passed = !results.is_empty();
    println!();
    for (name, results, problem) in results {
        println!("{name}: {results}");
        for id in results.did_not_run() {
            println!("{name} {id} DID NOT RUN");
        }
        if let Some(problem) = problem {
            println!("{name}: {problem}");
        }
        all_passed &= results.all_passed() && problem.is_none();
    }
    if !all_passed {
        bail!("not every case ran and passed in every guest");
    }
    Ok(())
}
