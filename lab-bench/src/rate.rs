//! `cargo xtask bench rate`: the highest rate at which a server accepts connections, without a
//! tracer and with conn-cli, and whether conn-cli loses lines or counts wrong at that rate.

mod figures;
pub(crate) mod guest;
mod rows;
mod verdict;
pub(crate) mod work;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use lab::machine::{Architecture, Line, Processors};
use lab::packages::Install;
use lab::vm::archive::Archive;
use lab::vm::kernels::{self, Kernel};
use lab::vm::qemu::{self, End, Guest};
use lab::{vm, workspace};

use figures::Message;
use rows::ROWS;

/// The guest's plan.
pub(crate) const PLAN: &str = "/rate";

const GUEST_LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

/// In MiB.
const GUEST_MEMORY: u32 = 1024;

/// Measure the highest rate at which a server accepts connections, in a guest under QEMU
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of connections in each run
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Number of runs of each row; the table shows the median
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The kernel to measure on
    #[arg(long, default_value = "6.1", value_name = "LINE")]
    kernel: Line,
    /// A static conn-cli to measure, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
    /// Use one processor instead of two, with a clock that counts executed instructions, a
    /// nanosecond each, so that the load of this machine does not change the figures
    #[arg(long)]
    counted: bool,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    ensure!(
        args.kernel.architecture() == Architecture::X86_64,
        "this measures on x86_64 only"
    );
    qemu::require(&[Architecture::X86_64].into(), install)?;
    let conn_cli = workspace::conn_cli(args.conn_cli.as_deref())?;
    let directory = vm::directory()?;
    let kernel = kernels::obtain(&[args.kernel], &directory)?.swap_remove(0);
    let mut archive = Archive::new();
    let plan = format!("{} {}\n", args.connections, args.runs);
    archive.file(PLAN.trim_start_matches('/'), plan)?;
    let initramfs = directory.join("bench-rate.cpio.gz");
    let shared = vm::shared(&vm::this_program()?, &conn_cli, &[], Architecture::X86_64)?;
    vm::write_initramfs(&initramfs, &shared, archive, &kernel)?;
    let guest = Guest {
        architecture: Architecture::X86_64,
        kernel: &kernel.image,
        initramfs: &initramfs,
        arguments: "",
        processors: if args.counted {
            Processors::CountedOne
        } else {
            Processors::Two
        },
        memory: GUEST_MEMORY,
        second_serial: None,
        log: &directory.join("bench-rate.log"),
        limit: GUEST_LIMIT,
        shell: false,
    };
    let mut messages = Vec::new();
    let end = qemu::boot(&guest, |line| {
        if let Some(message) = Message::parse(line) {
            eprintln!("{}: {message}", ROWS[message.row].name);
            messages.push(message);
        }
    })?;
    println!("{}", head(&kernel, args));
    println!("{}", figures::table(&messages)?);
    if end != End::Success {
        bail!("the guest failed: {end:?}; see {}", guest.log.display());
    }
    if messages.iter().any(|message| message.figure.is_err()) {
        bail!("not every row could be measured, or a total was wrong");
    }
    Ok(())
}

fn head(kernel: &Kernel, args: &Args) -> String {
    let clock = if args.counted {
        "one processor of 1e9 instructions a second"
    } else {
        "two processors"
    };
    format!(
        "Linux {}, {clock}, {} clients to {} threads, {} connections, median (least..most) of {} runs",
        kernel.release,
        guest::CLIENTS,
        guest::SERVERS,
        args.connections,
        args.runs,
    )
}
