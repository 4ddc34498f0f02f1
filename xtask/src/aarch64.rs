//! Builds conn-cli and its cases for aarch64, on x86_64.
//!
//! rustup's toolchains come with one standard library, and stable Rust cannot build another. Debian
//! has a current Rust with those of all its architectures, and a linker: they are unpacked into
//! `target`, not installed, since apt would have to be told of the other architecture.

#[path = "../../conn-cli/build/compress.rs"]
mod compress;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use lab::machine::Architecture;
use lab::vm::apt::{self, Apt};
use lab::workspace;
use object::Endianness;
use object::elf::{EM_AARCH64, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The Debian release of the packages: its security updates have the Rust that builds its browsers.
const RELEASE: &str = "bookworm";
/// What runs on this machine: the compiler, a linker, and the C library to link.
const TOOLS: [&str; 3] = [
    "rustc-web",
    "gcc-12-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
];
/// It compiles C, too.
const LINKER: &str = "aarch64-linux-gnu-gcc-12";
const ARCHIVER: &str = "aarch64-linux-gnu-ar";
/// The standard library for aarch64. What its package depends on is for programs that are not static.
const STANDARD_LIBRARY: &str = "libstd-rust-web-dev";

/// Where the compiler is unpacked, and where it builds, relative to the workspace root.
const TOOLCHAIN: &str = "target/cross";
const BUILT: &str = "target/aarch64";

/// A compiler for aarch64.
pub(crate) struct Toolchain {
    root: PathBuf,
}

impl Toolchain {
    /// Fetches it, unless that is done.
    pub(crate) fn obtain() -> Result<Self> {
        let root = workspace::root().join(TOOLCHAIN);
        let packages = [TOOLS.as_slice(), &[STANDARD_LIBRARY]].concat();
        apt::unpack_once(&packages, &root, || {
            Apt::updated(RELEASE, Architecture::X86_64)?.unpack_with_dependencies(&TOOLS, &root)?;
            let apt = Apt::updated(RELEASE, Architecture::Aarch64)?;
            let library = apt.show(STANDARD_LIBRARY)?.into_iter().next();
            apt.unpack(&library.context("no standard library")?, &root)
        })
        .context("cannot fetch a compiler for aarch64")?;
        Ok(Self { root })
    }

    /// Builds conn-cli as it is released.
    pub(crate) fn build_conn_cli(&self) -> Result<PathBuf> {
        self.build("conn-cli", &workspace::BUILD_CONN_CLI)
    }

    /// Builds the test program with the cases.
    pub(crate) fn build_live(&self) -> Result<PathBuf> {
        self.build("live", &crate::live::BUILD)
    }

    fn build(&self, name: &str, arguments: &[&str]) -> Result<PathBuf> {
        let usr = self.root.join("usr");
        let program = |name: &str| usr.join("bin").join(name);
        let mut cargo = workspace::cargo();
        cargo
            .env("RUSTC", program("rustc"))
            // The compiler's own libraries, and the linker's.
            .env("LD_LIBRARY_PATH", usr.join("lib/x86_64-linux-gnu"))
            .env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
                program(LINKER),
            )
            // A dependency of the cases has a little C.
            .env("CC_aarch64_unknown_linux_gnu", program(LINKER))
            .env("AR_aarch64_unknown_linux_gnu", program(ARCHIVER))
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        let arguments = [arguments, &["--target", TARGET, "--target-dir", BUILT]].concat();
        workspace::build_with(cargo, name, &arguments)
    }
}

/// Fails unless this is a static program for aarch64, with that architecture's eBPF objects.
pub(crate) fn check(conn_cli: &Path) -> Result<()> {
    let content = fs::read(conn_cli)?;
    let header = FileHeader64::<Endianness>::parse(content.as_slice())?;
    let endian = header.endian()?;
    ensure!(
        header.e_machine(endian) == EM_AARCH64,
        "it is not for aarch64"
    );
    let segments = header.program_headers(endian, content.as_slice())?;
    ensure!(
        segments
            .iter()
            .all(|segment| segment.p_type(endian) != PT_INTERP),
        "it is not static"
    );
    let objects = workspace::root().join("conn-cli/ebpf");
    for name in ["kprobe.o", "btf.o"] {
        let has = |architecture: &str| -> Result<bool> {
            let object = compress::compress(&fs::read(objects.join(architecture).join(name))?);
            Ok(content.windows(object.len()).any(|bytes| bytes == object))
        };
        ensure!(has("aarch64")?, "it lacks its {name}");
        ensure!(!has("x86_64")?, "it has the {name} of x86_64");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_this_machine_are_refused() {
        let error = check(&std::env::current_exe().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "it is not for aarch64");
    }
}
