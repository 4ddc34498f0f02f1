//! What conn-cli's connections to itself have shown.

use std::fmt;

use jiff::Timestamp;

use super::{hook::Hook, stage::Stage};

/// What one self-test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfTestResult {
    /// The hooks saw the connection.
    Passed,
    /// The hook of this stage did not.
    Silent(Stage, SilentCause),
    /// No connection was made, or the hooks cannot see it, for this reason.
    NotTested(String),
}

/// Why a hook is silent: what is known to switch hooks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilentCause {
    /// `kernel.ftrace_enabled` is 0.
    FtraceOff,
    /// Kprobes are disarmed.
    KprobesOff,
    /// It was not found.
    Unknown,
}

impl fmt::Display for SilentCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FtraceOff => "kernel.ftrace_enabled is 0",
            Self::KprobesOff => "/sys/kernel/debug/kprobes/enabled is 0",
            Self::Unknown => "the cause is not known",
        })
    }
}

/// What the self-tests of a run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfTestOutcome {
    /// Each hook saw every connection.
    Passed,
    /// A hook has gone silent.
    Silent {
        /// Which.
        hook: Hook,
        /// Why.
        cause: SilentCause,
        /// When it last saw one.
        since: Timestamp,
    },
    /// The hooks are not tested, for this reason.
    NotTested(String),
}

impl SelfTestOutcome {
    /// Since when and why a hook is silent, as a clause.
    #[must_use]
    pub(crate) fn silent(&self) -> Option<String> {
        match self {
            Self::Silent { hook, cause, since } => Some(format!(
                "{hook} has seen nothing, not even conn-cli's own connections, since {since:.0} or \
                 soon after: {cause}"
            )),
            Self::Passed | Self::NotTested(_) => None,
        }
    }
}
