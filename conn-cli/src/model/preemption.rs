//! How a kernel preempts its own code.

use std::fmt;

/// How the kernel preempts its own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// Never.
    None,
    /// Only at explicit preemption points.
    Voluntary,
    /// Anywhere.
    Full,
    /// Anywhere, but mostly at the next tick.
    Lazy,
    /// Anywhere, even while most locks are held.
    Realtime,
    /// The mode cannot be determined.
    Unknown,
}

impl Preemption {
    /// Whether a task can be preempted while it reads a map. True if the mode is unknown.
    #[must_use]
    pub fn is_preemptible(self) -> bool {
        !matches!(self, Self::None | Self::Voluntary)
    }

    /// The mode with this name on the kernel command line and in debugfs (`kernel/sched/core.c`,
    /// `sched_dynamic_mode`).
    pub fn from_name(name: &str) -> Self {
        match name {
            "none" => Self::None,
            "voluntary" => Self::Voluntary,
            "full" => Self::Full,
            "lazy" => Self::Lazy,
            _ => Self::Unknown,
        }
    }
}

/// The kernel's name for the mode.
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
