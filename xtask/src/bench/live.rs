//! `cargo xtask bench live`: what each tracer adds to a connection, in executed instructions.
//! A guest whose clock counts them gives the same figures whatever else this machine does.

mod figures;
pub(crate) mod guest;
mod rows;
pub(crate) mod work;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::vm::initramfs::Archive;
use crate::vm::qemu::{self, End, Guest, Processors};
use crate::vm::{self, Line, build_conn_cli, kernels, modules, tools};
use crate::{guest as init, workspace_root};
use figures::Said;
use rows::ROWS;

const GUEST_LIMIT: Duration = Duration::from_secs(60 * 60);

/// In MiB.
const GUEST_MEMORY: u32 = 1024;

/// Measure what each tracer adds to a connection, in instructions, in a guest under QEMU
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many connections are made in each run
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How often each row is measured; the median is shown
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The kernel to measure on
    #[arg(long, default_value = "6.1", value_name = "LINE")]
    kernel: Line,
    /// A static conn-cli to measure, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the guest is of x86_64: run this on such a machine");
    }
    qemu::ensure_installed()?;
    tools::ensure_installed(&rows::TOOLS)?;
    let conn_cli = match &args.conn_cli {
        Some(path) => path.clone(),
        None => build_conn_cli()?,
    };
    let directory = workspace_root().join("target/vm");
    fs::create_dir_all(&directory)?;
    let kernel = kernels::obtain(&[args.kernel], &directory, modules::RULES)?.swap_remove(0);
    let mut archive = Archive::new();
    let plan = format!("{} {}\n", args.connections, args.runs);
    archive.file(init::BENCH.trim_start_matches('/'), plan)?;
    let initramfs = directory.join("bench-live.cpio.gz");
    vm::write_initramfs(
        &initramfs,
        &vm::programs(&conn_cli, &rows::TOOLS)?,
        archive,
        &kernel,
    )?;
    let guest = Guest {
        kernel: &kernel.image,
        initramfs: &initramfs,
        arguments: "log_buf_len=16M",
        processors: Processors::CountedOne,
        memory: GUEST_MEMORY,
        brought_back: None,
        log: &directory.join("bench-live.log"),
        limit: GUEST_LIMIT,
    };
    let mut said = Vec::new();
    let end = qemu::boot(&guest, |line| {
        if let Some(figure) = Said::parse(line) {
            eprintln!("{}: {figure}", ROWS[figure.row].name);
            said.push(figure);
        }
    })?;
    println!(
        "Linux {}, {} connections, median (least..most) of {} runs; figures are instructions\n{}",
        kernel.release,
        args.connections,
        args.runs,
        figures::table(&said)?
    );
    if end != End::Success {
        bail!("the guest failed: {end:?}; see {}", guest.log.display());
    }
    if said.iter().any(|said| said.figure.is_err()) {
        bail!("not every row could be measured");
    }
    Ok(())
}
