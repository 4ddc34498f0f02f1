//! `cargo xtask vm`: runs the cases in guests with real kernels, under QEMU.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use lab::machine::{Line, Machine};
use lab::outcome::{Outcome, Results};
use lab::packages::{self, Install};
use lab::vm::archive::Archive;
use lab::vm::kernels::{self, Kernel};
use lab::vm::qemu::{self, End};
use lab::{vm, workspace};

use crate::cases::{Depth, LIST, PROGRAMS, check_names, planned};

/// How long a guest may take for all its cases.
const GUEST_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The memory of a guest, in MiB.
const GUEST_MEMORY: u32 = 1024;

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
        format!("{}{}", self.kernel.release, self.machine.suffix())
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    check_names(&args.cases)?;
    qemu::require(Install::Yes)?;
    packages::require(&PROGRAMS, Install::Yes)?;
    let conn_cli = workspace::conn_cli(args.conn_cli.as_deref())?;
    let directory = vm::directory()?;
    let mut lines = args.kernels.clone();
    if lines.is_empty() {
        lines.extend(Line::ALL);
    }
    let jobs = jobs(kernels::obtain(&lines, &directory)?, args);
    let shared = vm::shared(&vm::this_program()?, &conn_cli, &PROGRAMS)?;
    let results = run_jobs(jobs, &shared, args, &directory)?;
    summarise(&results)
}

/// The boots that have cases to run.
fn jobs(kernels: Vec<Kernel>, args: &Args) -> VecDeque<Job> {
    let mut jobs = VecDeque::new();
    for kernel in kernels {
        for machine in Machine::guests(kernel.line) {
            if !planned(machine, &args.cases, args.depth()).is_empty() {
                let kernel = kernel.clone();
                jobs.push_back(Job { kernel, machine });
            }
        }
    }
    jobs
}

/// Runs the jobs, `args.jobs` at a time.
fn run_jobs(
    jobs: VecDeque<Job>,
    shared: &[u8],
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
                        let (results, problem) = run_job(&job, shared, args, directory)?;
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
    shared: &[u8],
    args: &Args,
    directory: &Path,
) -> Result<(Results, Option<String>)> {
    let name = job.name();
    let names = planned(job.machine, &args.cases, args.depth());
    let initramfs = directory.join(format!("{name}.cpio.gz"));
    let mut archive = Archive::new();
    archive.file(LIST.trim_start_matches('/'), names.join("\n"))?;
    vm::write_initramfs(&initramfs, shared, archive, &job.kernel)?;
    let guest = qemu::Guest {
        kernel: &job.kernel.image,
        initramfs: &initramfs,
        arguments: job.machine.arguments(),
        processors: job.machine.processors(),
        memory: GUEST_MEMORY,
        second_serial: None,
        log: &directory.join(format!("{name}.log")),
        limit: GUEST_LIMIT,
        shell: false,
    };
    let mut results = Results::new(names);
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
        for missing in results.did_not_run() {
            println!("{name} {missing} DID NOT RUN");
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
