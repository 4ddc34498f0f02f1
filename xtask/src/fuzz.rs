//! `cargo xtask fuzz`: feeds damaged records of every kind to the parsers, for a limited time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use lab::packages::{self, Install};
use lab::{command, workspace};

/// The release to install if there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// Each target, and the directories of the real records that it starts with.
const TARGETS: [(&str, &[&str]); 7] = [
    ("strace", &["conn-cli/tests/recorded/strace"]),
    ("kernel-log", &["conn-cli/tests/recorded/kernel-log"]),
    ("tcpdump", &["conn-cli/tests/recorded/packets"]),
    ("pcap", &["conn-cli/tests/recorded/packets"]),
    ("json", &["conn-cli/fuzz/seeds/json"]),
    ("other", &["conn-cli/fuzz/seeds/other"]),
    (
        "any",
        &[
            "conn-cli/tests/recorded/strace",
            "conn-cli/tests/recorded/kernel-log",
            "conn-cli/tests/recorded/packets",
            "conn-cli/fuzz/seeds/json",
            "conn-cli/fuzz/seeds/compressed",
        ],
    ),
];

/// Feed damaged records to conn-cli read; prints how many, and how much of the code they reached
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target runs, in seconds
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,

    /// Seed of the random generator, to repeat the same inputs; 0 chooses one
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,

    /// Run only this target; can be given several times
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    let is_known = |name: &String| TARGETS.iter().any(|(target, _)| target == name);
    if let Some(name) = args.targets.iter().find(|name| !is_known(name)) {
        bail!("there is no target {name}");
    }
    // libFuzzer is built from C++ sources.
    packages::require(&["c++"], install)?;
    let cargo_fuzz = cargo_fuzz()?;
    build(&cargo_fuzz)?;
    let is_selected =
        |name: &str| args.targets.is_empty() || args.targets.iter().any(|target| target == name);
    for (target, seeds) in TARGETS.iter().filter(|(name, _)| is_selected(name)) {
        let output = fuzz(&cargo_fuzz, target, seeds, args)?;
        let figures = Figures::parse(&output).context("libFuzzer printed no statistics")?;
        println!(
            "fuzz {target}: {} executions, {} edges covered, {} new inputs",
            figures.executions, figures.edges, figures.inputs
        );
    }
    Ok(())
}

/// The statistics that libFuzzer prints at the end.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    executions: u64,
    edges: u64,
    inputs: u64,
}

impl Figures {
    fn parse(output: &str) -> Option<Self> {
        let stat = |name: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        let covered = output
            .lines()
            .rev()
            .find_map(|line| line.split_once(" cov: "))?
            .1;
        Some(Self {
            executions: stat("stat::number_of_executed_units:")?,
            edges: covered.split_whitespace().next()?.parse().ok()?,
            inputs: stat("stat::new_units_added:")?,
        })
    }
}

/// The path of cargo-fuzz, which is installed into `target` if necessary.
fn cargo_fuzz() -> Result<PathBuf> {
    if command::is_installed("cargo-fuzz") {
        return Ok(PathBuf::from("cargo-fuzz"));
    }
    let root = workspace::root().join("target/cargo-fuzz");
    let program = root.join("bin/cargo-fuzz");
    if !program.exists() {
        eprintln!("installing cargo-fuzz {CARGO_FUZZ} into target");
        let mut install = Command::new("cargo");
        install.args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ]);
        // Not in this workspace, whose configuration sets a build target.
        command::run(install.arg("--root").arg(&root).current_dir("/"))?;
    }
    Ok(program)
}

fn build(cargo_fuzz: &Path) -> Result<()> {
    command::run(cargo(cargo_fuzz, "build").args(SANITIZER))
}

/// Sanitizers need nightly Rust. Without one libFuzzer still follows the branches, and Rust
/// still panics where C would read out of bounds.
const SANITIZER: [&str; 2] = ["--sanitizer", "none"];

fn fuzz(cargo_fuzz: &Path, target: &str, seeds: &[&str], args: &Args) -> Result<String> {
    let corpus = workspace::root().join("conn-cli/fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus)
        .with_context(|| format!("cannot create {}", corpus.display()))?;
    let mut fuzz = cargo(cargo_fuzz, "run");
    fuzz.args(SANITIZER).arg(target).arg(&corpus);
    fuzz.args(seeds.iter().map(|seeds| workspace::root().join(seeds)));
    fuzz.arg("--");
    fuzz.arg(format!("-max_total_time={}", args.seconds));
    fuzz.arg(format!("-seed={}", args.seed));
    // A target that takes longer than this for an input of this size hangs.
    fuzz.args([
        "-print_final_stats=1",
        "-timeout=20",
        "-max_len=65536",
        "-rss_limit_mb=1024",
    ]);
    let output = fuzz
        .stdin(Stdio::null())
        .output()
        .context("cannot start cargo-fuzz")?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{target} failed:\n{stderr}");
    Ok(stderr)
}

fn cargo(cargo_fuzz: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(cargo_fuzz);
    // The arguments with which cargo would call it.
    command.args(["fuzz", subcommand]);
    command.current_dir(workspace::root().join("conn-cli"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_crate_is_run() {
        let manifest = include_str!("../../conn-cli/fuzz/Cargo.toml");
        let (_, bins) = manifest.split_once("[[bin]]").unwrap();
        let names = bins.lines().filter_map(|line| line.strip_prefix("name = "));
        let mut names: Vec<_> = names.map(|name| name.trim_matches('"')).collect();
        let mut run: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        run.sort_unstable();
        assert_eq!(run, names);
    }

    #[test]
    fn figures_come_from_the_last_lines() {
        let output = "\
#2\tINITED cov: 100 ft: 10 corp: 1/1b\n\
#9\tDONE   cov: 250 ft: 700 corp: 99/4096b\n\
stat::number_of_executed_units: 12345\n\
stat::new_units_added:          67\n";
        let figures = Figures {
            executions: 12345,
            edges: 250,
            inputs: 67,
        };
        assert_eq!(Figures::parse(output), Some(figures));
        assert_eq!(Figures::parse("error"), None);
    }
}
