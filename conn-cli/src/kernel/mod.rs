//! Connections as the running kernel sees them: choosing a hook, loading and attaching its
//! eBPF programs, reading their events, and at the end their totals.

mod allocation;
mod attach;
mod btf;
mod cgroup;
mod counters;
mod event;
mod exactness;
mod facts;
mod object;
mod preemption;
mod privileges;
mod refusal;
mod ring;
mod select;
mod sockets;
mod totals;
mod tracer;
mod types;

use std::{collections::BTreeSet, fmt};

use conn_common::{SocketOffsets, UNKNOWN_OFFSET};
use serde::Serialize;

pub use self::{
    event::{WallClock, decode},
    exactness::{Exactness, is_at_least, judge, judge_run},
    object::{Reported, Settings},
    preemption::{Preemption, PreemptionMode},
    privileges::{drop_privileges, require},
    refusal::Refusal,
    select::{Choice, Refused, candidates, choose},
    sockets::SynScope,
    totals::{Discrepancies, Totals, counts_misses},
    tracer::{Batch, Tracer},
    types::{KernelTypes, read_types},
};
use crate::{connection::Stage, ports::PortSet};

/// One of the ways to see connections at the last stage that is asked for.
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
    /// The filter of packet sockets.
    Filter,
}

impl Backend {
    /// As `--probe` takes it.
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

    /// What sees a stage that is not the last one.
    #[must_use]
    pub(super) fn for_earlier_stage(stage: Stage) -> Self {
        match stage {
            Stage::Syn => Self::Filter,
            Stage::Established | Stage::Accepted => Self::Tracepoint,
        }
    }

    /// The stages that are seen with it when these are asked for: without a hook that sees
    /// accepts, completed handshakes stand in for them.
    #[must_use]
    pub fn stages(self, requested: &BTreeSet<Stage>) -> BTreeSet<Stage> {
        let seen = |stage: &Stage| *stage < self.stage();
        let before = requested.iter().copied().filter(seen);
        before.chain([self.stage()]).collect()
    }
}

/// What is hooked.
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

/// The line that says that tracing has begun: with what, what that cannot see, why it is not exact
/// if it is not, and why nothing better is used.
#[must_use]
pub fn announcement(
    ports: &PortSet,
    backend: Backend,
    requested: &BTreeSet<Stage>,
    offsets: &SocketOffsets,
    exactness: &Exactness,
    passed_over: &[(Backend, String)],
) -> String {
    let stages = backend.stages(requested);
    let mut line = format!("Tracing TCP connections to {ports} with {backend}");
    for stage in stages.into_iter().rev().skip(1) {
        let earlier = Backend::for_earlier_stage(stage);
        line += &format!(", {earlier}");
        if earlier == Backend::Tracepoint {
            line += " (may miss some)";
        }
    }
    if backend == Backend::Tracepoint && requested.contains(&Stage::Accepted) {
        line += " (counts completed handshakes, not accepts; knows no process)";
    }
    if !exactness.is_exact() {
        line += &format!("; not exact: {}", exactness.reason());
    }
    if offsets.protocol == UNKNOWN_OFFSET && backend.stage() == Stage::Accepted {
        line += "; without BTF, SCTP on the same port numbers is counted too, and waits are not \
                 known";
    }
    for (other, reason) in passed_over {
        line += &format!("; not {}: {reason}", other.name());
    }
    line
}

/// Why no hook can be used: a line for each that was tried. What to do is only said of one
/// that was insisted on, or if it is more than to try another.
#[must_use]
pub fn complaint(refused: &[(Backend, Refusal)]) -> String {
    let line = |(backend, refusal): &(Backend, Refusal)| match refused {
        // It says itself what it is about.
        [(_, Refusal::Earlier(..))] => refusal.to_string(),
        [_, _, ..] if refusal.advises_another_hook() => {
            format!("cannot use {backend}: {}", refusal.reason())
        }
        _ => format!("cannot use {backend}: {refusal}"),
    };
    let lines: Vec<_> = refused.iter().map(line).collect();
    lines.join("\nconn-cli: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: SocketOffsets = SocketOffsets {
        protocol: 516,
        ..SocketOffsets::STABLE
    };

    fn exact() -> Exactness {
        Exactness::Exact("so it is".to_owned())
    }

    #[test]
    fn the_announcement_names_the_hook_and_what_stood_in_the_way() {
        let ports = "80".parse().unwrap();
        let accepted = [Stage::Accepted].into();
        assert_eq!(
            announcement(&ports, Backend::Kretprobe, &accepted, &KNOWN, &exact(), &[]),
            "Tracing TCP connections to port 80 with kretprobe inet_csk_accept and kprobe \
             security_sock_graft"
        );
        let line = announcement(
            &ports,
            Backend::Kretprobe,
            &accepted,
            &SocketOffsets::STABLE,
            &exact(),
            &[],
        );
        assert!(line.contains("without BTF"), "{line}");
        let passed_over = [(Backend::Kretprobe, "it is preemptible".to_owned())];
        assert_eq!(
            announcement(
                &ports,
                Backend::Lsm,
                &accepted,
                &KNOWN,
                &exact(),
                &passed_over
            ),
            "Tracing TCP connections to port 80 with LSM sock_graft; not kretprobe: it is preemptible"
        );
        let inexact = Exactness::Inexact("it may be skipped".to_owned());
        let passed_over = [(Backend::Kretprobe, Refusal::NoKprobes.reason())];
        assert_eq!(
            announcement(
                &ports,
                Backend::Tracepoint,
                &accepted,
                &KNOWN,
                &inexact,
                &passed_over
            ),
            "Tracing TCP connections to port 80 with tracepoint sock:inet_sock_set_state (counts \
             completed handshakes, not accepts; knows no process); not exact: it may be skipped; not \
             kretprobe: this kernel has no kprobes (CONFIG_KPROBES is off)"
        );
    }

    #[test]
    fn what_stands_in_for_what() {
        let all = [Stage::Syn, Stage::Established, Stage::Accepted].into();
        assert_eq!(Backend::Kretprobe.stages(&all), all);
        let handshakes = [Stage::Syn, Stage::Established].into();
        assert_eq!(Backend::Tracepoint.stages(&all), handshakes);
        let accepted = [Stage::Accepted].into();
        assert_eq!(
            Backend::Tracepoint.stages(&accepted),
            [Stage::Established].into()
        );
        assert_eq!(Backend::Fentry.stages(&accepted), accepted);
        let ports = "80".parse().unwrap();
        assert_eq!(
            announcement(&ports, Backend::Fentry, &all, &KNOWN, &exact(), &[]),
            "Tracing TCP connections to port 80 with fentry security_sock_graft, tracepoint \
             sock:inet_sock_set_state (may miss some), a socket filter"
        );
    }

    #[test]
    fn a_complaint_does_not_send_in_circles() {
        let one = [(Backend::Kretprobe, Refusal::NoKprobes)];
        assert!(complaint(&one).ends_with("use --probe tracepoint"));
        let all = [
            (Backend::Kretprobe, Refusal::NoKprobes),
            (Backend::Fentry, Refusal::NoBtf),
            (Backend::Tracepoint, Refusal::NoTracepoint),
        ];
        let lines = complaint(&all);
        assert_eq!(lines.lines().count(), 3);
        assert!(!lines.contains("use --probe"), "{lines}");
        assert!(lines.contains("mount -t tracefs"), "{lines}");
    }
}
