//! `cargo xtask bench`: compares the cost of conn-cli with that of programs that do the same.
//!
//! The same program is PID 1 of the guests in which it measures, and what works there.

mod growth;
mod inputs;
mod live;
mod measure;
mod packets;
mod peers;
mod rate;
mod read;
mod scale;
mod sockets;
mod spread;
mod table;
mod text;
mod truth;

use std::path::Path;
use std::process::{Command as Process, ExitCode};

use clap::{Parser, Subcommand};
use lab::guest;
use lab::packages::Install;

/// Compare conn-cli with the programs that are used instead of it
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Bench {
    /// Install the Debian packages that are missing
    #[arg(long, global = true)]
    install: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Read(read::Args),
    Live(live::Args),
    Rate(rate::Args),
    Scale(growth::Args),
    #[command(hide = true)]
    LiveGuest(live::guest::Args),
    #[command(hide = true)]
    LiveWork(live::work::Args),
    #[command(hide = true)]
    RateGuest(rate::guest::Args),
    #[command(hide = true)]
    RateWork(rate::work::Args),
}

fn main() -> ExitCode {
    if guest::is_init() {
        return guest::main(|| Ok(task()));
    }
    let bench = Bench::parse();
    let install = Install::from_option(bench.install);
    let result = match bench.command {
        Command::Read(args) => read::run(&args, install),
        Command::Live(args) => live::run(&args, install),
        Command::Rate(args) => rate::run(&args, install),
        Command::Scale(args) => growth::run(&args, install),
        Command::LiveGuest(args) => live::guest::run(&args),
        Command::LiveWork(args) => live::work::run(&args),
        Command::RateGuest(args) => rate::guest::run(&args),
        Command::RateWork(args) => rate::work::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command that a guest runs, whose PID 1 is this program.
fn task() -> Process {
    let mut bench = Process::new("/proc/self/exe");
    if Path::new(live::PLAN).exists() {
        bench.args(["live-guest", "--plan", live::PLAN]);
    } else {
        bench.args(["rate-guest", "--plan", rate::PLAN]);
    }
    bench
}
