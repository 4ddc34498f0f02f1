//! The hooks: what each is attached to, what it sees and knows, and what it needs.
//!
//! Selection, the announcement, refusals, JSON and the table in the documentation use this table. A
//! new hook is a variant, its [`HookInfo`], and its place in [`candidates`].

#[cfg(test)]
mod tests;

use std::fmt;

use conn_common::{
    HOOK_FENTRY, HOOK_FILTER, HOOK_KRETPROBE, HOOK_LSM, HOOK_REQUESTS, HOOK_SOCK_OPS,
    HOOK_TRACEPOINT,
};
use serde::{Deserialize, Serialize};

use super::stage::{Stage, WatchedStages};

/// A way to see connections at one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// The kretprobe on `inet_csk_accept` with the kprobe on `security_sock_graft`.
    Kretprobe,
    /// The LSM program on `sock_graft`.
    Lsm,
    /// The fentry program on `security_sock_graft`.
    Fentry,
    /// The `sock_ops` program of the root cgroup.
    SockOps,
    /// The raw tracepoint `inet_sock_set_state`.
    Tracepoint,
    /// The fentry programs on the functions of TCP that get SYNs.
    Requests,
    /// The socket filter on packet sockets.
    Filter,
}

/// What is known of a hook.
#[derive(Debug)]
pub struct HookInfo {
    /// Its name in JSON, and for `--probe` if [`Self::is_option`].
    pub name: &'static str,
    /// Whether `--probe` accepts it.
    pub is_option: bool,
    /// What is hooked.
    pub title: &'static str,
    /// The stage that it sees.
    pub stage: Stage,
    /// What its events have as [`conn_common::Event::hook`].
    pub code: u16,
    /// Whether it knows the accepting task, and how long a connection waited.
    pub knows_task: bool,
    /// Whether it knows the network namespace, if the kernel has BTF.
    pub knows_netns: bool,
    /// Whether it sees SYNs of all network namespaces, and knows which are refused, but not on which
    /// interface they come.
    pub sees_requests: bool,
    /// Whether it needs the kernel's BTF.
    pub needs_btf: bool,
    /// Its programs, in the order in which they are detached.
    pub programs: &'static [Program],
    /// The programs that count: connections are missing if the kernel skips one.
    pub counting: &'static [&'static str],
    /// What it counts, for the documentation.
    pub counts: &'static str,
    /// When it is exact, for the documentation.
    pub exact: &'static str,
    /// What it needs, for the documentation.
    pub needs: &'static str,
}

/// An eBPF program and what it is attached to.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// What it is attached to.
    pub point: AttachPoint,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachPoint {
    /// The entry of a kernel function.
    Kprobe(&'static str),
    /// The return of a kernel function.
    Kretprobe(&'static str),
    /// The entry of a kernel function, through a trampoline.
    Fentry(&'static str),
    /// An LSM hook, which calls the kernel function `bpf_lsm_` and its name (`kernel/bpf/bpf_lsm.c`).
    Lsm {
        /// The name of the hook.
        hook: &'static str,
        /// That function.
        function: &'static str,
    },
    /// A tracepoint, without its record in tracefs.
    RawTracepoint(&'static str),
    /// The root cgroup, for a `sock_ops` program.
    RootCgroup,
    /// Packet sockets.
    PacketSockets,
}

/// The kernel function whose return the kretprobe sees.
const ACCEPT: &str = "inet_csk_accept";
/// The kernel function that every accept calls once it has a connection.
pub const GRAFT: &str = "security_sock_graft";
/// The kernel function that an LSM program on `sock_graft` is attached to.
pub const LSM_GRAFT: &str = "bpf_lsm_sock_graft";

const KRETPROBE: HookInfo = HookInfo {
    name: "kretprobe",
    is_option: true,
    title: "kretprobe inet_csk_accept and kprobe security_sock_graft",
    stage: Stage::Accepted,
    code: HOOK_KRETPROBE,
    knows_task: true,
    knows_netns: true,
    sees_requests: false,
    needs_btf: false,
    // The kprobe is attached first and detached last: it sees what the kretprobe cannot.
    programs: &[
        Program {
            name: "conn_accept",
            point: AttachPoint::Kretprobe(ACCEPT),
        },
        Program {
            name: "conn_graft",
            point: AttachPoint::Kprobe(GRAFT),
        },
    ],
    // An empty pool of kretprobe instances loses nothing.
    counting: &["conn_graft"],
    counts: "every accepted connection",
    exact: "where the kernel is not preemptible",
    needs: "kprobes",
};

const LSM: HookInfo = HookInfo {
    name: "lsm",
    is_option: true,
    title: "LSM sock_graft",
    stage: Stage::Accepted,
    code: HOOK_LSM,
    knows_task: true,
    knows_netns: true,
    sees_requests: false,
    needs_btf: true,
    programs: &[Program {
        name: "conn_lsm",
        point: AttachPoint::Lsm {
            hook: "sock_graft",
            function: LSM_GRAFT,
        },
    }],
    counting: &["conn_lsm"],
    counts: "every accepted connection",
    exact: "yes; before Linux 6.2 (6.1 in its stable releases) like fentry",
    needs: "BTF, trampolines, and `bpf` in `/sys/kernel/security/lsm`",
};

const FENTRY: HookInfo = HookInfo {
    name: "fentry",
    is_option: true,
    title: "fentry security_sock_graft",
    stage: Stage::Accepted,
    code: HOOK_FENTRY,
    knows_task: true,
    knows_netns: true,
    sees_requests: false,
    needs_btf: true,
    programs: &[Program {
        name: "conn_fentry",
        point: AttachPoint::Fentry(GRAFT),
    }],
    counting: &["conn_fentry"],
    counts: "every accepted connection",
    exact: "yes, or the end says how many may be missing",
    needs: "BTF and trampolines (x86_64: Linux 5.8; arm64: 6.4)",
};

const SOCK_OPS: HookInfo = HookInfo {
    name: "sockops",
    is_option: true,
    title: "sock_ops of the root cgroup",
    stage: Stage::Established,
    code: HOOK_SOCK_OPS,
    knows_task: false,
    knows_netns: true,
    sees_requests: false,
    needs_btf: false,
    programs: &[Program {
        name: "conn_sockops",
        point: AttachPoint::RootCgroup,
    }],
    counting: &["conn_sockops"],
    counts: "connections established by a listener, or opened by Fast Open",
    exact: "yes, see Limitations",
    needs: "`CAP_NET_ADMIN`, and the root of cgroup v2",
};

const TRACEPOINT: HookInfo = HookInfo {
    name: "tracepoint",
    is_option: true,
    title: "raw tracepoint inet_sock_set_state",
    stage: Stage::Established,
    code: HOOK_TRACEPOINT,
    knows_task: false,
    knows_netns: true,
    sees_requests: false,
    needs_btf: false,
    programs: &[Program {
        name: "conn_state",
        point: AttachPoint::RawTracepoint("inet_sock_set_state"),
    }],
    counting: &["conn_state"],
    counts: "completed handshakes",
    exact: "if the end says that the kernel skipped none, see Limitations",
    needs: "nothing else",
};

const REQUESTS: HookInfo = HookInfo {
    name: "requests",
    is_option: false,
    title: "fentry tcp_conn_request",
    stage: Stage::Syn,
    code: HOOK_REQUESTS,
    knows_task: false,
    knows_netns: true,
    sees_requests: true,
    needs_btf: true,
    programs: &[
        Program {
            name: "conn_request",
            point: AttachPoint::Fentry("tcp_conn_request"),
        },
        Program {
            name: "conn_check_req",
            point: AttachPoint::Fentry("tcp_check_req"),
        },
        Program {
            name: "conn_reset_v4",
            point: AttachPoint::Fentry("tcp_v4_send_reset"),
        },
        Program {
            name: "conn_reset_v6",
            point: AttachPoint::Fentry("tcp_v6_send_reset"),
        },
    ],
    counting: &[
        "conn_request",
        "conn_check_req",
        "conn_reset_v4",
        "conn_reset_v6",
    ],
    counts: "SYNs that reach TCP, after the firewall, in every network namespace",
    exact: "yes, or the end says how many may be missing",
    needs: "BTF and trampolines (x86_64: Linux 5.8; arm64: 6.4)",
};

const FILTER: HookInfo = HookInfo {
    name: "filter",
    is_option: false,
    title: "a socket filter",
    stage: Stage::Syn,
    code: HOOK_FILTER,
    knows_task: false,
    knows_netns: true,
    sees_requests: false,
    needs_btf: false,
    programs: &[Program {
        name: "conn_syn",
        point: AttachPoint::PacketSockets,
    }],
    counting: &["conn_syn"],
    counts: "SYNs that reach IP, before the firewall, in one network namespace",
    exact: "yes",
    needs: "`CAP_NET_RAW`",
};

impl Hook {
    /// All hooks.
    pub const ALL: [Self; 7] = [
        Self::Kretprobe,
        Self::Lsm,
        Self::Fentry,
        Self::SockOps,
        Self::Tracepoint,
        Self::Requests,
        Self::Filter,
    ];

    /// What is known of it.
    #[must_use]
    pub fn info(self) -> &'static HookInfo {
        match self {
            Self::Kretprobe => &KRETPROBE,
            Self::Lsm => &LSM,
            Self::Fentry => &FENTRY,
            Self::SockOps => &SOCK_OPS,
            Self::Tracepoint => &TRACEPOINT,
            Self::Requests => &REQUESTS,
            Self::Filter => &FILTER,
        }
    }

    /// Its name in JSON and for `--probe`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The stage that it sees.
    #[must_use]
    pub fn stage(self) -> Stage {
        self.info().stage
    }

    /// The hook with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// The hook with this code in events.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.info().code == code)
    }

    /// The functions that its programs are attached to through kprobes or trampolines.
    pub fn functions(self) -> impl Iterator<Item = &'static str> {
        self.info()
            .programs
            .iter()
            .filter_map(|program| match program.point {
                AttachPoint::Kprobe(function)
                | AttachPoint::Kretprobe(function)
                | AttachPoint::Fentry(function)
                | AttachPoint::Lsm { function, .. } => Some(function),
                AttachPoint::RawTracepoint(_)
                | AttachPoint::RootCgroup
                | AttachPoint::PacketSockets => None,
            })
    }

    /// The functions whose ids in the kernel's BTF its programs are attached by.
    pub fn btf_functions(self) -> impl Iterator<Item = &'static str> {
        self.info()
            .programs
            .iter()
            .filter_map(|program| match program.point {
                AttachPoint::Fentry(function) | AttachPoint::Lsm { function, .. } => Some(function),
                AttachPoint::Kprobe(_)
                | AttachPoint::Kretprobe(_)
                | AttachPoint::RawTracepoint(_)
                | AttachPoint::RootCgroup
                | AttachPoint::PacketSockets => None,
            })
    }

    /// Whether what it needs is shown in sysfs: kprobes as events, or BTF.
    #[must_use]
    pub fn needs_sysfs(self) -> bool {
        self.needs_kprobes() || self.info().needs_btf
    }

    /// Whether its programs run through the kernel's function tracer, which can be switched off. On
    /// aarch64 those of kprobes do not: they are breakpoints there.
    #[must_use]
    pub fn needs_ftrace(self) -> bool {
        let kprobes_need_it = cfg!(target_arch = "x86_64");
        self.btf_functions().next().is_some() || kprobes_need_it && self.needs_kprobes()
    }

    /// Whether its programs read memory that the verifier does not know, which a kernel that is locked
    /// down for confidentiality forbids. Packets are no memory that it knows.
    #[must_use]
    pub fn reads_kernel_memory(self) -> bool {
        let reads = |program: &Program| match program.point {
            AttachPoint::Kprobe(_) | AttachPoint::Kretprobe(_) | AttachPoint::RawTracepoint(_) => {
                true
            }
            AttachPoint::Fentry(_)
            | AttachPoint::Lsm { .. }
            | AttachPoint::RootCgroup
            | AttachPoint::PacketSockets => false,
        };
        self.info().sees_requests || self.info().programs.iter().any(reads)
    }

    /// Whether it needs kprobes, which are attached through perf events: these are what
    /// `kernel.perf_event_paranoid` restricts.
    #[must_use]
    pub fn needs_kprobes(self) -> bool {
        let is_kprobe = |program: &Program| {
            matches!(
                program.point,
                AttachPoint::Kprobe(_) | AttachPoint::Kretprobe(_)
            )
        };
        self.info().programs.iter().any(is_kprobe)
    }
}

/// What is hooked.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().title)
    }
}

/// The hooks that see a stage, in the order in which those that are exact are tried. Where none sees
/// accepts, completed handshakes are counted instead.
#[must_use]
pub fn candidates(stage: Stage) -> &'static [Hook] {
    match stage {
        Stage::Accepted => &[
            Hook::Kretprobe,
            Hook::Lsm,
            Hook::Fentry,
            Hook::SockOps,
            Hook::Tracepoint,
        ],
        Stage::Established => &[Hook::SockOps, Hook::Tracepoint],
        Stage::Syn => &[Hook::Requests, Hook::Filter],
    }
}

/// What the options need to know of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Who accepts.
    pub task: bool,
    /// The network namespace.
    pub netns: bool,
    /// On which interface a SYN comes.
    pub interface: bool,
}

impl Needs {
    /// Whether a hook knows it.
    #[must_use]
    pub fn are_met_by(self, hook: Hook) -> bool {
        let info = hook.info();
        (info.knows_task || !self.task)
            && (info.knows_netns || !self.netns)
            && !(info.sees_requests && self.interface)
    }
}

/// The hooks for the stage that is counted: the `chosen` one, or all candidates that know what the
/// options need.
///
/// # Errors
/// Why the chosen hook cannot be used with these options.
pub fn counting_candidates(
    chosen: Option<Hook>,
    stages: &WatchedStages,
    needs: Needs,
) -> Result<Vec<Hook>, String> {
    let candidates = candidates(stages.counted());
    let Some(hook) = chosen else {
        let usable = candidates.iter().copied();
        return Ok(usable.filter(|hook| needs.are_met_by(*hook)).collect());
    };
    if !candidates.contains(&hook) {
        return Err(format!(
            "--probe {} sees accepted connections, which --event does not include",
            hook.name()
        ));
    }
    if needs.netns && !hook.info().knows_netns {
        return Err(format!(
            "--probe {} does not know the network namespace: it cannot be used with --netns",
            hook.name()
        ));
    }
    if needs.task && !hook.info().knows_task {
        return Err(format!(
            "--probe {} does not know the accepting process: it cannot be used with --pid, --comm, \
             --uid, --cgroup, nor with --by process, cgroup or user",
            hook.name()
        ));
    }
    Ok(vec![hook])
}
