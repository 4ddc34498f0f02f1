//! `cargo xtask vm`: runs the cases in guests with real kernels, under QEMU.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use lab::machine::{Architecture, Line, Machine};
use lab::outcome::{Outcome, Results};
use lab::packages::{self, Install};
use lab::tracer::DIAGNOSTIC;
use lab::vm::archive::Archive;
use lab::vm::kernels::{self, Kernel};
use lab::vm::qemu::{self, End};
use lab::{command, guest, vm, workspace};

use crate::aarch64::Toolchain;
use crate::live::{Live, Planned, names, programs};

/// How long a guest may take for all its cases.
const GUEST_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The server's port in guests.
const PORT: u16 = 80;

/// A shell and the usual commands, in one program.
const BUSYBOX: &str = "busybox";

/// The memory of a guest, in MiB.
const GUEST_MEMORY: u32 = 1024;

/// Run the cases in guests with Debian's kernels, under QEMU
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run on this kernel only; can be given several times
    #[arg(long = "kernel", value_name = "LINE")]
    kernels: Vec<Line>,
    /// Also run what is too heavy to run for each change: more cases, and 6.12+aarch64
    #[arg(long)]
    all: bool,
    /// A static conn-cli to test, instead of the release build of this tree; not on aarch64
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
    /// Number of guests to run at the same time, each on one processor
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    /// Show the diagnostics of `conn-cli -v`
    #[arg(long)]
    verbose: bool,
    /// Give a prompt in a guest in which a case has failed; runs one guest at a time
    #[arg(long)]
    shell: bool,
    /// Which cases to run, as `cargo test` takes them: `-- --exact blocked-64/fentry`, or `-- --list`
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Args {
    /// Runs every case with this conn-cli; the heavy ones too if `all`.
    pub(crate) fn every_case(conn_cli: PathBuf, all: bool) -> Self {
        Self {
            kernels: Vec::new(),
            all,
            conn_cli: Some(conn_cli),
            jobs: default_jobs(),
            verbose: false,
            shell: false,
            filter: Vec::new(),
        }
    }
}

/// Two, if there are two processors; more would need more memory.
fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, |processors| processors.get().min(2))
}

/// For each architecture, the part of an initramfs that its guests share.
type Shared = BTreeMap<Architecture, Vec<u8>>;

/// One boot of one kernel.
struct Job {
    kernel: Kernel,
    machine: Machine,
    cases: Vec<Planned>,
}

impl Job {
    fn name(&self) -> String {
        let architecture = self.kernel.line.architecture().suffix();
        let suffix = self.machine.suffix();
        format!("{}{architecture}{suffix}", self.kernel.release)
    }
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    let mut lines = args.kernels.clone();
    if lines.is_empty() {
        // Another architecture takes two builds and eight minutes more.
        let is_usual = |line: &Line| line.architecture() == Architecture::X86_64;
        lines.extend(Line::ALL.iter().filter(|line| args.all || is_usual(line)));
    }
    let live = live(args)?;
    let planned = plan(&live, &lines)?;
    if args.filter.iter().any(|argument| argument == "--list") {
        for (machine, cases) in &planned {
            names(cases)
                .iter()
                .for_each(|name| println!("{machine} {name}"));
        }
        return Ok(());
    }
    ensure!(!planned.is_empty(), "no guest has such a case");
    let mut programs = programs(planned.iter().flat_map(|(_, cases)| cases));
    if args.shell {
        programs.push(choose_shell(install)?);
    }
    let architectures: BTreeSet<_> = planned
        .iter()
        .filter_map(|(machine, _)| Some(machine.line()?.architecture()))
        .collect();
    qemu::require(&architectures, install)?;
    let mut shared = Shared::new();
    for architecture in architectures {
        let packed = pack(architecture, args, &live, &programs, install)?;
        shared.insert(architecture, packed);
    }
    let directory = vm::directory()?;
    lines.retain(|line| {
        planned
            .iter()
            .any(|(machine, _)| machine.line() == Some(*line))
    });
    let kernels = kernels::obtain(&lines, &directory)?;
    let jobs = jobs(&kernels, planned);
    let results = run_jobs(jobs, &live, &shared, args, &directory)?;
    summarise(&results)
}

/// Builds and packs what the guests of an architecture share.
fn pack(
    architecture: Architecture,
    args: &Args,
    live: &Live,
    programs: &[&str],
    install: Install,
) -> Result<Vec<u8>> {
    let (init, conn_cli) = match architecture {
        Architecture::X86_64 => {
            packages::require(programs, install)?;
            let conn_cli = workspace::conn_cli(args.conn_cli.as_deref())?;
            (live.program.clone(), conn_cli)
        }
        Architecture::Aarch64 => {
            let toolchain = Toolchain::obtain()?;
            (toolchain.build_live()?, toolchain.build_conn_cli()?)
        }
    };
    vm::shared(&vm::init(&init)?, &conn_cli, programs, architecture)
}

/// The cases, with the arguments that they get in each guest.
fn live(args: &Args) -> Result<Live> {
    let mut arguments = vec!["--port".to_owned(), PORT.to_string()];
    for (option, is_given) in [("--all", args.all), ("--verbose", args.verbose)] {
        arguments.extend(is_given.then(|| option.to_owned()));
    }
    arguments.extend(args.filter.iter().cloned());
    Live::build(arguments)
}

/// The guests that have cases to run, with these cases.
fn plan(live: &Live, lines: &[Line]) -> Result<Vec<(Machine, Vec<Planned>)>> {
    let mut planned = Vec::new();
    for machine in lines.iter().copied().flat_map(Machine::guests) {
        let cases = live.plan(machine)?;
        if !cases.is_empty() {
            planned.push((machine, cases));
        }
    }
    Ok(planned)
}

/// The shell to pack: busybox, which has the usual commands, or else the shell of this machine.
fn choose_shell(install: Install) -> Result<&'static str> {
    if install == Install::Yes {
        packages::require(&[BUSYBOX], install)?;
    }
    let shell = shell();
    if shell != BUSYBOX {
        eprintln!(
            "busybox is missing: the prompt will have the commands that are built into sh, and \
             the programs of the cases; for more, pass --install, or run\n  apt-get install {}",
            packages::package(BUSYBOX)
        );
    }
    Ok(shell)
}

/// The shell that there is.
fn shell() -> &'static str {
    if command::find(BUSYBOX).is_some() {
        BUSYBOX
    } else {
        "sh"
    }
}

/// The boots of these guests.
fn jobs(kernels: &[Kernel], planned: Vec<(Machine, Vec<Planned>)>) -> VecDeque<Job> {
    let boot = |(machine, cases): (Machine, _)| {
        let kernel = kernels
            .iter()
            .find(|kernel| Some(kernel.line) == machine.line())?;
        let kernel = kernel.clone();
        Some(Job {
            kernel,
            machine,
            cases,
        })
    };
    planned.into_iter().filter_map(boot).collect()
}

/// Runs the jobs, `args.jobs` at a time.
fn run_jobs(
    jobs: VecDeque<Job>,
    live: &Live,
    shared: &Shared,
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
        let workers: Vec<_> = (0..if args.shell { 1 } else { args.jobs.max(1) })
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let Some(job) = next() {
                        let (results, problem) = run_job(&job, live, shared, args, directory)?;
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
    live: &Live,
    shared: &Shared,
    args: &Args,
    directory: &Path,
) -> Result<(Results, Option<String>)> {
    let name = job.name();
    let initramfs = directory.join(format!("{name}.cpio.gz"));
    let mut archive = Archive::new();
    let arguments = live.arguments(job.machine, Path::new(guest::CONN_CLI))?;
    archive.file(
        guest::ARGUMENTS.trim_start_matches('/'),
        arguments.join("\n"),
    )?;
    if args.shell {
        if shell() == BUSYBOX {
            archive.symbolic_link(guest::SHELL.trim_start_matches('/'), BUSYBOX)?;
        }
        archive.file(guest::SHELL_WANTED.trim_start_matches('/'), [])?;
    }
    let architecture = job.kernel.line.architecture();
    vm::write_initramfs(&initramfs, &shared[&architecture], archive, &job.kernel)?;
    let guest = qemu::Guest {
        architecture,
        kernel: &job.kernel.image,
        initramfs: &initramfs,
        arguments: job.machine.arguments(),
        processors: job.machine.processors(),
        memory: GUEST_MEMORY,
        second_serial: None,
        log: &directory.join(format!("{name}.log")),
        limit: GUEST_LIMIT,
        shell: args.shell,
    };
    let mut results = Results::new(names(&job.cases));
    let mut boot = || {
        qemu::boot(&guest, |line| {
            if let Some(outcome) = Outcome::parse(line) {
                println!("{name} {outcome}");
                results.record(outcome);
            } else if line.starts_with(DIAGNOSTIC) {
                println!("{name} {line}");
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

/// Prints the results of each guest; an error unless every case in each ran and passed, which
/// says what did not.
fn summarise(results: &[(String, Results, Option<String>)]) -> Result<()> {
    println!();
    let mut problems = Vec::new();
    for (name, results, problem) in results {
        println!("{name}: {results}");
        let of_guest = results.problems().into_iter().chain(problem.clone());
        problems.extend(of_guest.map(|problem| format!("{name} {problem}")));
    }
    let all_passed = results.iter().all(|(_, results, _)| results.all_passed());
    if results.is_empty() || !all_passed || !problems.is_empty() {
        let problems = problems.join("\n");
        bail!("not every case ran and passed in every guest:\n{problems}");
    }
    Ok(())
}
