//! The hooks that conn-cli can be told to use.

use std::fmt;

/// The hook that conn-cli attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The one that conn-cli chooses.
    Auto,
    /// The pair of kprobes.
    Kretprobe,
    /// The LSM program.
    Lsm,
    /// The fentry program.
    Fentry,
    /// The program of the root cgroup, which sees established connections.
    SockOps,
    /// The raw tracepoint, which sees completed handshakes.
    Tracepoint,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Kretprobe,
        Self::Lsm,
        Self::Fentry,
        Self::SockOps,
        Self::Tracepoint,
    ];

    /// Whether it sees accepts, and not only completed handshakes.
    pub fn sees_accepts(self) -> bool {
        !matches!(self, Self::SockOps | Self::Tracepoint)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kretprobe => "kretprobe",
            Self::Lsm => "lsm",
            Self::Fentry => "fentry",
            Self::SockOps => "sockops",
            Self::Tracepoint => "tracepoint",
        })
    }
}
