//! `cargo xtask bench live`: what each tracer adds to a connection, in executed instructions.
//! A guest whose clock counts them gives the same figures whatever else this machine does.

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

use crate::vm;
use crate::vm::initramfs::Archive;
use crate::vm::qemu::{self, End, Guest, Processors};
use crate::vm::root::{Recipe, Root};
use crate::{guest as init, workspace_root};
use plan::Plan;
use rows::ROWS;
use said::{Said, What};

const GUEST_LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

/// In MiB; its file system is in memory, half of which it may take.
const GUEST_MEMORY: u32 = 4096;

/// The Debian with the tracers, and what those need that compile something.
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
    /// How many connections are made in each run
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How often each row is measured; the median is shown
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A tracer to measure, by a part of its name, all by default; may be given several times
    #[arg(long = "row", value_name = "TEXT")]
    rows: Vec<String>,
    /// A static conn-cli to measure, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
}

impl Args {
    /// The numbers of the rows to measure, without the first, which always is.
    fn chosen(&self) -> Result<Vec<usize>> {
        let wanted =
            |name: &str| self.rows.is_empty() || self.rows.iter().any(|text| name.contains(text));
        let chosen: Vec<_> = (1..ROWS.len()).filter(|&n| wanted(ROWS[n].name)).collect();
        if chosen.is_empty() {
            bail!("no tracer has such a name");
        }
        Ok(chosen)
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    qemu::ensure_installed()?;
    let conn_cli = vm::conn_cli(args.conn_cli.as_deref())?;
    let directory = workspace_root().join("target/vm/bench-live");
    fs::create_dir_all(&directory)?;
    let root = Root::obtain(&ROOT, &directory)?;
    let mut own = Archive::new();
    own.program(init::CONN_CLI.trim_start_matches('/'), &conn_cli)?;
    let plan = Plan {
        connections: args.connections,
        runs: args.runs,
        rows: args.chosen()?,
    };
    own.file(init::BENCH.trim_start_matches('/'), plan.to_string())?;
    let initramfs = directory.join("initramfs");
    root.write_initramfs(&initramfs, own)?;
    let guest = Guest {
        kernel: &root.kernel,
        initramfs: &initramfs,
        arguments: "log_buf_len=16M",
        processors: Processors::CountedOne,
        memory: GUEST_MEMORY,
        brought_back: None,
        log: &directory.join("console.log"),
        limit: GUEST_LIMIT,
    };
    let mut said = Vec::new();
    let end = qemu::boot(&guest, |line| {
        if let Some(of_row) = Said::parse(line) {
            eprintln!("{}: {of_row}", ROWS[of_row.row].name);
            said.push(of_row);
        }
    })?;
    println!(
        "Linux {}, {} connections, median (least..most) of {} runs; figures are instructions\n{}",
        root.release()?,
        args.connections,
        args.runs,
        figures::table(&said, &plan.rows)?
    );
    if end != End::Success {
        bail!("the guest failed: {end:?}; see {}", guest.log.display());
    }
    if said.iter().any(|said| matches!(said.what, What::Failed(_))) {
        bail!("not every row could be measured");
    }
    Ok(())
}
