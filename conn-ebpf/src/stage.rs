//! The stages of a connection, and what else is counted of them.

use core::mem::offset_of;

use conn_common::{STAGE_ACCEPTED, STAGE_ESTABLISHED, STAGE_SYN, Stages};

/// Which counter of [`Stages`] a connection adds to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A SYN arrived for the first time.
    Syn,
    /// A SYN was retransmitted.
    Repeated,
    /// A SYN was answered with a reset.
    Refused,
    /// The handshake is complete.
    Established,
    /// The server accepted the connection.
    Accepted,
}

impl Stage {
    /// The `STAGE_` constant; `None` for what is counted besides the connections at a stage.
    #[inline(always)]
    pub(crate) fn number(self) -> Option<u32> {
        match self {
            Self::Syn => Some(STAGE_SYN),
            Self::Established => Some(STAGE_ESTABLISHED),
            Self::Accepted => Some(STAGE_ACCEPTED),
            Self::Repeated | Self::Refused => None,
        }
    }

    /// The offset of the counter in [`Stages`], in bytes.
    #[inline(always)]
    pub(crate) fn offset(self) -> usize {
        match self {
            Self::Syn => offset_of!(Stages, syn),
            Self::Repeated => offset_of!(Stages, repeated),
            Self::Refused => offset_of!(Stages, refused),
            Self::Established => offset_of!(Stages, established),
            Self::Accepted => offset_of!(Stages, accepted),
        }
    }
}
