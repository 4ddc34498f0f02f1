//! Traces connections in the running kernel: chooses a hook, loads and attaches its eBPF programs,
//! reads their events, and at the end their totals.

mod allocation;
mod attach;
mod bpf;
mod btf;
mod cgroup;
mod counters;
mod entries;
mod event;
mod facts;
mod heavy;
mod interface;
mod kprobe;
mod lockdown;
mod mapping;
mod names;
mod networks;
mod object;
mod over;
mod preemption;
mod refusal;
mod requirements;
mod ring;
mod root_cgroup;
mod select;
mod self_test;
mod series;
mod settings;
mod sizes;
mod sockets;
mod syn_memory;
mod totals;
mod tracer;
mod types;

use conn_common::{SocketOffsets, UNKNOWN_OFFSET};

pub use self::{
    event::{WallClock, decode},
    over::OverClock,
    preemption::PreemptionMode,
    refusal::{Refusal, Remedy},
    requirements::{reading_maps_needs_capabilities, require},
    select::{Choice, Refused, choose},
    self_test::SelfTest,
    series::{MAX_FIRST_CLIENTS, MAX_PORT_LABELS, SeriesSettings},
    settings::{NamespaceFilter, Settings},
    sizes::{Sizes, Tables, choose as choose_sizes},
    sockets::SynScope,
    totals::{Detail, Totals, counts_misses},
    tracer::{Batch, Detached, Reading, Tracer},
    types::{KernelTypes, read_types},
};
use crate::model::{hook::Hook, stage::Stage};

/// What limits the count of these hooks, besides [`Exactness`] and that they see an earlier stage than
/// was asked for. `earlier`: the hooks of the earlier stages.
///
/// [`Exactness`]: crate::model::exactness::Exactness
#[must_use]
pub fn limits(hook: Hook, earlier: &[Hook], offsets: &SocketOffsets) -> Vec<String> {
    let mut limits = Vec::new();
    if earlier.contains(&Hook::Tracepoint) {
        limits.push("some handshakes may be missing".to_owned());
    }
    if hook == Hook::Filter || earlier.contains(&Hook::Filter) {
        limits.push("SYNs are those of one network namespace, before the firewall".to_owned());
    }
    if offsets.protocol == UNKNOWN_OFFSET && hook.stage() == Stage::Accepted {
        let limit = "without BTF, SCTP on the same ports counts, too, and waits are not known";
        limits.push(limit.to_owned());
    }
    limits
}

/// Which hooks are used, and why those in `passed_over` are not. `earlier`: the hooks of the earlier
/// stages.
#[must_use]
pub fn choice(hook: Hook, earlier: &[Hook], passed_over: &[(Hook, String)]) -> Vec<String> {
    let hooks = [hook].into_iter().chain(earlier.iter().rev().copied());
    let titles: Vec<String> = hooks.map(|hook| hook.to_string()).collect();
    let used = format!("hooks: {}", titles.join(", "));
    let unused = passed_over
        .iter()
        .map(|(other, reason)| format!("not used: {}: {reason}", other.name()));
    [used].into_iter().chain(unused).collect()
}

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

    #[test]
    fn the_choice_names_the_hooks_and_those_passed_over() {
        let passed_over = [(Hook::Kretprobe, Refusal::NoKprobes.reason())];
        let earlier = [Hook::Filter, Hook::Tracepoint];
        assert_eq!(
            choice(Hook::Fentry, &earlier, &passed_over),
            [
                "hooks: fentry security_sock_graft, raw tracepoint inet_sock_set_state, a socket filter",
                "not used: kretprobe: this kernel has no kprobes (CONFIG_KPROBES is off)"
            ]
        );
    }

    #[test]
    fn only_what_limits_the_count_is_noted() {
        let none: [&str; 0] = [];
        assert_eq!(limits(Hook::Kretprobe, &[Hook::SockOps], &KNOWN), none);
        assert_eq!(limits(Hook::Requests, &[], &SocketOffsets::STABLE), none);
        let without_btf = limits(Hook::Kretprobe, &[], &SocketOffsets::STABLE);
        assert!(without_btf[0].contains("without BTF"), "{without_btf:?}");
        assert_eq!(
            limits(Hook::Fentry, &[Hook::Filter, Hook::Tracepoint], &KNOWN),
            [
                "some handshakes may be missing",
                "SYNs are those of one network namespace, before the firewall"
            ]
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
