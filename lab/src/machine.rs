//! The machines that cases run on: guests with a kernel line, and the machine itself.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

/// The processor architecture of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// That of the machine, since the guests' own programs are built on it.
    X86_64,
    /// The other one that conn-cli has eBPF objects for; its programs are cross-built.
    Aarch64,
}

impl Architecture {
    /// Its name in Debian.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// What is added to the name of a kernel, unless it is that of the machine.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::X86_64 => "",
            Self::Aarch64 => "+aarch64",
        }
    }
}

/// A kernel line that guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Line {
    /// Debian 11's.
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12's.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's.
    #[value(name = "6.12")]
    V6_12,
    /// The newest in Debian: the kernel of sid.
    #[value(name = "newest")]
    Newest,
    /// Debian 13's, on aarch64.
    #[value(name = "6.12+aarch64")]
    V6_12Aarch64,
}

impl Line {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::V5_10,
        Self::V6_1,
        Self::V6_12,
        Self::Newest,
        Self::V6_12Aarch64,
    ];

    /// The architecture that it is for.
    pub fn architecture(self) -> Architecture {
        match self {
            Self::V5_10 | Self::V6_1 | Self::V6_12 | Self::Newest => Architecture::X86_64,
            Self::V6_12Aarch64 => Architecture::Aarch64,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Newest => "newest",
            Self::V6_12Aarch64 => "6.12+aarch64",
        })
    }
}

/// What a guest runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processors {
    /// One.
    One,
    /// Two.
    Two,
    /// One, whose clock counts executed instructions, a nanosecond each, and skips the time in
    /// which there is nothing to execute.
    CountedOne,
}

/// Exists if the kernel has kprobes.
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Where a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A guest with a kernel of this line.
    Guest(Line),
    /// A guest whose kernel preempts its own code. Linux 7 always does, so its [`Machine::Guest`]
    /// is one, too.
    Preemptible(Line, Processors),
    /// A guest whose kernel is locked down: [`Machine::LOCKED_DOWN`].
    LockedDown,
    /// This machine, without a guest.
    Native {
        /// Whether its kernel has kprobes.
        has_kprobes: bool,
    },
}

impl Machine {
    /// The kernel that also runs locked down.
    pub const LOCKED_DOWN: Line = Line::V6_1;

    /// The guests with a kernel of this line.
    pub fn guests(line: Line) -> Vec<Self> {
        let mut machines = vec![Self::Guest(line)];
        if line == Self::LOCKED_DOWN {
            machines.push(Self::LockedDown);
        }
        // Debian's kernels for aarch64 cannot be told to preempt themselves.
        if !matches!(line, Line::V5_10 | Line::V6_12Aarch64) {
            machines.push(Self::Preemptible(line, Processors::One));
        }
        // The newest kernel is preemptible by default.
        if matches!(line, Line::V6_1 | Line::V6_12) {
            machines.push(Self::Preemptible(line, Processors::Two));
        }
        machines
    }

    /// This machine.
    pub fn native() -> Self {
        let has_kprobes = Path::new(KPROBE_PMU).exists();
        Self::Native { has_kprobes }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let native = [true, false].map(|has_kprobes| Self::Native { has_kprobes });
        Line::ALL.into_iter().flat_map(Self::guests).chain(native)
    }

    /// The kernel line of a guest.
    pub fn line(self) -> Option<Line> {
        match self {
            Self::Guest(line) | Self::Preemptible(line, _) => Some(line),
            Self::LockedDown => Some(Self::LOCKED_DOWN),
            Self::Native { .. } => None,
        }
    }

    /// What is added to the name of a guest's kernel.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Guest(_) => "",
            Self::Preemptible(_, Processors::Two) => "+preemptible",
            Self::Preemptible(..) => "+preemptible+1cpu",
            Self::LockedDown => "+lockdown",
            Self::Native { has_kprobes: true } => "+kprobes",
            Self::Native { has_kprobes: false } => "",
        }
    }

    /// What is added to the kernel's command line.
    pub fn arguments(self) -> &'static str {
        match self {
            Self::LockedDown => "lockdown=confidentiality",
            // It is always preemptible, by default with lazy preemption.
            Self::Preemptible(Line::Newest, _) => "",
            Self::Preemptible(..) => "preempt=full",
            Self::Guest(_) | Self::Native { .. } => "",
        }
    }

    /// The processors of a guest.
    pub fn processors(self) -> Processors {
        match self {
            Self::Preemptible(_, processors) => processors,
            Self::Guest(_) | Self::LockedDown | Self::Native { .. } => Processors::Two,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(line) | Self::Preemptible(line, _) => write!(f, "{line}")?,
            Self::LockedDown => write!(f, "{}", Self::LOCKED_DOWN)?,
            Self::Native { .. } => f.write_str("native")?,
        }
        f.write_str(self.suffix())
    }
}

impl FromStr for Machine {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::all()
            .find(|machine| machine.to_string() == text)
            .with_context(|| format!("there is no machine {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        for machine in Machine::all() {
            assert_eq!(machine.to_string().parse::<Machine>().unwrap(), machine);
        }
    }
}
