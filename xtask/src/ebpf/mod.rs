//! `cargo xtask ebpf`: builds the eBPF objects that conn-cli embeds.
//!
//! The objects are committed, so that building conn-cli needs no BPF toolchain.
//! Changing the eBPF programs does need one: [`toolchain`] finds it,
//! [`build`] builds every object with it, [`lab::strip`] removes the debug sections, and
//! [`stamp`] records the hash from [`sources`] of what the objects were built from.
//! The same sources and toolchain give the same bytes on every machine, which
//! `--check` relies on.

mod build;
mod calls;
mod linker;
mod sources;
mod stamp;
mod toolchain;

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use lab::packages::Install;

use build::Object;
use stamp::{COMMITTED, Stamp, write};
use toolchain::{Choice, Toolchain};

/// The folder of the objects just built, relative to the workspace root.
const FRESH: &str = "target/ebpf/out";

/// Build the eBPF objects that conn-cli embeds
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build into target/ebpf/out only, and fail unless the committed objects are the
    /// same byte for byte
    #[arg(long)]
    check: bool,
    /// Build nothing; run clippy on the eBPF programs, for their own target
    #[arg(long, conflicts_with = "check")]
    clippy: bool,
    /// The toolchain; `auto` prefers the one that built the committed objects
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    toolchain: Choice,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    let root = lab::workspace::root();
    let committed = Stamp::read(&root);
    if args.check
        && let Err(error) = &committed
    {
        bail!("nothing to check against: {error:#}; run `cargo xtask ebpf`");
    }
    let stamped = committed.as_ref().ok().map(|stamp| stamp.toolchain.kind);
    let toolchain = toolchain::find(args.toolchain, stamped, args.check, &root, install)?;
    eprintln!("building with {}", toolchain.identity());

    if args.clippy {
        return build::clippy(&root, &toolchain, install);
    }
    let objects = build::objects(&root, &toolchain)?;
    for object in &objects {
        write(&root.join(FRESH).join(&object.name), &object.bytes)?;
    }
    match committed {
        Ok(stamp) if args.check => check(&root, &stamp, &toolchain, &objects),
        _ => commit(&root, &toolchain, &objects),
    }
}

/// Writes the objects and their stamp to the folder that conn-cli embeds.
fn commit(root: &Path, toolchain: &Toolchain, objects: &[Object]) -> Result<()> {
    let folder = root.join(COMMITTED);
    for object in objects {
        write(&folder.join(&object.name), &object.bytes)?;
        eprintln!("{COMMITTED}/{}: {} bytes", object.name, object.bytes.len());
    }
    Stamp::new(root, toolchain.identity(), objects)?.write(root)
}

/// Fails unless the committed objects are those just built.
///
/// Another toolchain that gives the same bytes is fine: the check is whether the
/// objects come from these sources.
fn check(root: &Path, stamp: &Stamp, toolchain: &Toolchain, objects: &[Object]) -> Result<()> {
    let mut different = Vec::new();
    for object in objects {
        let path = root.join(COMMITTED).join(&object.name);
        if fs::read(&path).ok().as_ref() != Some(&object.bytes) {
            different.push(format!("{COMMITTED}/{}", object.name));
        }
    }
    let mut reasons = stamp.mismatches(root)?;
    let identity = toolchain.identity();
    if identity != stamp.toolchain {
        let reason = format!(
            "they were built with {}, but this is {identity}",
            stamp.toolchain
        );
        eprintln!("note: {reason}");
        if !different.is_empty() {
            reasons.push(reason);
        }
    }
    if different.is_empty() && reasons.is_empty() {
        eprintln!("the committed objects match their sources");
        return Ok(());
    }
    if !different.is_empty() {
        reasons.insert(
            0,
            format!("not the same as just built: {}", different.join(", ")),
        );
    }
    bail!(
        "the committed eBPF objects do not match their sources:\n  {}\n\
         run `cargo xtask ebpf` and commit {COMMITTED}; the objects just built are in {FRESH}",
        reasons.join("\n  ")
    )
}
