//! Traces connections in the running kernel: chooses a hook, loads and attaches its eBPF programs,
//! reads their events, and at the end their totals.

mod allocation;
mod attach;
mod bpf;
mod btf;
mod cgroup;
mod counters;
mod event;
mod facts;
mod interface;
mod kprobe;
mod lockdown;
mod names;
mod object;
mod preemption;
mod refusal;
mod requirements;
mod ring;
mod root_cgroup;
mod select;
mod self_test;
mod settings;
mod sockets;
mod totals;
mod tracer;
mod types;

use conn_common::{SocketOffsets, UNKNOWN_OFFSET};

pub use self::{
    event::{WallClock, decode},
    preemption::PreemptionMode,
    refusal::{Refusal, Remedy},
    requirements::{reading_maps_needs_capabilities, require},
    select::{Choice, Refused, choose},
    self_test::SelfTest,
    settings::{NamespaceFilter, Settings},
    sockets::SynScope,
    totals::{Detail, Totals, counts_misses},
    tracer::{Batch, Detached, Tracer},
    types::{KernelTypes, read_types},
};
use crate::model::{
    exactness::Exactness,
    hook::Hook,
    ports::PortSet,
    stage::{Stage, WatchedStages},
};

/// The line printed when tracing begins: the hooks, what they cannot see, why they are not exact if
/// they are not, and why no better hook is used. `earlier`: the hooks of the earlier stages.
#[must_use]
pub fn announcement(
    ports: &PortSet,
    (hook, earlier): (Hook, &[Hook]),
    requested: &WatchedStages,
    offsets: &SocketOffsets,
    exactness: &Exactness,
    passed_over: &[(Hook, String)],
) -> String {
    let mut line = format!("Tracing TCP connections to {ports} with {hook}");
    for earlier in earlier.iter().rev() {
        line += &format!(", {earlier}");
        match earlier {
            Hook::Tracepoint => line += " (may miss some)",
            Hook::Filter => line += LIMITED,
            _ => (),
        }
    }
    if hook == Hook::Filter {
        line += LIMITED;
    }
    if hook.stage() < requested.counted() {
        line += &format!(
            " (counts {}, not accepts; no process information)",
            hook.info().counts
        );
    }
    if !exactness.is_exact() {
        line += &format!("; not exact: {}", exactness.reason());
    }
    if offsets.protocol == UNKNOWN_OFFSET && hook.stage() == Stage::Accepted {
        line += "; without BTF, SCTP on the same port numbers is counted too, and waits are not \
                 known";
    }
    for (other, reason) in passed_over {
        line += &format!("; not {}: {reason}", other.name());
    }
    line
}

/// What the packet filter cannot see.
const LIMITED: &str = " (one network namespace, before the firewall)";

/// Why no hook can be used: one line for each that was tried. It includes the remedy if only one
/// hook was tried, or if the remedy is not to use another hook.
#[must_use]
pub fn complaint(refused: &[(Hook, Refusal)]) -> String {
    let line = |(hook, refusal): &(Hook, Refusal)| match refused {
        // Its text already names the hook.
        [(_, Refusal::Earlier(..))] => refusal.to_string(),
        [_, _, ..] if refusal.advises_another_hook() => {
            format!("cannot use {hook}: {}", refusal.reason())
        }
        _ => format!("cannot use {hook}: {refusal}"),
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
        Exactness::Exact("no preemption".to_owned())
    }

    #[test]
    fn the_announcement_names_the_hook_and_those_passed_over() {
        let ports = "80".parse().unwrap();
        let accepted = WatchedStages::only(Stage::Accepted);
        let line = announcement(
            &ports,
            (Hook::Kretprobe, &[]),
            &accepted,
            &KNOWN,
            &exact(),
            &[],
        );
        assert_eq!(
            line,
            "Tracing TCP connections to port 80 with kretprobe inet_csk_accept and kprobe \
             security_sock_graft"
        );
        let readme = include_str!("../../../../README.md");
        assert!(readme.contains(&format!("\n{line}\n")));
        let line = announcement(
            &ports,
            (Hook::Kretprobe, &[]),
            &accepted,
            &SocketOffsets::STABLE,
            &exact(),
            &[],
        );
        assert!(line.contains("without BTF"), "{line}");
        let passed_over = [(Hook::Kretprobe, "it is preemptible".to_owned())];
        assert_eq!(
            announcement(
                &ports,
                (Hook::Lsm, &[]),
                &accepted,
                &KNOWN,
                &exact(),
                &passed_over
            ),
            "Tracing TCP connections to port 80 with LSM sock_graft; not kretprobe: it is preemptible"
        );
        let inexact = Exactness::Inexact("it may be skipped".to_owned());
        let passed_over = [(Hook::Kretprobe, Refusal::NoKprobes.reason())];
        assert_eq!(
            announcement(
                &ports,
                (Hook::Tracepoint, &[]),
                &accepted,
                &KNOWN,
                &inexact,
                &passed_over
            ),
            "Tracing TCP connections to port 80 with raw tracepoint inet_sock_set_state (counts \
             completed handshakes, not accepts; no process information); not exact: it may be \
             skipped; not kretprobe: this kernel has no kprobes (CONFIG_KPROBES is off)"
        );
    }

    #[test]
    fn the_hooks_of_earlier_stages_are_named() {
        let all = WatchedStages::new(Stage::ALL);
        let ports = "80".parse().unwrap();
        let hooks = (Hook::Fentry, &[Hook::Filter, Hook::Tracepoint][..]);
        assert_eq!(
            announcement(&ports, hooks, &all, &KNOWN, &exact(), &[]),
            "Tracing TCP connections to port 80 with fentry security_sock_graft, raw \
             tracepoint inet_sock_set_state (may miss some), a socket filter (one network \
             namespace, before the firewall)"
        );
        let hooks = (Hook::Requests, &[][..]);
        let syns = WatchedStages::only(Stage::Syn);
        assert_eq!(
            announcement(&ports, hooks, &syns, &KNOWN, &exact(), &[]),
            "Tracing TCP connections to port 80 with fentry tcp_conn_request"
        );
    }

    #[test]
    fn a_complaint_about_several_hooks_does_not_advise_another_hook() {
        let one = [(Hook::Kretprobe, Refusal::NoKprobes)];
        assert!(complaint(&one).ends_with("use another --probe, or leave it out"));
        let all = [
            (Hook::Kretprobe, Refusal::NoKprobes),
            (Hook::Fentry, Refusal::NoBtf),
            (Hook::SockOps, Refusal::NoNetAdmin),
        ];
        let lines = complaint(&all);
        assert_eq!(lines.lines().count(), 3);
        assert!(!lines.contains("--probe"), "{lines}");
        assert!(lines.contains("give it CAP_NET_ADMIN"), "{lines}");
    }
}
