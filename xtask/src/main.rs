//! The development tasks of conn-cli: `cargo xtask COMMAND`.
//!
//! One module per command; each has an `Args` for clap and a `run`.

mod bench;
mod ebpf;
mod fuzz;
mod live;
mod native;
mod record;
mod test;
mod vm;

use std::path::Path;
use std::process::{Command as Process, ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use lab::guest;

/// Builds, tests and measures what cargo alone cannot
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ebpf(ebpf::Args),
    Test(test::Args),
    Native(native::Args),
    Vm(vm::Args),
    Fuzz(fuzz::Args),
    Bench(bench::Args),
    Record(record::Args),
    #[command(hide = true)]
    BenchGuest(bench::live::guest::Args),
    #[command(hide = true)]
    BenchWork(bench::live::work::Args),
    #[command(hide = true)]
    BenchRateGuest(bench::rate::guest::Args),
    #[command(hide = true)]
    BenchRateWork(bench::rate::work::Args),
    #[command(hide = true)]
    RecordServe(record::serve::Args),
    #[command(hide = true)]
    RecordConnect(record::connect::Args),
}

fn main() -> ExitCode {
    if guest::is_init() {
        return guest::main(task);
    }
    let result = match Xtask::parse().command {
        Command::Ebpf(args) => ebpf::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Native(args) => native::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Record(args) => record::run(&args),
        Command::BenchGuest(args) => bench::live::guest::run(&args),
        Command::BenchWork(args) => bench::live::work::run(&args),
        Command::BenchRateGuest(args) => bench::rate::guest::run(&args),
        Command::BenchRateWork(args) => bench::rate::work::run(&args),
        Command::RecordServe(args) => record::serve::run(&args),
        Command::RecordConnect(args) => record::connect::run(&args),
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
fn task() -> Result<Process> {
    if Path::new(record::SCRIPT).exists() {
        let mut sh = Process::new("/bin/sh");
        sh.arg(record::SCRIPT);
        return Ok(sh);
    }
    let mut xtask = Process::new("/proc/self/exe");
    if Path::new(bench::live::PLAN).exists() {
        xtask.args(["bench-guest", "--plan", bench::live::PLAN]);
    } else {
        xtask.args(["bench-rate-guest", "--plan", bench::rate::PLAN]);
    }
    Ok(xtask)
}
