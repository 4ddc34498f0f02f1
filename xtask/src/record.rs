//! `cargo xtask record`: makes other programs record connections in a guest, for the
//! tests of `conn-cli read`. The server's own count is the expected result.

pub(crate) mod connect;
mod convert;
mod index;
pub(crate) mod serve;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lab::machine::{Architecture, Processors};
use lab::packages::{self, Install};
use lab::vm::archive::Archive;
use lab::vm::qemu::{self, End, Guest};
use lab::vm::root::{Recipe, Root};
use lab::{command, vm, workspace};

/// How long the guest may take; it needs about ten minutes.
const GUEST_LIMIT: Duration = Duration::from_secs(30 * 60);

/// In MiB. The file system is in memory and can take half of it.
const GUEST_MEMORY: u32 = 4096;

/// The script that the guest runs.
pub(crate) const SCRIPT: &str = "/record/main.sh";

/// The Debian with the programs whose output is recorded.
const ROOT: Recipe = Recipe {
    release: "bookworm",
    packages: &[
        "linux-image-cloud-amd64",
        "strace",
        "tcpdump",
        "iptables",
        "nftables",
        "iproute2",
        "kmod",
        "procps",
        "rsyslog",
        "systemd",
        "ulogd2",
        "ulogd2-json",
        "conntrack",
        "bpfcc-tools",
        "bpftrace",
        // The tracers compile their programs.
        "linux-headers-cloud-amd64",
        "libc6-dev",
    ],
    prepare: Some(include_str!("record/guest/prepare.sh")),
};

/// The guest's scripts.
const SCRIPTS: [(&str, &str); 9] = [
    ("main.sh", include_str!("record/guest/main.sh")),
    ("session.sh", include_str!("record/guest/session.sh")),
    ("strace.sh", include_str!("record/guest/strace.sh")),
    ("packets.sh", include_str!("record/guest/packets.sh")),
    ("links.sh", include_str!("record/guest/links.sh")),
    ("kernel-log.sh", include_str!("record/guest/kernel-log.sh")),
    ("tools.sh", include_str!("record/guest/tools.sh")),
    ("conntrack.sh", include_str!("record/guest/conntrack.sh")),
    ("tracers.sh", include_str!("record/guest/tracers.sh")),
];

/// Record connections with strace, tcpdump, the kernel's log, Suricata and other tools, in a guest
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, install: Install) -> Result<()> {
    qemu::require(&[Architecture::X86_64].into(), install)?;
    packages::require(&convert::PROGRAMS, install)?;
    let directory = vm::directory()?.join("record");
    fs::create_dir_all(&directory)?;
    let root = Root::obtain(&ROOT, &directory, install)?;

    let initramfs = directory.join("initramfs");
    root.write_initramfs(&initramfs, scripts()?)?;
    let tarball = directory.join("recorded.tar.gz");
    let guest = Guest {
        architecture: Architecture::X86_64,
        kernel: &root.kernel,
        initramfs: &initramfs,
        arguments: "log_buf_len=4M",
        processors: Processors::Two,
        memory: GUEST_MEMORY,
        second_serial: Some(&tarball),
        log: &directory.join("console.log"),
        limit: GUEST_LIMIT,
        shell: false,
    };
    let start = Instant::now();
    let end = qemu::boot(&guest, |line| println!("{line}"))?;
    println!(
        "the guest ended after {:.0} s",
        start.elapsed().as_secs_f64()
    );
    if end != End::Success {
        bail!("the guest failed: {end:?}; see {}", guest.log.display());
    }

    let recorded = directory.join("recorded");
    if recorded.exists() {
        fs::remove_dir_all(&recorded)?;
    }
    fs::create_dir(&recorded)?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&tarball).arg("-C").arg(&recorded);
    command::run(&mut tar)?;
    finish(&recorded)
}

/// The part of the initramfs with the scripts.
fn scripts() -> Result<Archive> {
    let mut archive = Archive::new();
    let script = Path::new(SCRIPT).strip_prefix("/")?;
    let directory = script.parent().context("the script has no directory")?;
    archive.directory(&directory.to_string_lossy())?;
    for (name, text) in SCRIPTS {
        archive.file(&directory.join(name).to_string_lossy(), text)?;
    }
    Ok(archive)
}

/// Adds converted captures and the index to the recordings, and copies them into the tree.
fn finish(recorded: &Path) -> Result<()> {
    let (files, truth) = (recorded.join("out"), recorded.join("truth"));
    let converted = convert::all(&files.join("packets"))?;
    OpenOptions::new()
        .append(true)
        .open(truth.join("index.tsv"))?
        .write_all(converted.as_bytes())?;
    fs::write(files.join("truth.json"), index::make(&truth)?)?;

    let tree = workspace::root().join("conn-cli/tests/recorded");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    command::run(Command::new("cp").arg("-R").arg(files.join(".")).arg(&tree))?;
    println!("recorded {}", tree.display());
    Ok(())
}
