//! Whether the running kernel preempts its own code, which decides whether kprobe programs can be
//! skipped.
//!
//! A task that reads a BPF map through a system call raises `bpf_prog_active` on its CPU, and the
//! kernel skips kprobe and tracepoint programs there until it is lowered again
//! (`include/linux/bpf.h`, `bpf_disable_instrumentation`; `kernel/trace/bpf_trace.c`,
//! `trace_call_bpf`). If that task is preempted meanwhile, other tasks run with the counter raised.

use std::{
    fmt,
    fs::{self, File},
    io::{BufReader, Read as _},
    os::unix::fs::FileExt as _,
};

use flate2::bufread::MultiGzDecoder;

/// How the kernel preempts its own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// Never.
    None,
    /// Only where the code offers it.
    Voluntary,
    /// Anywhere.
    Full,
    /// Anywhere, but mostly at the next tick.
    Lazy,
    /// Anywhere, under most locks too.
    Realtime,
    /// It cannot be told.
    Unknown,
}

impl Preemption {
    /// Whether a task can be preempted while it reads a map; true where that cannot be told.
    #[must_use]
    pub fn is_preemptible(self) -> bool {
        !matches!(self, Self::None | Self::Voluntary)
    }

    /// GroupBy the name of a mode, as the command line and debugfs have it (`kernel/sched/core.c`,
    /// `sched_dynamic_mode`).
    fn named(name: &str) -> Self {
        match name {
            "none" => Self::None,
            "voluntary" => Self::Voluntary,
            "full" => Self::Full,
            "lazy" => Self::Lazy,
            _ => Self::Unknown,
        }
    }
}

/// As the kernel names it.
impl fmt::Display for Preemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Voluntary => "voluntary",
            Self::Full => "full",
            Self::Lazy => "lazy",
            Self::Realtime => "real-time",
            Self::Unknown => "unknown",
        })
    }
}

/// Where root reads the mode, and can switch it, on a kernel with `CONFIG_PREEMPT_DYNAMIC`.
const DEBUGFS: &str = "/sys/kernel/debug/sched/preempt";

/// The mode, which can be switched during a run.
#[derive(Debug)]
pub struct PreemptionMode {
    /// Kept open, since privileges are dropped.
    debugfs: Option<File>,
    at_start: Preemption,
}

impl PreemptionMode {
    /// Finds out what the mode is.
    #[must_use]
    pub fn read() -> Self {
        let debugfs = File::open(DEBUGFS).ok();
        let at_start = match &debugfs {
            Some(file) => from_debugfs(file),
            None => from_build(&Build::read()),
        };
        Self { debugfs, at_start }
    }

    /// What it was when it was read first.
    #[must_use]
    pub fn at_start(&self) -> Preemption {
        self.at_start
    }

    /// What it is now; without debugfs, what it was.
    #[must_use]
    pub fn now(&self) -> Preemption {
        match &self.debugfs {
            Some(file) => from_debugfs(file),
            None => self.at_start,
        }
    }
}

fn from_debugfs(file: &File) -> Preemption {
    let mut text = [0; 128];
    let length = file.read_at(&mut text, 0).unwrap_or(0);
    active(&String::from_utf8_lossy(&text[..length]))
}

/// The mode in parentheses: `none voluntary (full)`.
fn active(modes: &str) -> Preemption {
    let after = modes.split_once('(').map_or("", |(_, after)| after);
    let name = after.split_once(')').map_or("", |(name, _)| name);
    Preemption::named(name)
}

/// What tells the mode where debugfs does not: how the kernel was built and started.
#[derive(Debug, Default)]
struct Build {
    /// As `uname -v` prints it: `#1 SMP PREEMPT_DYNAMIC Debian ...` (`init/Makefile`).
    version: String,
    command_line: String,
    /// Its configuration, if that is to be found.
    config: Option<String>,
}

impl Build {
    fn read() -> Self {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        Self {
            version: uname.version().to_string_lossy().into_owned(),
            command_line: fs::read_to_string("/proc/cmdline").unwrap_or_default(),
            config: read_config(&release),
        }
    }

    /// Whether an option is set; None if the configuration is not known.
    fn has(&self, option: &str) -> Option<bool> {
        let config = self.config.as_ref()?;
        let is_set = |line: &str| line.strip_prefix(option) == Some("=y");
        Some(config.lines().any(is_set))
    }
}

/// Larger than any configuration.
const MAX_CONFIG_LEN: u64 = 4 << 20;

fn read_config(release: &str) -> Option<String> {
    let mut config = String::new();
    if let Ok(file) = File::open("/proc/config.gz") {
        let mut text = MultiGzDecoder::new(BufReader::new(file)).take(MAX_CONFIG_LEN);
        return text.read_to_string(&mut config).ok().map(|_| config);
    }
    let places = [
        format!("/boot/config-{release}"),
        format!("/lib/modules/{release}/config"),
    ];
    let file = places.iter().find_map(|place| File::open(place).ok())?;
    file.take(MAX_CONFIG_LEN).read_to_string(&mut config).ok()?;
    Some(config)
}

fn from_build(build: &Build) -> Preemption {
    let words: Vec<&str> = build.version.split_ascii_whitespace().collect();
    if words.contains(&"PREEMPT_RT") {
        Preemption::Realtime
    } else if words.contains(&"PREEMPT_DYNAMIC") {
        dynamic(build)
    } else if words.contains(&"PREEMPT") {
        configured(build)
            .filter(|mode| mode.is_preemptible())
            .unwrap_or(Preemption::Full)
    } else if build.has("CONFIG_PREEMPTION") == Some(false) {
        configured(build).unwrap_or(Preemption::Unknown)
    } else {
        Preemption::Unknown
    }
}

/// The mode of a kernel that has several: the last that its command line names, or the one that it
/// was built with.
fn dynamic(build: &Build) -> Preemption {
    let built_in = configured(build);
    let Some(named) = named(&build.command_line) else {
        return built_in.unwrap_or(Preemption::Unknown);
    };
    // Linux 7 has lazy preemption and no longer knows "none" and "voluntary": it ignores them. A
    // kernel without lazy preemption does as it is told.
    let is_obeyed = built_in.is_some() && build.has("CONFIG_ARCH_HAS_PREEMPT_LAZY") == Some(false);
    if named.is_preemptible() || is_obeyed {
        named
    } else {
        Preemption::Unknown
    }
}

/// The mode that the command line names last, before what is for init (`kernel/params.c`,
/// `parse_args`; words may be quoted).
fn named(command_line: &str) -> Option<Preemption> {
    let words = command_line.split_ascii_whitespace();
    words
        .map(|word| word.replace('"', ""))
        .take_while(|word| word != "--")
        .filter_map(|word| word.strip_prefix("preempt=").map(Preemption::named))
        .last()
}

/// The mode that it was built with, if the configuration is known (`kernel/Kconfig.preempt`).
fn configured(build: &Build) -> Option<Preemption> {
    let modes = [
        ("CONFIG_PREEMPT_RT", Preemption::Realtime),
        ("CONFIG_PREEMPT", Preemption::Full),
        ("CONFIG_PREEMPT_LAZY", Preemption::Lazy),
        ("CONFIG_PREEMPT_VOLUNTARY", Preemption::Voluntary),
        ("CONFIG_PREEMPT_NONE", Preemption::None),
    ];
    let set = |(option, _): &(&str, _)| build.has(option) == Some(true);
    modes.into_iter().find(set).map(|(_, mode)| mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugfs_has_the_active_mode_in_parentheses() {
        assert_eq!(active("none (voluntary) full \n"), Preemption::Voluntary);
        assert_eq!(active("full (lazy)\n"), Preemption::Lazy);
        // A mode that comes with a later kernel is not guessed.
        for text in [
            "",
            "none voluntary full",
            "(",
            "none (laziest) full",
            ")full(",
        ] {
            assert_eq!(active(text), Preemption::Unknown, "{text}");
        }
    }

    /// What a kernel is taken for without debugfs.
    fn mode(version: &str, command_line: &str, config: Option<&[&str]>) -> Preemption {
        from_build(&Build {
            version: format!("#1 SMP {version} Debian 1.2.3-1 (2026-11-01)"),
            command_line: format!("BOOT_IMAGE=/vmlinuz ro {command_line}"),
            config: config.map(|options| {
                let lines = options.iter().map(|option| format!("CONFIG_{option}\n"));
                lines.collect()
            }),
        })
    }

    #[test]
    fn words_of_the_version_tell_what_is_built_in() {
        assert_eq!(
            mode("PREEMPT_RT", "preempt=none", None),
            Preemption::Realtime
        );
        assert_eq!(mode("PREEMPT", "preempt=none", None), Preemption::Full);
        assert_eq!(
            mode("PREEMPT", "", Some(&["PREEMPT_LAZY=y"])),
            Preemption::Lazy
        );
        let voluntary: &[&str] = &["PREEMPT_VOLUNTARY=y"];
        assert_eq!(mode("", "", Some(voluntary)), Preemption::Voluntary);
        assert_eq!(mode("", "", Some(&["PREEMPT_NONE=y"])), Preemption::None);
    }

    #[test]
    fn a_kernel_with_several_modes_follows_its_command_line() {
        // As Debian configures 6.12.
        let config: &[&str] = &[
            "PREEMPT_BUILD=y",
            "PREEMPT_VOLUNTARY=y",
            "PREEMPTION=y",
            "PREEMPT_DYNAMIC=y",
        ];
        let dynamic = |command_line| mode("PREEMPT_DYNAMIC", command_line, Some(config));
        assert_eq!(dynamic(""), Preemption::Voluntary);
        assert_eq!(dynamic("preempt=full"), Preemption::Full);
        assert_eq!(dynamic("preempt=full preempt=none"), Preemption::None);
        assert_eq!(dynamic("preempt=some"), Preemption::Unknown);
        assert_eq!(dynamic("\"preempt=full\""), Preemption::Full);
        assert_eq!(dynamic("preempt=\"full\" quiet"), Preemption::Full);
        assert_eq!(dynamic("preempt=full -- preempt=none"), Preemption::Full);
        assert_eq!(dynamic("rcu.preempt=full"), Preemption::Voluntary);
        assert_eq!(
            mode("PREEMPT_DYNAMIC", "preempt=full", None),
            Preemption::Full
        );
    }

    #[test]
    fn a_mode_that_the_kernel_may_not_have_is_not_believed() {
        // As Debian configures 7.2, which starts with lazy preemption whatever it is told.
        let config: &[&str] = &[
            "ARCH_HAS_PREEMPT_LAZY=y",
            "PREEMPT_LAZY=y",
            "PREEMPTION=y",
            "PREEMPT_DYNAMIC=y",
        ];
        let dynamic = |command_line| mode("PREEMPT_DYNAMIC", command_line, Some(config));
        assert_eq!(dynamic(""), Preemption::Lazy);
        assert_eq!(dynamic("preempt=full"), Preemption::Full);
        assert_eq!(dynamic("preempt=voluntary"), Preemption::Unknown);
        for config in [None, Some(&[][..])] {
            let mode = mode("PREEMPT_DYNAMIC", "preempt=none", config);
            assert_eq!(mode, Preemption::Unknown);
        }
    }

    #[test]
    fn what_cannot_be_told_is_preemptible() {
        for (version, config) in [
            ("", None),
            ("PREEMPT_DYNAMIC", None),
            // The configuration is not this kernel's.
            ("", Some(&["PREEMPT=y", "PREEMPTION=y"][..])),
            ("", Some(&["SMP=y"])),
        ] {
            let mode = mode(version, "", config);
            assert_eq!(mode, Preemption::Unknown, "{version} {config:?}");
            assert!(mode.is_preemptible());
        }
    }
}
