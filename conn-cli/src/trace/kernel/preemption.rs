//! Whether the running kernel preempts its own code, which decides whether it may skip kprobe
//! programs.
//!
//! A task that reads a BPF map through a system call increments `bpf_prog_active` on its CPU. Until
//! the counter is decremented, the kernel skips kprobe programs there
//! (`include/linux/bpf.h`, `bpf_disable_instrumentation`; `kernel/trace/bpf_trace.c`,
//! `trace_call_bpf`). If the task is preempted in between, other tasks run with the counter raised.

use std::{
    fs::{self, File},
    io::{BufReader, Read as _},
    os::unix::fs::FileExt as _,
};

use flate2::bufread::MultiGzDecoder;

use crate::model::preemption::Preemption;

/// The file in which root can read and switch the mode if `CONFIG_PREEMPT_DYNAMIC` is set.
const DEBUGFS: &str = "/sys/kernel/debug/sched/preempt";

/// The preemption mode, which root can switch during a run.
#[derive(Debug)]
pub struct PreemptionMode {
    /// Opened before privileges are dropped.
    debugfs: Option<File>,
    at_start: Preemption,
}

impl PreemptionMode {
    /// Reads the current mode.
    #[must_use]
    pub fn read() -> Self {
        let debugfs = File::open(DEBUGFS).ok();
        let at_start = match &debugfs {
            Some(file) => from_debugfs(file),
            None => from_build(&Build::read()),
        };
        Self { debugfs, at_start }
    }

    /// The mode when it was first read.
    #[must_use]
    pub fn at_start(&self) -> Preemption {
        self.at_start
    }

    /// The current mode, or without debugfs the mode at the start.
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
    active_mode(&String::from_utf8_lossy(&text[..length]))
}

/// Parses the mode in parentheses: `none voluntary (full)`.
fn active_mode(modes: &str) -> Preemption {
    let after = modes.split_once('(').map_or("", |(_, after)| after);
    let name = after.split_once(')').map_or("", |(name, _)| name);
    Preemption::from_name(name)
}

/// How the kernel was built and started, from which the mode is derived without debugfs.
#[derive(Debug, Default)]
struct Build {
    /// As `uname -v` prints it: `#1 SMP PREEMPT_DYNAMIC Debian ...` (`init/Makefile`).
    version: String,
    command_line: String,
    /// The kernel configuration, if it was found.
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

    /// Whether an option is set. None if the configuration is unknown.
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
    let paths = [
        format!("/boot/config-{release}"),
        format!("/lib/modules/{release}/config"),
    ];
    let file = paths.iter().find_map(|path| File::open(path).ok())?;
    file.take(MAX_CONFIG_LEN).read_to_string(&mut config).ok()?;
    Some(config)
}

fn from_build(build: &Build) -> Preemption {
    let words: Vec<&str> = build.version.split_ascii_whitespace().collect();
    if words.contains(&"PREEMPT_RT") {
        Preemption::Realtime
    } else if words.contains(&"PREEMPT_DYNAMIC") {
        dynamic_mode(build)
    } else if words.contains(&"PREEMPT") {
        configured_mode(build)
            .filter(|mode| mode.is_preemptible())
            .unwrap_or(Preemption::Full)
    } else if build.has("CONFIG_PREEMPTION") == Some(false) {
        configured_mode(build).unwrap_or(Preemption::Unknown)
    } else {
        Preemption::Unknown
    }
}

/// The mode of a kernel with several modes: the last one on its command line, or the default of its
/// configuration.
fn dynamic_mode(build: &Build) -> Preemption {
    let default = configured_mode(build);
    let Some(requested) = requested_mode(&build.command_line) else {
        return default.unwrap_or(Preemption::Unknown);
    };
    // Linux 7 has lazy preemption and ignores "none" and "voluntary", which it no longer has. A
    // kernel without lazy preemption accepts them.
    let is_accepted = default.is_some() && build.has("CONFIG_ARCH_HAS_PREEMPT_LAZY") == Some(false);
    if requested.is_preemptible() || is_accepted {
        requested
    } else {
        Preemption::Unknown
    }
}

/// The last mode on the command line, before the arguments for init (`kernel/params.c`,
/// `parse_args`; words may be quoted).
fn requested_mode(command_line: &str) -> Option<Preemption> {
    let words = command_line.split_ascii_whitespace();
    words
        .map(|word| word.replace('"', ""))
        .take_while(|word| word != "--")
        .filter_map(|word| word.strip_prefix("preempt=").map(Preemption::from_name))
        .last()
}

/// The default mode in the configuration, if that is known (`kernel/Kconfig.preempt`).
fn configured_mode(build: &Build) -> Option<Preemption> {
    let modes = [
        ("CONFIG_PREEMPT_RT", Preemption::Realtime),
        ("CONFIG_PREEMPT", Preemption::Full),
        ("CONFIG_PREEMPT_LAZY", Preemption::Lazy),
        ("CONFIG_PREEMPT_VOLUNTARY", Preemption::Voluntary),
        ("CONFIG_PREEMPT_NONE", Preemption::None),
    ];
    let is_set = |(option, _): &(&str, _)| build.has(option) == Some(true);
    modes.into_iter().find(is_set).map(|(_, mode)| mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debugfs_mode_in_parentheses_is_active() {
        assert_eq!(
            active_mode("none (voluntary) full \n"),
            Preemption::Voluntary
        );
        assert_eq!(active_mode("full (lazy)\n"), Preemption::Lazy);
        // Malformed text, or a mode of a later kernel.
        for text in [
            "",
            "none voluntary full",
            "(",
            "none (laziest) full",
            ")full(",
        ] {
            assert_eq!(active_mode(text), Preemption::Unknown, "{text}");
        }
    }

    /// The mode that is determined without debugfs.
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
    fn the_version_string_shows_the_built_in_mode() {
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
    fn the_command_line_selects_a_dynamic_mode() {
        // Debian's configuration of 6.12.
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
    fn a_requested_mode_that_may_be_ignored_gives_unknown() {
        // Debian's configuration of 7.2, which starts with lazy preemption if asked for voluntary.
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
    fn an_unknown_mode_counts_as_preemptible() {
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
