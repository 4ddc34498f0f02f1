//! `cargo xtask ebpf`: builds the eBPF objects that conn-cli embeds.
//!
//! The objects are committed, so that building conn-cli needs no BPF toolchain.
//! Changing the eBPF programs does need one: [`toolchain`] finds or installs it,
//! [`build`] builds every object with it, [`strip`] takes the debug sections out,
//! and [`stamp`] writes down what the objects were made from, as [`sources`] counts
//! it. The same sources and toolchain give the same bytes wherever they are built,
//! which `--check` relies on.

mod build;
mod calls;
mod linker;
mod sources;
mod stamp;
pub(crate) mod strip;
mod toolchain;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use build::Object;
use stamp::Stamp;
use toolchain::{Choice, Toolchain};

/// Where the committed objects are, from the workspace root.
const COMMITTED: &str = "conn-cli/ebpf";
/// Where the objects just built are, from the workspace root.
const FRESH: &str = "target/ebpf/out";

/// Build the eBPF objects that conn-cli embeds
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build them into target/ebpf/out only, and fail unless the committed ones are
    /// the same byte for byte
    #[arg(long)]
    check: bool,
    /// Build nothing: run clippy on the eBPF programs, for their own target
    #[arg(long, conflicts_with = "check")]
    clippy: bool,
    /// What to build with; `auto` prefers what the committed objects were built with
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    toolchain: Choice,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = crate::workspace_root();
    let committed = Stamp::read(&root);
    if args.check
        && let Err(error) = &committed
    {
        bail!("nothing to check against: {error:#}; run `cargo xtask ebpf`");
    }
    let stamped = committed.as_ref().ok().map(|stamp| stamp.toolchain.kind);
    let toolchain = toolchain::find(args.toolchain, stamped, args.check, &root)?;
    eprintln!("building with {}", toolchain.identity());

    if args.clippy {
        return build::clippy(&root, &toolchain);
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

/// Puts the objects and their stamp where conn-cli takes them from.
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
/// Another toolchain that gives the same bytes is fine: what is checked is that the
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
            "they were built with {}, and this is {identity}",
            stamp.toolchain
        );
        eprintln!("note: {reason}");
        if !different.is_empty() {
            reasons.push(reason);
        }
    }
    if different.is_empty() && reasons.is_empty() {
        eprintln!("the committed objects are what their sources give");
        return Ok(());
    }
    if !different.is_empty() {
        reasons.insert(
            0,
            format!("other bytes than just built: {}", different.join(", ")),
        );
    }
    bail!(
        "the committed eBPF objects are not what their sources give:\n  {}\n\
         run `cargo xtask ebpf` and commit {COMMITTED}; the objects just built are in {FRESH}",
        reasons.join("\n  ")
    )
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
