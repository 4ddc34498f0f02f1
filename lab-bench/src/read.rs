//! `cargo xtask bench read`: `conn-cli read` beside awk, grep, tcpdump and tshark, on the same
//! records in the same run. The table marks wrong answers, and the command then fails. No time is
//! ever a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use lab::packages::{self, Install};
use lab::workspace::build_conn_cli;
use serde_json::Value;

use super::inputs::{self, Input, Kind, input};
use super::measure::{self, Cost, Output, Pinned};
use super::peers::{self, Pace, Peer};
use super::table::Table;

/// The number of parts into which the largest file is split.
const PARTS: u64 = 4;

/// Measure `conn-cli read` beside gawk, mawk, grep, tcpdump and tshark
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Minimum size of each input, such as 20M or 1G
    #[arg(long, default_value = "300M", value_name = "BYTES")]
    size: Size,
    /// Number of runs of each program; the table shows the median
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The conn-cli to measure, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug)]
struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, factor) = match text.chars().last() {
            Some('k') => (&text[..text.len() - 1], 1000),
            Some('M') => (&text[..text.len() - 1], 1_000_000),
            Some('G') => (&text[..text.len() - 1], 1_000_000_000),
            _ => (text, 1),
        };
        let size = digits
            .parse()
            .ok()
            .and_then(|size: u64| size.checked_mul(factor));
        size.map(Self)
            .ok_or_else(|| "give a number of bytes, such as 300M".to_owned())
    }
}

/// The setup of a measurement.
struct Bench {
    conn_cli: PathBuf,
    runs: u32,
    out: PathBuf,
    err: PathBuf,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    packages::require(&peers::PROGRAMS, install)?;
    let directory = inputs::directory()?;
    let bench = Bench {
        conn_cli: match &args.conn_cli {
            Some(path) => fs::canonicalize(path)?,
            None => build_conn_cli()?,
        },
        runs: args.runs,
        out: directory.join("out"),
        err: directory.join("err"),
    };
    let Size(size) = args.size;
    println!("{}", bench.about()?);
    // First, while this process itself uses little memory.
    let (memory, mut all_right) = bench.measure_alone(size)?;
    for kind in Kind::ALL {
        let (text, is_right) = bench.compare(kind, size)?;
        all_right &= is_right;
        println!("\n{text}");
    }
    println!("\n{memory}");
    if !all_right {
        bail!("not every answer was right");
    }
    Ok(())
}

impl Bench {
    /// The machine, the versions and the method.
    fn about(&self) -> Result<String> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown processor", |(_, model)| model);
        let kernel = rustix::system::uname();
        let conn_cli = lab::command::output(Command::new(&self.conn_cli).arg("--version"))?;
        Ok(format!(
            "{model}, {} processors, Linux {}\n{}, {}\n\
             Median of {} run(s) in turn, each on one processor, of a file that is in memory; LC_ALL=C.\n\
             MB/s, records/s and the ratio to conn-cli are of CPU time.",
            std::thread::available_parallelism()?,
            kernel.release().to_string_lossy(),
            conn_cli.trim(),
            peers::versions()?.join(", "),
            self.runs,
        ))
    }

    /// Measures all programs on one kind of input. Also returns whether all answers are right.
    fn compare(&self, kind: Kind, size: u64) -> Result<(String, bool)> {
        let whole = input(kind, size)?;
        let tenth = input(kind, size / 10)?;
        for input in [&whole, &tenth] {
            warm(&input.path)?;
        }
        let peers = peers::for_kind(kind);
        let input_of = |peer: &Peer| match peer.pace {
            Pace::Whole => &whole,
            Pace::Tenth | Pace::Once => &tenth,
        };
        let mut costs = vec![Vec::new(); peers.len()];
        let mut right = vec![None; peers.len()];
        let pinned = Pinned::new()?;
        for round in 0..self.runs {
            for (index, peer) in peers.iter().enumerate() {
                if round > 0 && peer.pace == Pace::Once {
                    continue;
                }
                let input = input_of(peer);
                let mut shell = shell(peer.line);
                shell.arg(&self.conn_cli).arg(&input.path);
                let cost = measure::run(&mut shell, Output::File(&self.out), &self.err)?;
                costs[index].push(cost);
                let is_right = if cost.succeeded {
                    peer.answer.is_right(&self.output()?, &input.truth)
                } else {
                    Some(false)
                };
                // One wrong answer is enough.
                right[index] = is_right.map(|is_right| is_right && right[index] != Some(false));
            }
        }
        drop(pinned);

        let mut table = Table::new(&[
            "program",
            "MB",
            "s",
            "CPU s",
            "MB/s",
            "M records/s",
            "conn-cli is",
            "answer",
        ]);
        // On one processor, this is the elapsed time if nothing else runs there.
        let cpu = |index: usize| median(&costs[index], |cost| cost.cpu).as_secs_f64();
        let rate = |index: usize| {
            let input = input_of(&peers[index]);
            input.size as f64 / cpu(index)
        };
        for (index, peer) in peers.iter().enumerate() {
            let input = input_of(peer);
            let wall = median(&costs[index], |cost| cost.wall).as_secs_f64();
            table.row(vec![
                peer.name.to_owned(),
                format!("{:.0}", input.size as f64 / 1e6),
                format!("{wall:.3}"),
                format!("{:.3}", cpu(index)),
                format!("{:.0}", rate(index) / 1e6),
                format!("{:.2}", input.truth.records as f64 / cpu(index) / 1e6),
                format!("{:.2}x", rate(0) / rate(index)),
                verdict(right[index]).to_owned(),
            ]);
        }
        let text = format!("{}\n\n{table}\n{}", heading(kind, &whole), lines(peers));
        Ok((text, right.iter().all(|right| *right != Some(false))))
    }

    /// Measures conn-cli on all processors, and its memory. Also returns whether all answers are
    /// right.
    fn measure_alone(&self, size: u64) -> Result<(String, bool)> {
        let whole = input(Kind::StraceOne, size)?;
        let quarter = input(Kind::StraceOne, size / 4)?;
        let parts = inputs::parts(&whole, PARTS)?;
        let one = [whole.path.clone()];
        for path in one.iter().chain(&parts).chain([&quarter.path]) {
            warm(path)?;
        }
        let floor = measure::own_peak()?;
        let rows = [
            ("--jobs 1", vec!["--jobs", "1"], &whole, &one[..]),
            (
                "--jobs 1, a quarter of it",
                vec!["--jobs", "1"],
                &quarter,
                std::slice::from_ref(&quarter.path),
            ),
            ("all processors", vec![], &whole, &one),
            ("all processors, in 4 parts", vec![], &whole, &parts),
        ];
        let mut table = Table::new(&[
            "conn-cli -q",
            "MB",
            "s",
            "CPU s",
            "MB/s",
            "peak MiB",
            "answer",
        ]);
        let mut costs = vec![Vec::new(); rows.len()];
        for _ in 0..self.runs {
            for ((_, options, _, paths), costs) in rows.iter().zip(&mut costs) {
                let mut conn_cli = Command::new(&self.conn_cli);
                conn_cli
                    .args(["read", "--quiet"])
                    .args(options)
                    .args(*paths);
                costs.push(measure::run(&mut conn_cli, Output::Nowhere, &self.err)?);
            }
        }
        let mut all_right = true;
        for ((name, options, input, paths), costs) in rows.iter().zip(&costs) {
            let is_right = self.json(options, paths)? == expected(input);
            all_right &= is_right;
            let wall = median(costs, |cost| cost.wall).as_secs_f64();
            let peak = median(costs, |cost| cost.peak);
            let at_most = if peak <= floor { "at most " } else { "" };
            table.row(vec![
                (*name).to_owned(),
                format!("{:.0}", input.size as f64 / 1e6),
                format!("{wall:.3}"),
                format!("{:.3}", median(costs, |cost| cost.cpu).as_secs_f64()),
                format!("{:.0}", input.size as f64 / wall / 1e6),
                format!("{at_most}{:.1}", peak as f64 / 1_048_576.0),
                verdict(Some(is_right)).to_owned(),
            ]);
        }
        for part in parts {
            fs::remove_file(part)?;
        }
        let heading = heading(Kind::StraceOne, &whole);
        Ok((
            format!("{heading}, on all processors\n\n{table}"),
            all_right,
        ))
    }

    /// Runs conn-cli with JSON output: returns the number of connections, in total and per client.
    fn json(&self, options: &[&str], paths: &[PathBuf]) -> Result<(u64, Vec<(u64, String)>)> {
        let mut conn_cli = Command::new(&self.conn_cli);
        conn_cli
            .args(["read", "--quiet", "--json"])
            .args(options)
            .args(paths);
        measure::run(&mut conn_cli, Output::File(&self.out), &self.err)?;
        let summary: Value = serde_json::from_str(&self.output()?)?;
        let clients = summary["clients"].as_array().context("no clients")?;
        let client = |client: &Value| {
            let address = client["address"].as_str()?.to_owned();
            Some((client["connections"].as_u64()?, address))
        };
        let mut clients: Vec<_> = clients.iter().filter_map(client).collect();
        clients.sort_unstable();
        let connections = summary["connections"].as_u64();
        Ok((connections.context("no connections")?, clients))
    }

    fn output(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.out)?)
    }
}

/// What [`Bench::json`] must return.
fn expected(input: &Input) -> (u64, Vec<(u64, String)>) {
    let clients = &input.truth.clients;
    let mut clients: Vec<_> = clients
        .iter()
        .map(|(client, connections)| (*connections, client.to_string()))
        .collect();
    clients.sort_unstable();
    (input.truth.connections(), clients)
}

/// A shell command in the C locale, in which text programs are fastest.
fn shell(line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.env("LC_ALL", "C").args(["-c", line]);
    shell
}

/// Reads a file, so that it is in the page cache.
fn warm(path: &Path) -> Result<()> {
    let copied = std::io::copy(&mut fs::File::open(path)?, &mut std::io::sink())?;
    ensure!(copied > 0, "{} is empty", path.display());
    Ok(())
}

fn median<T: Ord + Copy>(costs: &[Cost], value: impl Fn(&Cost) -> T) -> T {
    let mut values: Vec<_> = costs.iter().map(value).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn verdict(is_right: Option<bool>) -> &'static str {
    match is_right {
        Some(true) => "right",
        Some(false) => "WRONG",
        None => "-",
    }
}

fn heading(kind: Kind, input: &Input) -> String {
    let truth = &input.truth;
    format!(
        "{}: {:.0} MB, {} records, {} connections of {} clients",
        kind.title(),
        input.size as f64 / 1e6,
        truth.records,
        truth.connections(),
        truth.clients.len(),
    )
}

/// The command lines, as a code block.
fn lines(peers: &[Peer]) -> String {
    let lines = peers.iter().map(|peer| {
        let line = peer.line.trim_start_matches("exec ");
        line.replace("\"$0\"", "conn-cli").replace("\"$1\"", "FILE")
    });
    let lines: Vec<_> = lines.collect();
    format!("```sh\n{}\n```", lines.join("\n"))
}
