//! `cargo xtask fuzz`: damaged records of every kind, for a while.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command;
use crate::workspace_root;

/// The release that is installed if there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// Each target, and where real records are that it begins with.
const TARGETS: [(&str, &[&str]); 6] = [
    ("strace", &["conn-cli/tests/recorded/strace"]),
    ("kernel-log", &["conn-cli/tests/recorded/kernel-log"]),
    ("tcpdump", &["conn-cli/tests/recorded/packets"]),
    ("pcap", &["conn-cli/tests/recorded/packets"]),
    ("json", &["conn-cli/fuzz/seeds/json"]),
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

/// Feed conn-cli read damaged records; says how many, and how much of the code they reached
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,

    /// Where chance begins, to have the same inputs again; 0: anywhere
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,

    /// Only this target; may repeat
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let is_known = |name: &String| TARGETS.iter().any(|(target, _)| target == name);
    if let Some(name) = args.targets.iter().find(|name| !is_known(name)) {
        bail!("there is no target {name}");
    }
    // libFuzzer is built from its C++.
    if !command::is_installed("c++") {
        command::apt_get_install(&["g++"])?;
    }
    let cargo_fuzz = cargo_fuzz()?;
    build(&cargo_fuzz)?;
    let is_asked =
        |name: &str| args.targets.is_empty() || args.targets.iter().any(|one| one == name);
    for (target, seeds) in TARGETS.iter().filter(|(name, _)| is_asked(name)) {
        let said = fuzz(&cargo_fuzz, target, seeds, args)?;
        let figures = Figures::of(&said).context("libFuzzer did not say what it did")?;
        println!(
            "fuzz {target}: {} executions, {} edges covered, {} new inputs",
            figures.executions, figures.edges, figures.inputs
        );
    }
    Ok(())
}

/// What libFuzzer says at the end.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    executions: u64,
    edges: u64,
    inputs: u64,
}

impl Figures {
    fn of(said: &str) -> Option<Self> {
        let stat = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        let covered = said
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

/// The program, installed into `target` if need be.
fn cargo_fuzz() -> Result<PathBuf> {
    if command::is_installed("cargo-fuzz") {
        return Ok(PathBuf::from("cargo-fuzz"));
    }
    let root = workspace_root().join("target/cargo-fuzz");
    let program = root.join("bin/cargo-fuzz");
    if !program.exists() {
        eprintln!("installing cargo-fuzz {CARGO_FUZZ} into target");
        let mut install = Command::new("cargo");
        install.args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ]);
        // The target that this workspace's configuration names is not for this.
        command::run(install.arg("--root").arg(&root).current_dir("/"))?;
    }
    Ok(program)
}

fn build(cargo_fuzz: &Path) -> Result<()> {
    command::run(cargo(cargo_fuzz, "build").args(SANITIZER))
}

/// Those that there are want nightly Rust. Without one libFuzzer still follows the branches,
/// and Rust still panics where C would read what is not its own.
const SANITIZER: [&str; 2] = ["--sanitizer", "none"];

fn fuzz(cargo_fuzz: &Path, target: &str, seeds: &[&str], args: &Args) -> Result<String> {
    let corpus = workspace_root().join("conn-cli/fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus)
        .with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut fuzz = cargo(cargo_fuzz, "run");
    fuzz.args(SANITIZER).arg(target).arg(&corpus);
    fuzz.args(seeds.iter().map(|seeds| workspace_root().join(seeds)));
    fuzz.arg("--");
    fuzz.arg(format!("-max_total_time={}", args.seconds));
    fuzz.arg(format!("-seed={}", args.seed));
    // What takes longer than this for an input of this size does not end.
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
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{target} failed:\n{said}");
    Ok(said)
}

fn cargo(cargo_fuzz: &Path, what: &str) -> Command {
    let mut command = Command::new(cargo_fuzz);
    // As cargo would call it.
    command.args(["fuzz", what]);
    command.current_dir(workspace_root().join("conn-cli"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_end() {
        let said = "\
#2\tINITED cov: 100 ft: 10 corp: 1/1b\n\
#9\tDONE   cov: 250 ft: 700 corp: 99/4096b\n\
stat::number_of_executed_units: 12345\n\
stat::new_units_added:          67\n";
        let figures = Figures {
            executions: 12345,
            edges: 250,
            inputs: 67,
        };
        assert_eq!(Figures::of(said), Some(figures));
        assert_eq!(Figures::of("error"), None);
    }
}
