//! Builds conn-ebpf for each architecture.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use lab::command::run;
use lab::packages::Install;
use lab::strip::strip_debug;

use super::calls;
use super::toolchain::{self, Kind, TARGET, Toolchain};

/// The binaries of conn-ebpf.
const PROGRAMS: [&str; 2] = ["btf", "kprobe"];

/// The architectures that conn-cli runs on. Each needs its own objects, because a
/// kprobe reads registers of its architecture.
const ARCHITECTURES: [&str; 2] = ["aarch64", "x86_64"];

/// The flags of rustc, besides those that keep this machine's paths out of the
/// objects. BTF is made from debug information, which every crate must have.
pub(super) const RUSTFLAGS: [&str; 2] = ["-Cdebuginfo=2", "-Clink-arg=--btf"];

const PACKAGE: [&str; 7] = [
    "--package=conn-ebpf",
    "--bins",
    "--release",
    "--locked",
    "--target",
    TARGET,
    "--quiet",
];

/// An object ready to be embedded.
pub(super) struct Object {
    /// Its path relative to the folder of objects, such as `x86_64/kprobe.o`.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Builds every object.
pub(super) fn objects(root: &Path, toolchain: &Toolchain) -> Result<Vec<Object>> {
    let paths = MachinePaths::find(root, toolchain)?;
    let mut objects = Vec::new();
    for architecture in ARCHITECTURES {
        let mut cargo = toolchain.kind.command("cargo");
        cargo.arg("build");
        configure(&mut cargo, root, toolchain, &paths, architecture)?;
        run(&mut cargo).with_context(|| format!("cannot build conn-ebpf for {architecture}"))?;
        for program in PROGRAMS {
            let name = format!("{architecture}/{program}.o");
            let linked = target_folder(root, toolchain)
                .join(TARGET)
                .join("release")
                .join(program);
            let bytes =
                fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
            let bytes = strip_debug(&bytes).with_context(|| format!("cannot strip {name}"))?;
            paths.refuse_in(&name, &bytes)?;
            calls::refuse(&name, &bytes)?;
            objects.push(Object { name, bytes });
        }
    }
    Ok(objects)
}

/// Runs clippy on conn-ebpf for each architecture.
pub(super) fn clippy(root: &Path, toolchain: &Toolchain, install: Install) -> Result<()> {
    let paths = MachinePaths::find(root, toolchain)?;
    for architecture in ARCHITECTURES {
        let mut clippy = toolchain::clippy(toolchain.kind, install)?;
        configure(&mut clippy, root, toolchain, &paths, architecture)?;
        run(clippy.args(["--", "--deny=warnings"]))
            .with_context(|| format!("clippy failed on conn-ebpf for {architecture}"))?;
    }
    Ok(())
}

fn configure(
    cargo: &mut Command,
    root: &Path,
    toolchain: &Toolchain,
    paths: &MachinePaths,
    architecture: &str,
) -> Result<()> {
    if toolchain.kind == Kind::Nightly {
        cargo.arg("-Zbuild-std=core");
    }
    let mut flags = vec![format!("--cfg=bpf_target_arch=\"{architecture}\"")];
    flags.extend(RUSTFLAGS.map(str::to_owned));
    flags.extend(paths.remapped()?);
    cargo
        .args(PACKAGE)
        .arg("--target-dir")
        .arg(target_folder(root, toolchain))
        .current_dir(root)
        .env(
            "CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER",
            &toolchain.linker.path,
        )
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    Ok(())
}

/// One folder for each linker, because cargo does not link again if only the linker changes.
fn target_folder(root: &Path, toolchain: &Toolchain) -> PathBuf {
    let linker = toolchain.linker.version.replace(' ', "-");
    let folder = format!("target/ebpf/{}-{linker}", toolchain.kind.name());
    root.join(folder)
}

/// The folders that differ between machines. No object may contain their paths.
struct MachinePaths {
    /// Each with its replacement in an object.
    sources: Vec<(PathBuf, &'static str)>,
    others: Vec<PathBuf>,
}

impl MachinePaths {
    fn find(root: &Path, toolchain: &Toolchain) -> Result<Self> {
        let home = env::home_dir().context("cannot find the home folder: HOME is not set")?;
        let cargo_home =
            env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);

        // A relative name lets LLVM find the sources from the workspace root, where
        // the linker runs, and put their lines into the BTF for the verifier's log.
        // The other folders exist on no machine, so their lines stay out.
        let mut sources = vec![(root.to_owned(), ".")];
        for registry in registries(&cargo_home, toolchain)? {
            sources.push((registry, "/crates.io"));
        }
        if let Some(core) = &toolchain.core_sources {
            sources.push((core.clone(), "/rust"));
        }
        Ok(Self {
            sources,
            others: vec![cargo_home, home],
        })
    }

    fn remapped(&self) -> Result<Vec<String>> {
        let flag = |(from, to): &(PathBuf, &str)| {
            let from = from
                .to_str()
                .with_context(|| format!("cargo needs UTF-8 paths: {}", from.display()))?;
            Ok(format!("--remap-path-prefix={from}={to}"))
        };
        self.sources.iter().map(flag).collect()
    }

    fn refuse_in(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let sources = self.sources.iter().map(|(path, _)| path);
        for path in sources.chain(&self.others) {
            let text = path.as_os_str().as_encoded_bytes();
            // A home folder of `/` does not identify the machine.
            let found = text.len() > 1 && bytes.windows(text.len()).any(|window| window == text);
            ensure!(
                !found,
                "{name} contains {}: its bytes would differ on another machine; remap that path \
                 in xtask/src/ebpf/build.rs",
                path.display()
            );
        }
        Ok(())
    }
}

/// The folders with the crate sources, one for each registry.
fn registries(cargo_home: &Path, toolchain: &Toolchain) -> Result<Vec<PathBuf>> {
    // They do not exist before the first download.
    run(toolchain
        .kind
        .command("cargo")
        .args(["fetch", "--locked", "--quiet", "--target", TARGET])
        .current_dir(lab::workspace::root()))
    .context("cannot download the dependencies")?;
    let folder = cargo_home.join("registry/src");
    let entries = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(entries.into_iter().map(|entry| entry.path()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> MachinePaths {
        MachinePaths {
            sources: vec![(PathBuf::from("/home/me/conn-cli"), ".")],
            others: vec![PathBuf::from("/home/me"), PathBuf::from("/")],
        }
    }

    #[test]
    fn object_with_a_path_of_this_machine_is_refused() {
        let paths = paths();
        assert!(paths.refuse_in("x", b"\0./conn-ebpf/src/lib.rs\0").is_ok());
        let error = paths
            .refuse_in("x", b"\0/home/me/other/lib.rs\0")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("x contains /home/me: "), "{error}");
    }

    #[test]
    fn source_folders_are_remapped() {
        let flags = paths().remapped().unwrap();
        assert_eq!(flags, ["--remap-path-prefix=/home/me/conn-cli=."]);
    }
}
