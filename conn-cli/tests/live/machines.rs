//! On which machines a case runs, with which hooks.

use lab::hook::Hook;
use lab::machine::{Line, Machine, Processors};

/// Every hook that sees connections.
pub(crate) const EACH: &[Hook] = &[
    Hook::Kretprobe,
    Hook::Lsm,
    Hook::Fentry,
    Hook::SockOps,
    Hook::Tracepoint,
];

/// Every hook, and the one that conn-cli chooses.
pub(crate) const WITH_AUTO: &[Hook] = &[
    Hook::Auto,
    Hook::Kretprobe,
    Hook::Lsm,
    Hook::Fentry,
    Hook::SockOps,
    Hook::Tracepoint,
];

/// Every hook that two capabilities suffice for.
pub(crate) const WITH_TWO_CAPABILITIES: &[Hook] =
    &[Hook::Kretprobe, Hook::Lsm, Hook::Fentry, Hook::Tracepoint];

/// The hooks that are exact where packets are steered to other processors.
pub(crate) const STEERED: &[Hook] = &[Hook::Kretprobe, Hook::Lsm, Hook::Fentry, Hook::SockOps];

/// The hooks that see the accepting process.
pub(crate) const ACCEPTS: &[Hook] = &[Hook::Kretprobe, Hook::Lsm, Hook::Fentry];

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

pub(crate) fn in_every_guest(machine: Machine, hook: Hook) -> bool {
    guest(machine).is_some_and(|line| has(line, hook))
}

/// In every guest, and natively with the hooks that the kernel has.
pub(crate) fn everywhere(machine: Machine, hook: Hook) -> bool {
    match machine {
        // Securityfs may not be mounted, which tells whether LSM programs run.
        Machine::Native { has_kprobes: true } => hook != Hook::Lsm,
        Machine::Native { has_kprobes: false } => !hook.sees_accepts(),
        _ => in_every_guest(machine, hook),
    }
}

/// On this machine.
pub(crate) fn native(machine: Machine, _: Hook) -> bool {
    matches!(machine, Machine::Native { .. })
}

/// In every guest with the hooks that see the last stage; natively with the hooks that the kernel
/// has.
pub(crate) fn with_last_stage(machine: Machine, hook: Hook) -> bool {
    everywhere(machine, hook) && (hook.sees_accepts() || guest(machine).is_none())
}

/// With one hook only: the case does not depend on how connections are seen.
pub(crate) fn once(machine: Machine, hook: Hook) -> bool {
    let usual = match machine {
        Machine::Native { has_kprobes: false } => Hook::SockOps,
        _ => Hook::Kretprobe,
    };
    hook == usual && everywhere(machine, hook)
}

/// Debian's 5.10 was built without MPTCP.
pub(crate) fn with_mptcp(machine: Machine, hook: Hook) -> bool {
    guest(machine).is_some_and(|line| line != Line::V5_10 && has(line, hook))
}

/// Debian's newest kernel was built without SMC.
pub(crate) fn with_smc(machine: Machine, hook: Hook) -> bool {
    guest(machine).is_some_and(|line| line != Line::Newest && has(line, hook))
}

/// Since 5.12 workers of io_uring are threads of the process.
pub(crate) fn with_own_workers(machine: Machine, hook: Hook) -> bool {
    guest(machine).is_some_and(|line| line != Line::V5_10 && has(line, hook))
}

/// Since 5.11 maps are accounted to a cgroup, not to the memory lock limit.
pub(crate) fn with_memory_lock(machine: Machine, _: Hook) -> bool {
    machine == Machine::Guest(Line::V5_10)
}

/// With each hook where the kernel preempts its own code; elsewhere with the kretprobe and `auto`.
pub(crate) fn beside_readers(machine: Machine, hook: Hook) -> bool {
    match machine {
        Machine::Preemptible(..) | Machine::Guest(Line::Newest) => true,
        Machine::Guest(_) => matches!(hook, Hook::Auto | Hook::Kretprobe),
        _ => false,
    }
}

/// On every machine, with whatever hooks it has.
pub(crate) fn anywhere(_: Machine, _: Hook) -> bool {
    true
}

pub(crate) fn in_each_guest(machine: Machine, _: Hook) -> bool {
    matches!(machine, Machine::Guest(_) | Machine::Preemptible(..))
}

/// Kernels that can switch their preemption mode and do not start as preemptible.
pub(crate) fn switchable(machine: Machine, _: Hook) -> bool {
    matches!(machine, Machine::Guest(Line::V6_1 | Line::V6_12))
}

pub(crate) fn without_bpf_lsm(machine: Machine, hook: Hook) -> bool {
    matches!(machine, Machine::Guest(line) if !has(line, hook))
}

pub(crate) fn locked_down(machine: Machine, _: Hook) -> bool {
    machine == Machine::LockedDown
}

pub(crate) fn without_kprobes(machine: Machine, _: Hook) -> bool {
    machine == Machine::Native { has_kprobes: false }
}
