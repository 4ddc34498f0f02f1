//! The list of cases: what is run, with which hooks, and in which guests.

use anyhow::Result;

use super::accept::Accept;
use super::exact::{Count, Family, First, Protocol};
use super::plan::{Context, Hook, Machine};
use super::{
    dropped, filters, flood, forged, funnel, grouping, hostile, intervals, leftovers, limits,
    map_reader, memory, newcomers, no_btf, nobody, peers, ports, preemption, privileges, resets,
    signals, steered, streams, syn_flood, syns, tasks, text, trouble, waits,
};
use crate::vm::{Line, Processors};

type Run = fn(&Context) -> Result<String>;

enum Body {
    Count(Count),
    Other(Run),
}

/// A case.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) hooks: &'static [Hook],
    /// Whether it is run in a place with a hook.
    pub(super) runs: fn(Machine, Hook) -> bool,
    body: Body,
}

/// Each way to see an accepted connection.
const EACH: &[Hook] = &[Hook::Kretprobe, Hook::Lsm, Hook::Fentry, Hook::Tracepoint];

/// These, and the one that conn-cli chooses.
const WITH_AUTO: &[Hook] = &[
    Hook::Auto,
    Hook::Kretprobe,
    Hook::Lsm,
    Hook::Fentry,
    Hook::Tracepoint,
];

/// Those that see who accepts it.
const ACCEPTS: &[Hook] = &[Hook::Kretprobe, Hook::Lsm, Hook::Fentry];

/// The kernel of a guest that all cases are run in that are not of a few guests only.
fn guest(machine: Machine) -> Option<Line> {
    match machine {
        Machine::Guest(line) | Machine::Preemptible(line @ Line::V6_1, Processors::Two) => {
            Some(line)
        }
        _ => None,
    }
}

/// Debian's 5.10 does not have the BPF LSM among its active security modules.
fn has(line: Line, hook: Hook) -> bool {
    hook != Hook::Lsm || line != Line::V5_10
}

fn in_every_guest(machine: Machine, hook: Hook) -> bool {
    guest(machine).is_some_and(|line| has(line, hook))
}

/// In the guests, and on the machine itself with what its kernel has.
fn everywhere(machine: Machine, hook: Hook) -> bool {
    match machine {
        // Without tracefs and securityfs mounted there may be no more.
        Machine::Native { has_kprobes: true } => hook != Hook::Lsm,
        Machine::Native { has_kprobes: false } => hook == Hook::Tracepoint,
        _ => in_every_guest(machine, hook),
    }
}

/// In the guests with what sees the last stage, too; on the machine itself with what its kernel
/// has.
fn with_last_stage(machine: Machine, hook: Hook) -> bool {
    everywhere(machine, hook) && (hook.sees_accepts() || guest(machine).is_none())
}

/// With one hook: what is tested has nothing to do with how connections are seen.
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

/// Where the kernel preempts its own code, with each hook, and elsewhere with the pair.
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

/// Kernels that can switch their preemption, and are not preemptible at first.
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

const fn other(name: &'static str, hooks: &'static [Hook], run: Run) -> Case {
    Case {
        name,
        hooks,
        runs: in_every_guest,
        body: Body::Other(run),
    }
}

const fn everywhere_other(name: &'static str, run: Run) -> Case {
    Case {
        runs: everywhere,
        ..other(name, EACH, run)
    }
}

const fn stages(name: &'static str, run: Run) -> Case {
    Case {
        runs: with_last_stage,
        ..other(name, EACH, run)
    }
}

const fn one(name: &'static str, run: Run) -> Case {
    Case {
        runs: once,
        ..other(name, &[Hook::Kretprobe, Hook::Tracepoint], run)
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
    other("flood-unread", EACH, flood::unread),
    other("flood-terminated", EACH, flood::terminated),
    everywhere_other("reset-early", resets::ipv4),
    everywhere_other("reset-early-dual-stack", resets::dual_stack),
    other(
        "reset-early-no-btf",
        &[Hook::Kretprobe],
        resets::without_btf,
    ),
    everywhere_other("no-btf", no_btf::no_btf),
    everywhere_other("port-list", ports::list),
    Case {
        runs: with_last_stage,
        ..other("filters", EACH, filters::filters)
    },
    // The tracepoint sees no accepts, so no three stages.
    other("stage-filters", ACCEPTS, filters::of_stages),
    // The tracepoint knows no process.
    other("task-filters", ACCEPTS, tasks::filters),
    other("netns-filter", &[Hook::Tracepoint], tasks::netns),
    other("wrong-filters", &[Hook::Kretprobe], tasks::wrong),
    // The tracepoint knows no process.
    other("grouping-tasks", ACCEPTS, grouping::of_tasks),
    one("grouping", grouping::of_ends),
    one("interval", intervals::rows),
    one("interval-flood", intervals::flood),
    one("new-known", newcomers::newcomers),
    one("bad-known", newcomers::refused_files),
    everywhere_other("max-clients", limits::max_clients),
    other("out-of-memory", &[Hook::Kretprobe], memory::out_of_memory),
    everywhere_other("quiet", limits::quiet),
    // The tracepoint fails this: the kernel skips it where it interrupts itself.
    other("steered", ACCEPTS, steered::steered),
    one("count", limits::count),
    one("count-not-reached", limits::count_not_reached),
    one("duration", limits::duration),
    one("hang-up", signals::hang_up),
    one("nohup", signals::nohup),
    one("two-terms", signals::two_terms),
    one("second-interrupt", signals::second_interrupt),
    everywhere_other("reader-closes", streams::reader_closes),
    one("stderr-closed", streams::stderr_closed),
    one("disk-full", streams::disk_full),
    everywhere_other("text", text::text),
    // The tracepoint knows no process.
    other("hostile-name", ACCEPTS, hostile::name),
    stages("funnel", funnel::funnel),
    // The tracepoint sees nobody accept.
    other("slow-accept", ACCEPTS, waits::slow_accept),
    stages("trouble", trouble::trouble),
    stages("syn-flood", syn_flood::syn_flood),
    one("nobody-accepts", nobody::nobody_accepts),
    one("syn-repeats", syns::repeats),
    // Not every machine has VLANs.
    other(
        "syn-repeats-vlan",
        &[Hook::Kretprobe],
        syns::repeats_in_vlan,
    ),
    one("peers", peers::peers),
    one("forged-syns", forged::syns),
    // Not every machine has VLANs.
    other("forged-syns-vlan", &[Hook::Kretprobe], forged::syns_in_vlan),
    other("killed", EACH, leftovers::killed),
    everywhere_other("dropped-privileges", dropped::privileges),
    // The number of a tracepoint is in tracefs, which is root's alone.
    other("two-capabilities", ACCEPTS, privileges::two_capabilities),
    other(
        "perf-paranoid",
        &[Hook::Kretprobe],
        privileges::perf_paranoid,
    ),
    other("not-root", &[Hook::Auto], privileges::not_root),
    other("bad-port", &[Hook::Auto], privileges::bad_port),
    Case {
        runs: in_each_guest,
        ..other("chosen", &[Hook::Auto], preemption::chosen)
    },
    Case {
        runs: switchable,
        ..other("preemption-switched", &[Hook::Auto], preemption::switched)
    },
    Case {
        runs: in_each_guest,
        ..other(
            "two-at-once",
            &[Hook::Auto, Hook::Kretprobe],
            preemption::two_at_once,
        )
    },
    Case {
        runs: beside_readers,
        ..other("map-reader-batches", WITH_AUTO, map_reader::batches)
    },
    Case {
        runs: beside_readers,
        ..other("map-reader-paused", WITH_AUTO, map_reader::paused)
    },
    Case {
        runs: beside_readers,
        ..other("map-reader-keys", WITH_AUTO, map_reader::keys)
    },
    Case {
        runs: without_bpf_lsm,
        ..other("no-bpf-lsm", &[Hook::Lsm], privileges::no_bpf_lsm)
    },
    Case {
        runs: with_memory_lock,
        ..other("memory-lock", &[Hook::Kretprobe], privileges::memory_lock)
    },
    Case {
        runs: locked_down,
        ..other("lockdown", &[Hook::Kretprobe], privileges::lockdown)
    },
    Case {
        runs: without_kprobes,
        ..other("no-kprobes", &[Hook::Kretprobe], privileges::no_kprobes)
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
