//! The development tasks of conn-cli: `cargo xtask COMMAND`.
//!
//! One module per command; each has an `Args` for clap and a `run`.

mod aarch64;
mod bench;
mod deploy;
mod ebpf;
mod fleet;
mod fuzz;
mod live;
mod native;
mod record;
mod test;
mod vm;

use std::process::{Command as Process, ExitCode};

use clap::{Parser, Subcommand};
use lab::packages::Install;
use lab::{guest, itself, server};

/// Builds, tests and measures what cargo alone cannot
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Xtask {
    /// Install what is missing on this machine: Debian packages, and a Rust toolchain for eBPF
    #[arg(long, global = true)]
    install: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ebpf(ebpf::Args),
    Test(test::Args),
    Native(native::Args),
    Vm(vm::Args),
    Fleet(fleet::Args),
    Fuzz(fuzz::Args),
    Bench(bench::Args),
    Record(record::Args),
    Deploy(deploy::Args),
    #[command(hide = true)]
    RecordServe(record::serve::Args),
    #[command(hide = true)]
    RecordConnect(record::connect::Args),
}

fn main() -> ExitCode {
    if guest::is_init() {
        return guest::main(|| Ok(task()));
    }
    if let Some(arguments) = itself::arguments() {
        let Helper::Serve(args) = Helper::parse_from(arguments);
        return ended(server::run(&args));
    }
    let xtask = Xtask::parse();
    let install = Install::from_option(xtask.install);
    let result = match xtask.command {
        Command::Ebpf(args) => ebpf::run(&args, install),
        Command::Test(args) => test::run(&args, install),
        Command::Native(args) => native::run(&args, install),
        Command::Vm(args) => vm::run(&args, install),
        Command::Fleet(args) => fleet::run(&args, install),
        Command::Fuzz(args) => fuzz::run(&args, install),
        Command::Bench(args) => bench::run(&args, install),
        Command::Record(args) => record::run(&args, install),
        Command::Deploy(args) => deploy::run(&args, install),
        Command::RecordServe(args) => record::serve::run(&args),
        Command::RecordConnect(args) => record::connect::run(&args),
    };
    ended(result)
}

/// What this program is started as.
#[derive(Parser)]
enum Helper {
    Serve(server::Args),
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command that a guest runs whose PID 1 is this program.
fn task() -> Process {
    let mut sh = Process::new("/bin/sh");
    sh.arg(record::SCRIPT);
    sh
}
