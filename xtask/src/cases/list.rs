//! The list of cases, with the hooks and machines that run each.

use anyhow::Result;
use lab::accept::Accept;
use lab::family::Family;
use lab::hook::Hook;
use lab::machine::{Line, Machine, Processors};

use super::context::Context;
use super::exact::{Count, First, Protocol};
use super::{
    dropped, filters, flood, forged, funnel, grouping, hostile, intervals, leftovers, limits,
    map_reader, memory, newcomers, no_btf, nobody, peers, ports, preemption, privileges, resets,
    signals, steered, streams, syn_flood, syns, tasks, text, trouble, waits,
};

type Run = fn(&Context) -> Result<String>;

enum Body {
    Count(Count),
    Other(Run),
}

/// A test case.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) hooks: &'static [Hook],
    /// Whether the case runs on a machine with a hook.
    pub(super) runs: fn(Machine, Hook) -> bool,
    body: Body,
}

/// Every hook that sees connections.
const EACH: &[Hook] = &[Hook::Kretprobe, Hook::Lsm, Hook::Fentry, Hook::Tracepoint];

/// Every hook, and the one that conn-cli chooses.
const WITH_AUTO: &[Hook] = &[
    Hook::Auto,
    Hook::Kretprobe,
    Hook::Lsm,
    Hook::Fentry,
    Hook::Tracepoint,
];

/// The hooks that see the accepting process.
const ACCEPTS: &[Hook] = &[Hook::Kretprobe, Hook::Lsm, Hook::Fentry];

/// The kernel of a guest that runs all cases, except those that are for a few guests only.
fn guest(machine: Machine) -> Option<Line> {
    match machine {
        Machine::Guest(line) | Machine::Preemptible(line @ Line::V6_1, Processors::Two) => {
            Some(line)
        }
        _ => None,
    }
}

/// In Debian's 5.10, the BPF LSM is not an active security module.
fn has(line: Line, hook: Hook) -> bool {
    hook != Hook::Lsm || line != Line::V5_10
}

fn in_every_guest(machine: Machine, hook: Hook) -> bool {
    guest(machine).is_some_and(|line| has(line, hook))
}

/// In every guest, and natively with the hooks that the kernel has.
fn everywhere(machine: Machine, hook: Hook) -> bool {
    match machine {
        // There may be no more hooks if tracefs and securityfs are not mounted.
        Machine::Native { has_kprobes: true } => hook != Hook::Lsm,
        Machine::Native { has_kprobes: false } => hook == Hook::Tracepoint,
        _ => in_every_guest(machine, hook),
    }
}

/// In every guest with the hooks that see the last stage; natively with the hooks that the kernel
/// has.
fn with_last_stage(machine: Machine, hook: Hook) -> bool {
    everywhere(machine, hook) && (hook.sees_accepts() || guest(machine).is_none())
}

/// With one hook only: the case does not depend on how connections are seen.
fn once(machine: Machine, hook: Hook) -> bool {
    let usual = match machine {
        Machine::Native { has_kprobes: false } => Hook::Tracepoint,
        _ => Hook::Kretprobe,
    };
    hook == usual && everywhere(machine, hook)
}

/// Debian's 5.10 was built without MPTCP.
fn with_mptcp(machine: Machine, hook: Hook) -> bool {
    guest(machine).is_some_and(|line| line != Line::V5_10 && has(line, hook))
}

/// Since 5.11 maps are accounted to a cgroup, not to the memory lock limit.
fn with_memory_lock(machine: Machine, _: Hook) -> bool {
    machine == Machine::Guest(Line::V5_10)
}

/// With each hook where the kernel preempts its own code; elsewhere with the kretprobe and `auto`.
fn beside_readers(machine: Machine, hook: Hook) -> bool {
    match machine {
        Machine::Preemptible(..) | Machine::Guest(Line::Newest) => true,
        Machine::Guest(_) => matches!(hook, Hook::Auto | Hook::Kretprobe),
        _ => false,
    }
}

fn in_each_guest(machine: Machine, _: Hook) -> bool {
    matches!(machine, Machine::Guest(_) | Machine::Preemptible(..))
}

/// Kernels that can switch their preemption mode and do not start as preemptible.
fn switchable(machine: Machine, _: Hook) -> bool {
    matches!(machine, Machine::Guest(Line::V6_1 | Line::V6_12))
}

fn without_bpf_lsm(machine: Machine, hook: Hook) -> bool {
    matches!(machine, Machine::Guest(line) if !has(line, hook))
}

fn locked_down(machine: Machine, _: Hook) -> bool {
    machine == Machine::LockedDown
}

fn without_kprobes(machine: Machine, _: Hook) -> bool {
    machine == Machine::Native { has_kprobes: false }
}

const fn count(name: &'static str, count: Count) -> Case {
    Case {
        name,
        hooks: EACH,
        runs: in_every_guest,
        body: Body::Count(count),
    }
}

const fn blocked(threads: u32) -> Count {
    Count {
        accept: Accept::Threads(threads),
        ..Count::PLAIN
    }
}

const fn case(name: &'static str, hooks: &'static [Hook], run: Run) -> Case {
    Case {
        name,
        hooks,
        runs: in_every_guest,
        body: Body::Other(run),
    }
}

const fn everywhere_case(name: &'static str, run: Run) -> Case {
    Case {
        runs: everywhere,
        ..case(name, EACH, run)
    }
}

const fn stages(name: &'static str, run: Run) -> Case {
    Case {
        runs: with_last_stage,
        ..case(name, EACH, run)
    }
}

const fn single_hook(name: &'static str, run: Run) -> Case {
    Case {
        runs: once,
        ..case(name, &[Hook::Kretprobe, Hook::Tracepoint], run)
    }
}

pub(super) const CASES: &[Case] = &[
    Case {
        hooks: WITH_AUTO,
        runs: everywhere,
        ..count("ipv4", Count::PLAIN)
    },
    Case {
        runs: everywhere,
        ..count(
            "ipv6",
            Count {
                family: Family::V6,
                ..Count::PLAIN
            },
        )
    },
    Case {
        runs: everywhere,
        ..count(
            "dual-stack",
            Count {
                family: Family::Dual,
                ..blocked(4)
            },
        )
    },
    count("blocked-64", blocked(64)),
    count("blocked-512", blocked(512)),
    count(
        "server-afterwards",
        Count {
            first: First::Tracer,
            ..blocked(64)
        },
    ),
    count(
        "epoll",
        Count {
            accept: Accept::Epoll,
            ..Count::PLAIN
        },
    ),
    count(
        "io-uring",
        Count {
            accept: Accept::IoUring,
            ..Count::PLAIN
        },
    ),
    count(
        "fork",
        Count {
            accept: Accept::Fork,
            ..Count::PLAIN
        },
    ),
    Case {
        runs: with_mptcp,
        ..count(
            "mptcp",
            Count {
                protocol: Protocol::Mptcp,
                ..blocked(4)
            },
        )
    },
    Case {
        runs: with_mptcp,
        ..count(
            "tcp-to-mptcp",
            Count {
                protocol: Protocol::TcpToMptcp,
                ..blocked(4)
            },
        )
    },
    count(
        "other-netns",
        Count {
            netns: true,
            ..blocked(4)
        },
    ),
    count(
        "other-port",
        Count {
            other_port: true,
            ..blocked(4)
        },
    ),
    case("flood-unread", EACH, flood::unread),
    case("flood-terminated", EACH, flood::terminated),
    everywhere_case("reset-early", resets::ipv4),
    everywhere_case("reset-early-dual-stack", resets::dual_stack),
    case(
        "reset-early-no-btf",
        &[Hook::Kretprobe],
        resets::without_btf,
    ),
    everywhere_case("no-btf", no_btf::no_btf),
    everywhere_case("port-list", ports::list),
    Case {
        runs: with_last_stage,
        ..case("filters", EACH, filters::filters)
    },
    // The tracepoint sees no accepts, so there are no three stages.
    case("stage-filters", ACCEPTS, filters::stage_filters),
    // The tracepoint does not know the process.
    case("task-filters", ACCEPTS, tasks::filters),
    case("netns-filter", &[Hook::Tracepoint], tasks::netns),
    case("wrong-filters", &[Hook::Kretprobe], tasks::wrong_filters),
    // The tracepoint does not know the process.
    case("grouping-tasks", ACCEPTS, grouping::tasks),
    single_hook("grouping", grouping::endpoints),
    single_hook("interval", intervals::rows),
    single_hook("interval-flood", intervals::flood),
    single_hook("new-known", newcomers::new_known),
    single_hook("bad-known", newcomers::bad_known),
    everywhere_case("max-clients", limits::max_clients),
    case("out-of-memory", &[Hook::Kretprobe], memory::out_of_memory),
    everywhere_case("quiet", limits::quiet),
    // The tracepoint fails this: the kernel skips it where it interrupts itself.
    case("steered", ACCEPTS, steered::steered),
    single_hook("count", limits::count),
    single_hook("count-not-reached", limits::count_not_reached),
    single_hook("duration", limits::duration),
    single_hook("hang-up", signals::hang_up),
    single_hook("nohup", signals::nohup),
    single_hook("two-terms", signals::two_terms),
    single_hook("second-interrupt", signals::second_interrupt),
    everywhere_case("reader-closes", streams::reader_closes),
    single_hook("stderr-closed", streams::stderr_closed),
    single_hook("disk-full", streams::disk_full),
    everywhere_case("text", text::text),
    // The tracepoint does not know the process.
    case("hostile-name", ACCEPTS, hostile::hostile_name),
    stages("funnel", funnel::funnel),
    // The tracepoint sees no accepts.
    case("slow-accept", ACCEPTS, waits::slow_accept),
    stages("trouble", trouble::trouble),
    stages("syn-flood", syn_flood::syn_flood),
    single_hook("nobody-accepts", nobody::nobody_accepts),
    single_hook("syn-repeats", syns::repeats),
    // Not every machine has VLANs.
    case(
        "syn-repeats-vlan",
        &[Hook::Kretprobe],
        syns::repeats_in_vlan,
    ),
    single_hook("peers", peers::peers),
    single_hook("forged-syns", forged::syns),
    // Not every machine has VLANs.
    case("forged-syns-vlan", &[Hook::Kretprobe], forged::syns_in_vlan),
    case("killed", EACH, leftovers::killed),
    everywhere_case("dropped-privileges", dropped::privileges),
    // The id of a tracepoint is in tracefs, which only root may read.
    case("two-capabilities", ACCEPTS, privileges::two_capabilities),
    case(
        "perf-paranoid",
        &[Hook::Kretprobe],
        privileges::perf_paranoid,
    ),
    case("not-root", &[Hook::Auto], privileges::not_root),
    case("bad-port", &[Hook::Auto], privileges::bad_port),
    Case {
        runs: in_each_guest,
        ..case("chosen", &[Hook::Auto], preemption::chosen)
    },
    Case {
        runs: switchable,
        ..case("preemption-switched", &[Hook::Auto], preemption::switched)
    },
    Case {
        runs: in_each_guest,
        ..case(
            "two-at-once",
            &[Hook::Auto, Hook::Kretprobe],
            preemption::two_at_once,
        )
    },
    Case {
        runs: beside_readers,
        ..case("map-reader-batches", WITH_AUTO, map_reader::batches)
    },
    Case {
        runs: beside_readers,
        ..case("map-reader-paused", WITH_AUTO, map_reader::paused)
    },
    Case {
        runs: beside_readers,
        ..case("map-reader-keys", WITH_AUTO, map_reader::keys)
    },
    Case {
        runs: without_bpf_lsm,
        ..case("no-bpf-lsm", &[Hook::Lsm], privileges::no_bpf_lsm)
    },
    Case {
        runs: with_memory_lock,
        ..case("memory-lock", &[Hook::Kretprobe], privileges::memory_lock)
    },
    Case {
        runs: locked_down,
        ..case("lockdown", &[Hook::Kretprobe], privileges::lockdown)
    },
    Case {
        runs: without_kprobes,
        ..case("no-kprobes", &[Hook::Kretprobe], privileges::no_kprobes)
    },
];

impl Case {
    pub(super) fn run(&self, context: &Context) -> Result<String> {
        match &self.body {
            Body::Count(count) => count.run(context),
            Body::Other(run) => run(context),
        }
    }
}
