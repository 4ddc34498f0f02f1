//! The file system of the guest that records: a small Debian with the programs whose
//! output is recorded, and its kernel. It is made once and kept.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;
use crate::vm::apt;

const RELEASE: &str = "bookworm";

const PACKAGES: &str = "linux-image-cloud-amd64,strace,tcpdump,iptables,nftables,\
    iproute2,kmod,procps,rsyslog,systemd";

const PACK: &str = include_str!("pack.sh");

/// What to boot.
pub(super) struct Root {
    pub(super) kernel: PathBuf,
    /// An archive without compression, which takes the emulator long.
    pub(super) archive: PathBuf,
}

/// Makes the file system in `directory`, unless it is there.
pub(super) fn obtain(directory: &Path) -> Result<Root> {
    let root = Root {
        kernel: directory.join("vmlinuz"),
        archive: directory.join("root.cpio"),
    };
    // Written last: what is of another making, or not whole, is made again.
    let stamp = directory.join("made-of");
    let made_of = format!("{RELEASE}\n{PACKAGES}\n{PACK}");
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_of) {
        return Ok(root);
    }
    for program in ["mmdebstrap", "cpio"] {
        if !command::is_installed(program) {
            command::apt_get_install(&[program])?;
        }
    }
    println!("making a Debian to record in");
    let sources = directory.join("sources.list");
    fs::write(&sources, apt::sources(&apt::mirrors()?, RELEASE)?)?;
    let pack = directory.join("pack.sh");
    fs::write(&pack, PACK)?;
    fs::set_permissions(&pack, Permissions::from_mode(0o755))?;
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--quiet", "--variant=minbase", "--format=null"])
        .arg(format!("--include={PACKAGES}"))
        .args(["--aptopt=APT::Install-Recommends false"])
        .arg(format!("--customize-hook={}", pack.display()))
        .env("RECORD_TO", directory.canonicalize()?)
        .args([RELEASE, "/dev/null"])
        .arg(&sources);
    command::run(&mut mmdebstrap).context("cannot make the guest's Debian")?;
    fs::write(&stamp, made_of)?;
    Ok(root)
}
