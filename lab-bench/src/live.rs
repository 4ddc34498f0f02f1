//! `cargo xtask bench live`: how many executed instructions each tracer adds to a connection.
//! The guest's clock counts them, so the load of this machine does not change the figures.

mod clock;
mod ends;
mod figures;
pub(crate) mod guest;
mod plan;
mod process;
mod rows;
mod said;
mod tracer;
pub(crate) mod work;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use lab::machine::{Architecture, Processors};
use lab::packages::Install;
use lab::vm::archive::Archive;
use lab::vm::qemu::{self, End, Guest};
use lab::vm::root::{Recipe, Root};
use lab::{guest as init, vm, workspace};

use plan::Plan;
use rows::ROWS;
use said::{Body, Message};

const GUEST_LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

/// In MiB. The file system is in memory and can take half of it.
const GUEST_MEMORY: u32 = 4096;

/// The guest's plan.
pub(crate) const PLAN: &str = "/bench";

/// A Debian with the tracers and the packages that they need to compile their programs.
const ROOT: Recipe = Recipe {
    release: "bookworm",
    packages: &[
        "linux-image-cloud-amd64",
        "linux-headers-cloud-amd64",
        "linux-image-cloud-amd64-dbg",
        "libc6-dev",
        "bpftrace",
        "bpfcc-tools",
        "tcpdump",
        "iptables",
        "nftables",
        "strace",
        "systemtap",
        "systemtap-doc",
        "kmod",
    ],
    prepare: Some(include_str!("live/prepare.sh")),
};

/// Measure what each tracer adds to a connection, in instructions, in a guest under QEMU
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of connections in each run
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Number of runs of each row; the table shows the median
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measure only tracers whose name contains TEXT; can be given several times
    #[arg(long = "row", value_name = "TEXT")]
    rows: Vec<String>,
    /// A static conn-cli to measure, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
}

impl Args {
    /// The indices of the rows to measure, without row 0, which is always measured.
    fn selected_rows(&self) -> Result<Vec<usize>> {
        let is_selected =
            |name: &str| self.rows.is_empty() || self.rows.iter().any(|text| name.contains(text));
        let selected: Vec<_> = (1..ROWS.len())
            .filter(|&n| is_selected(ROWS[n].name))
            .collect();
        if selected.is_empty() {
            bail!("no tracer has a matching name");
        }
        Ok(selected)
    }
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    qemu::require(&[Architecture::X86_64].into(), install)?;
    let conn_cli = workspace::conn_cli(args.conn_cli.as_deref())?;
    let directory = vm::directory()?.join("bench-live");
    fs::create_dir_all(&directory)?;
    let root = Root::obtain(&ROOT, &directory, install)?;
    let mut archive = Archive::new();
    archive.program(init::CONN_CLI.trim_start_matches('/'), &conn_cli)?;
    let plan = Plan {
        connections: args.connections,
        runs: args.runs,
        rows: args.selected_rows()?,
    };
    archive.file(PLAN.trim_start_matches('/'), plan.to_string())?;
    let initramfs = directory.join("initramfs");
    root.write_initramfs(&initramfs, archive)?;
    let guest = Guest {
        architecture: Architecture::X86_64,
        kernel: &root.kernel,
        initramfs: &initramfs,
        arguments: "log_buf_len=16M",
        processors: Processors::CountedOne,
        memory: GUEST_MEMORY,
        second_serial: None,
        log: &directory.join("console.log"),
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
    println!(
        "Linux {}, {} connections, median (least..most) of {} runs; figures are instructions\n{}",
        root.release()?,
        args.connections,
        args.runs,
        figures::table(&messages, &plan.rows)?
    );
    if end != End::Success {
        bail!("the guest failed: {end:?}; see {}", guest.log.display());
    }
    if messages
        .iter()
        .any(|message| matches!(message.body, Body::Failed(_)))
    {
        bail!("not every row could be measured");
    }
    Ok(())
}
