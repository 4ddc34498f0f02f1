//! The ways to see connections in the kernel.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use super::connection::Stage;

/// A way to see connections at the last requested stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The kretprobe on `inet_csk_accept` with the kprobe on `security_sock_graft`.
    Kretprobe,
    /// The LSM program on `sock_graft`.
    Lsm,
    /// The fentry program on `security_sock_graft`.
    Fentry,
    /// The tracepoint `sock:inet_sock_set_state`.
    Tracepoint,
    /// The socket filter on packet sockets.
    Filter,
}

impl Backend {
    /// The name that `--probe` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kretprobe => "kretprobe",
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
            Self::Filter => "filter",
        }
    }

    /// The stage that it sees.
    #[must_use]
    pub fn stage(self) -> Stage {
        match self {
            Self::Kretprobe | Self::Lsm | Self::Fentry => Stage::Accepted,
            Self::Tracepoint => Stage::Established,
            Self::Filter => Stage::Syn,
        }
    }

    /// The hook that sees a stage before the last one.
    #[must_use]
    pub fn for_earlier_stage(stage: Stage) -> Self {
        match stage {
            Stage::Syn => Self::Filter,
            Stage::Established | Stage::Accepted => Self::Tracepoint,
        }
    }

    /// The stages that this backend watches when these are requested: without a hook that sees
    /// accepts, it counts completed handshakes instead.
    #[must_use]
    pub fn stages(self, requested: &BTreeSet<Stage>) -> BTreeSet<Stage> {
        let is_earlier = |stage: &Stage| *stage < self.stage();
        let earlier = requested.iter().copied().filter(is_earlier);
        earlier.chain([self.stage()]).collect()
    }
}

/// What the backend hooks.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kretprobe => "kretprobe inet_csk_accept and kprobe security_sock_graft",
            Self::Lsm => "LSM sock_graft",
            Self::Fentry => "fentry security_sock_graft",
            Self::Tracepoint => "tracepoint sock:inet_sock_set_state",
            Self::Filter => "a socket filter",
        })
    }
}
