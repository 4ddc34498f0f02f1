//! Connections as the running kernel sees them: choosing a hook, loading and attaching its
//! eBPF programs, reading their events, and at the end their totals.

mod attach;
mod btf;
mod event;
mod facts;
mod object;
mod offsets;
mod privileges;
mod refusal;
mod ring;
mod select;
mod totals;
mod tracer;

use std::fmt;

use serde::Serialize;

pub use self::{
    event::{WallClock, decode},
    object::Settings,
    privileges::{drop_privileges, require},
    refusal::Refusal,
    select::{Choice, Refused, choose},
    totals::{Doubts, Totals},
    tracer::{Batch, Tracer},
};
use crate::ports::PortSet;

/// One of the ways to see connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The kretprobe on `inet_csk_accept` with the kprobe on `security_sock_graft`.
    Kretprobe,
    /// The fentry program on `security_sock_graft`.
    Fentry,
    /// The tracepoint `sock:inet_sock_set_state`.
    Tracepoint,
}

/// What is hooked.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kretprobe => "kretprobe inet_csk_accept and kprobe security_sock_graft",
            Self::Fentry => "fentry security_sock_graft",
            Self::Tracepoint => "tracepoint sock:inet_sock_set_state",
        })
    }
}

/// The line that says that tracing has begun: with what, what that cannot see, and why
/// nothing better is used.
#[must_use]
pub fn announcement(
    ports: &PortSet,
    backend: Backend,
    passed_over: &[(Backend, Refusal)],
) -> String {
    let mut line = format!("Tracing TCP connections to {ports} with {backend}");
    if backend == Backend::Tracepoint {
        line += ", which counts completed handshakes, not accepts, and knows no process";
    }
    for (better, refusal) in passed_over {
        line += &format!("; not with {better}: {}", refusal.reason());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_names_the_hook_and_what_stood_in_the_way() {
        let ports = "80".parse().unwrap();
        assert_eq!(
            announcement(&ports, Backend::Kretprobe, &[]),
            "Tracing TCP connections to port 80 with kretprobe inet_csk_accept and kprobe \
             security_sock_graft"
        );
        let passed_over = [(Backend::Kretprobe, Refusal::NoKprobes)];
        assert_eq!(
            announcement(&ports, Backend::Tracepoint, &passed_over),
            "Tracing TCP connections to port 80 with tracepoint sock:inet_sock_set_state, which \
             counts completed handshakes, not accepts, and knows no process; not with kretprobe \
             inet_csk_accept and kprobe security_sock_graft: this kernel has no kprobes \
             (CONFIG_KPROBES is off)"
        );
    }
}
