//! Finds a Rust toolchain that builds for BPF, or installs one if that is asked for.
//!
//! Two work: a rustup nightly with `rust-src`, which builds the core library along
//! with the programs, and Debian's own Rust, which has the core library for BPF as a
//! package and so needs no nightly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use anyhow::{Context, Result, ensure};
use lab::command::{output, run};
use lab::packages::{self, Install};

use super::linker::{self, Linker};

pub(super) const TARGET: &str = "bpfel-unknown-none";

/// Debian's packages of current Rust releases, with the core library for BPF.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// The values of `--toolchain`.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Choice {
    Auto,
    Nightly,
    Debian,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nightly,
    Debian,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nightly => "nightly",
            Self::Debian => "debian",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Nightly, Self::Debian]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// A program of this toolchain, whichever toolchain runs xtask.
    pub(super) fn command(self, program: &str) -> Command {
        let mut command = match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", program]);
                command.env_remove("CARGO").env_remove("RUSTC");
                command
            }
            Self::Debian => {
                let mut command = Command::new(format!("/usr/bin/{program}"));
                command
                    .env("CARGO", "/usr/bin/cargo")
                    .env("RUSTC", "/usr/bin/rustc")
                    // These use BPF inline assembly, which is unstable; no other crate may
                    // use unstable features.
                    .env("RUSTC_BOOTSTRAP", "aya_ebpf,conn_common,conn_ebpf")
                    // It points to the libraries of the toolchain that runs xtask.
                    .env_remove("LD_LIBRARY_PATH");
                command
            }
        };
        command
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        command
    }

    /// Whether it is installed with the core library for BPF.
    fn is_present(self) -> bool {
        let query = match self {
            Self::Nightly => ["--print", "sysroot"].as_slice(),
            Self::Debian => &["--print", "target-libdir", "--target", TARGET],
        };
        let Ok(path) = output(self.command("rustc").args(query)) else {
            return false;
        };
        let path = Path::new(path.trim());
        match self {
            Self::Nightly => path.join(RUST_SRC).join("library/Cargo.lock").exists(),
            Self::Debian => path.is_dir() && Path::new("/usr/bin/cargo").exists(),
        }
    }
}

/// The path of `rust-src` in a sysroot.
const RUST_SRC: &str = "lib/rustlib/src/rust";

/// What determines the bytes of an object, besides its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: Kind,
    /// The versions of rustc and of its LLVM.
    pub(super) rustc: String,
    /// The version of bpf-linker.
    pub(super) linker: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            rustc,
            linker,
        } = self;
        write!(f, "{rustc} ({}) and {linker}", kind.name())
    }
}

pub(super) struct Toolchain {
    pub(super) kind: Kind,
    pub(super) linker: Linker,
    /// Where the sources of the core library are, if it is built from them.
    pub(super) core_sources: Option<PathBuf>,
    rustc: String,
}

impl Toolchain {
    pub(super) fn identity(&self) -> Identity {
        Identity {
            kind: self.kind,
            rustc: self.rustc.clone(),
            linker: self.linker.version.clone(),
        }
    }
}

/// Finds the toolchain to build with. `stamped` is the one that built the committed
/// objects; with `must_be_stamped`, `Choice::Auto` accepts no other.
pub(super) fn find(
    choice: Choice,
    stamped: Option<Kind>,
    must_be_stamped: bool,
    root: &Path,
    install: Install,
) -> Result<Toolchain> {
    match (choice, stamped) {
        (Choice::Nightly, _) => nightly(root, install),
        (Choice::Debian, _) => debian(root, install),
        (Choice::Auto, Some(Kind::Nightly)) if must_be_stamped => nightly(root, install),
        (Choice::Auto, Some(Kind::Debian)) if must_be_stamped => debian(root, install),
        (Choice::Auto, Some(Kind::Debian)) if Kind::Debian.is_present() => debian(root, install),
        (Choice::Auto, _) => nightly(root, install).or_else(|error| {
            eprintln!("cannot use nightly: {error:#}; using Debian's Rust instead");
            debian(root, install)
        }),
    }
}

fn nightly(root: &Path, install: Install) -> Result<Toolchain> {
    let kind = Kind::Nightly;
    if !kind.is_present() {
        complete_nightly(install)?;
    }
    let sysroot = output(kind.command("rustc").args(["--print", "sysroot"]))?;
    let (rustc, llvm) = rustc_version(kind)?;
    let linker = match linker::on_path() {
        Some(linker) => linker,
        None => linker::own(root, llvm)?,
    };
    Ok(Toolchain {
        kind,
        linker,
        core_sources: Some(Path::new(sysroot.trim()).join(RUST_SRC)),
        rustc,
    })
}

/// Adds what the nightly lacks. Never updates an existing nightly, because other
/// projects of the user may need it as it is.
fn complete_nightly(install: Install) -> Result<()> {
    ensure!(
        env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0"),
        "there is no nightly with rust-src, and RUSTUP_AUTO_INSTALL=0 forbids installing one"
    );
    let is_there = output(Kind::Nightly.command("rustc").arg("--version")).is_ok();
    let arguments = if is_there {
        "component add rust-src --toolchain=nightly"
    } else {
        "toolchain install nightly --no-self-update --profile=minimal --component=rust-src"
    };
    ensure!(
        install == Install::Yes,
        "there is no nightly with rust-src; pass --install, or run\n  rustup {arguments}\n"
    );
    eprintln!("running rustup {arguments}");
    run(Command::new("rustup").args(arguments.split(' ')))
        .context("rustup cannot provide a nightly with rust-src")
}

fn debian(root: &Path, install: Install) -> Result<Toolchain> {
    let kind = Kind::Debian;
    if !kind.is_present() {
        apt_get(&DEBIAN_PACKAGES, install)?;
        ensure!(
            kind.is_present(),
            "/usr/bin/rustc still has no core library for {TARGET} after installing {}",
            DEBIAN_PACKAGES.join(" ")
        );
    }
    let (rustc, llvm) = rustc_version(kind)?;
    refuse_core_sources(&rustc)?;
    if !linker::own_is_built(root, llvm) && !linker::llvm_folder(llvm).join("include").exists() {
        apt_get(&[&format!("llvm-{llvm}-dev")], install)?;
    }
    Ok(Toolchain {
        kind,
        linker: linker::own(root, llvm)?,
        core_sources: None,
        rustc,
    })
}

/// If LLVM finds the sources of the core library, it puts their lines into an object's
/// BTF, under a path that rustc cannot remap.
fn refuse_core_sources(rustc: &str) -> Result<()> {
    let release = rustc.split(' ').nth(1).unwrap_or_default();
    let sources = PathBuf::from(format!("/usr/src/rustc-{release}"));
    ensure!(
        !sources.exists(),
        "{} exists (package rust-web-src): it would make the objects differ from those \
         built without it; remove it, or choose `--toolchain nightly`",
        sources.display()
    );
    Ok(())
}

/// The first line of `rustc -vV` with the version of LLVM, and LLVM's major version.
fn rustc_version(kind: Kind) -> Result<(String, u32)> {
    let verbose = output(kind.command("rustc").arg("-vV"))?;
    let rustc = verbose.lines().next().unwrap_or_default();
    let llvm = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .context("`rustc -vV` does not print its LLVM version")?;
    let major = llvm.split('.').next().unwrap_or_default();
    let major = major
        .parse()
        .with_context(|| format!("`rustc -vV` prints an unexpected LLVM version: {llvm}"))?;
    Ok((format!("{rustc}, LLVM {llvm}"), major))
}

fn apt_get(packages: &[&str], install: Install) -> Result<()> {
    packages::provide(packages, install).with_context(|| {
        format!(
            "cannot install {}: install them by hand, or a rustup nightly with rust-src and a \
             bpf-linker on PATH",
            packages.join(" ")
        )
    })
}

/// The clippy of the toolchain, up to its own arguments.
pub(super) fn clippy(kind: Kind, install: Install) -> Result<Command> {
    match kind {
        Kind::Nightly => {
            let mut command = kind.command("cargo");
            command.arg("clippy");
            Ok(command)
        }
        Kind::Debian => {
            if !Path::new("/usr/bin/cargo-clippy").exists() {
                apt_get(&["rust-web-clippy"], install)?;
            }
            // Not through cargo, which would find rustup's clippy in CARGO_HOME first.
            let mut command = kind.command("cargo-clippy");
            command.arg("clippy");
            Ok(command)
        }
    }
}
