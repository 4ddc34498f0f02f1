//! Why a hook cannot be used here and what to do about it, in one line.

#[cfg(test)]
mod tests;

use std::{fmt, io};

use aya::{maps::MapError, programs::ProgramError};

use crate::model::{
    hook::{AttachPoint, Hook},
    self_test::SilentCause,
};

/// Why a hook cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The process may not load eBPF programs.
    NotPermitted,
    /// The process is in a user namespace, whose capabilities are not those of the machine.
    UserNamespace,
    /// The kernel does not permit it, though the capabilities are there.
    Denied,
    /// The kernel has no BPF ring buffer.
    NoRingBuffer,
    /// The maps exceed the memory lock limit, in bytes.
    MemoryLock(u64),
    /// `kernel.perf_event_paranoid` has this value, with which Debian's kernels restrict
    /// `perf_event_open`, and so kprobes, to `CAP_SYS_ADMIN`.
    PerfParanoid(i32),
    /// The kernel is locked down for confidentiality.
    Lockdown,
    /// There is no sysfs, in which the kernel shows its features.
    NoSysfs,
    /// The kernel was built without kprobes.
    NoKprobes,
    /// The kernel has no such function to hook.
    NoSymbol(&'static str),
    /// The kernel does not publish its types.
    NoBtf,
    /// Its types are not those of packets that the programs can read.
    NoPacketTypes,
    /// The kernel cannot attach a trampoline.
    NoTrampolines,
    /// `bpf` is not among the active security modules.
    NoBpfLsm,
    /// The active security modules are unknown because securityfs is not readable.
    NoSecurityfs,
    /// The kernel has no such tracepoint.
    NoTracepoint,
    /// There is not enough memory for maps of the requested sizes.
    NoMemory,
    /// The kernel's verifier rejects the program.
    Rejected,
    /// The process may not load programs that see all network namespaces.
    NoNetAdmin,
    /// The root of cgroup v2 cannot be reached, as within a cgroup namespace.
    NoRootCgroup,
    /// A program is attached to the root cgroup that allows no other one.
    RootCgroupTaken,
    /// The process may not open packet sockets.
    NoPacketSockets,
    /// There is no interface of this name.
    NoInterface(String),
    /// The interface is a VRF: IP gets packets on its members.
    VrfInterface(String, Vec<String>),
    /// The interface is a port of another one, of a bridge for example, on which IP gets its packets.
    PortInterface(String, String),
    /// The kernel's function tracer is switched off, without which the programs do not run.
    FtraceOff,
    /// It attaches, and does not see conn-cli's own connection.
    Silent(SilentCause),
    /// The hook of an earlier stage cannot be used, for this reason.
    Earlier(Hook, Box<Self>),
    /// Any other error, with the system's text.
    Other(String),
}

/// What this machine supports, looked up after a hook could not be attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The kernel is locked down for confidentiality.
    pub(super) confidential: bool,
    /// sysfs is mounted.
    pub(super) sysfs: bool,
    /// The kernel has kprobes.
    pub(super) kprobes: bool,
    /// A function to hook that is not among the kernel's symbols.
    pub(super) missing_symbol: Option<&'static str>,
    /// The kernel publishes its types.
    pub(super) btf: bool,
    /// The memory lock limit in bytes, if maps are charged to it.
    pub(super) memory_lock: Option<u64>,
    /// The process has the capabilities that every hook needs.
    pub(super) capable: bool,
    /// The process is in the initial user namespace.
    pub(super) initial_user_namespace: bool,
    /// The kernel has BPF ring buffers.
    pub(super) ring_buffer: bool,
    /// `kernel.perf_event_paranoid`, if it is above 2, the highest level of the mainline kernel.
    pub(super) perf_paranoid: Option<i32>,
}

impl Refusal {
    /// Derives the refusal from the error and the facts about the machine.
    pub(super) fn explain(hook: Hook, error: &anyhow::Error, facts: &Facts) -> Self {
        if let Some(refusal) = error.downcast_ref::<Self>() {
            return refusal.clone();
        }
        let errno = errno(error);
        match facts.missing_symbol {
            _ if !facts.ring_buffer => Self::NoRingBuffer,
            _ if !facts.sysfs && hook.needs_sysfs() => Self::NoSysfs,
            _ if facts.confidential && hook.reads_kernel_memory() => Self::Lockdown,
            _ if hook.needs_kprobes() && !facts.kprobes => Self::NoKprobes,
            _ if hook.info().needs_btf && !facts.btf => Self::NoBtf,
            Some(symbol) if hook.functions().any(|function| function == symbol) => {
                Self::NoSymbol(symbol)
            }
            // The verifier uses the same error numbers as a lack of privileges.
            _ if is_rejected(error) => Self::Rejected,
            _ if let (Some(libc::EPERM), Some(limit)) = (errno, facts.memory_lock) => {
                Self::MemoryLock(limit)
            }
            _ if error.chain().any(|cause| cause.is::<MapError>()) => match errno {
                Some(libc::EPERM) => Self::not_permitted(facts),
                Some(libc::ENOMEM | libc::E2BIG) => Self::NoMemory,
                _ => Self::Other(format!("{error:#}")),
            },
            _ => Self::explain_attach(hook, errno, facts)
                .unwrap_or_else(|| Self::Other(format!("{error:#}"))),
        }
    }

    /// Derives it from the error number of loading or attaching.
    fn explain_attach(hook: Hook, errno: Option<i32>, facts: &Facts) -> Option<Self> {
        let errno = errno?;
        let is_denied = matches!(errno, libc::EPERM | libc::EACCES);
        let has = |is_point: fn(&AttachPoint) -> bool| {
            let mut programs = hook.info().programs.iter();
            programs.any(|program| is_point(&program.point))
        };
        let is_trampoline =
            |point: &AttachPoint| matches!(point, AttachPoint::Fentry(_) | AttachPoint::Lsm { .. });
        let is_tracepoint = |point: &AttachPoint| matches!(point, AttachPoint::RawTracepoint(_));
        match facts.perf_paranoid {
            _ if has(is_tracepoint) && errno == libc::ENOENT => Some(Self::NoTracepoint),
            // The privileges were checked before, so these errors mean that the kernel has no
            // trampolines for this function.
            _ if has(is_trampoline)
                && matches!(errno, libc::EPERM | libc::EINVAL | libc::ENOENT | ENOTSUPP) =>
            {
                Some(Self::NoTrampolines)
            }
            Some(level) if is_denied && hook.needs_kprobes() => Some(Self::PerfParanoid(level)),
            _ if is_denied => Some(Self::not_permitted(facts)),
            _ => None,
        }
    }

    fn not_permitted(facts: &Facts) -> Self {
        if !facts.initial_user_namespace {
            Self::UserNamespace
        } else if facts.capable {
            Self::Denied
        } else {
            Self::NotPermitted
        }
    }

    /// Whether the remedy is to use another hook.
    #[must_use]
    pub fn advises_another_hook(&self) -> bool {
        matches!(self.remedy(), Some(Remedy::AnotherHook(_)))
    }

    /// Whether every other hook would fail, too.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NotPermitted
                | Self::UserNamespace
                | Self::NoRingBuffer
                | Self::MemoryLock(_)
                | Self::NoMemory
                | Self::NoPacketSockets
                | Self::NoInterface(_)
                | Self::VrfInterface(..)
                | Self::PortInterface(..)
                | Self::Earlier(..)
        )
    }
}

/// The system's error number, if the error has one.
pub(super) fn errno(error: &anyhow::Error) -> Option<i32> {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .find_map(io::Error::raw_os_error)
}

/// Whether the verifier has checked the program and rejected it.
fn is_rejected(error: &anyhow::Error) -> bool {
    let log = error.chain().find_map(|cause| match cause.downcast_ref()? {
        ProgramError::LoadError { verifier_log, .. } => Some(verifier_log.to_string()),
        _ => None,
    });
    log.is_some_and(|log| log.contains("processed "))
}

/// Internal to the kernel and in no C library: `include/linux/errno.h`.
const ENOTSUPP: i32 = 524;

impl Refusal {
    /// What is missing, or what prevents the use of the hook.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::NotPermitted => "not permitted to load eBPF programs".to_owned(),
            Self::UserNamespace => {
                "not permitted in a user namespace, such as that of a rootless container".to_owned()
            }
            Self::Denied => "the kernel does not permit it, although the capabilities are there"
                .to_owned(),
            Self::NoRingBuffer => {
                "this kernel has no BPF ring buffer (in Linux since 5.8)".to_owned()
            }
            Self::MemoryLock(limit) => format!(
                "the memory lock limit of {} KiB is too low for this kernel",
                limit / 1024
            ),
            Self::PerfParanoid(level) => format!(
                "kernel.perf_event_paranoid is {level}, which leaves kprobes to CAP_SYS_ADMIN"
            ),
            Self::Lockdown => {
                "the kernel is locked down (confidentiality mode), which forbids kprobes and reading \
                 kernel memory"
                    .to_owned()
            }
            Self::NoSysfs => "sysfs is not mounted on /sys".to_owned(),
            Self::NoKprobes => "this kernel has no kprobes (CONFIG_KPROBES is off)".to_owned(),
            Self::NoSymbol(symbol) => format!("this kernel has no function {symbol} to hook"),
            Self::NoBtf => "this kernel has no BTF (/sys/kernel/btf/vmlinux)".to_owned(),
            Self::NoPacketTypes => "this kernel's BTF lacks fields of packets".to_owned(),
            Self::NoTrampolines => {
                "this kernel cannot attach trampolines (no ftrace with direct calls)".to_owned()
            }
            Self::NoBpfLsm => {
                "bpf is not among the active security modules (/sys/kernel/security/lsm)".to_owned()
            }
            Self::NoSecurityfs => "cannot read which security modules are active \
                                   (/sys/kernel/security/lsm)"
                .to_owned(),
            Self::NoTracepoint => "this kernel has no tracepoint inet_sock_set_state".to_owned(),
            Self::NoMemory => "not enough kernel memory for maps of these sizes".to_owned(),
            Self::Rejected => "the kernel's verifier rejects the eBPF program".to_owned(),
            Self::NoNetAdmin => "sock_ops programs need CAP_NET_ADMIN".to_owned(),
            Self::NoRootCgroup => {
                "the root of cgroup v2 is not mounted here, and cannot be mounted or entered".to_owned()
            }
            Self::RootCgroupTaken => {
                "another program is attached to the root cgroup that allows no other one".to_owned()
            }
            Self::NoPacketSockets => "not permitted to open packet sockets".to_owned(),
            Self::NoInterface(name) => format!("there is no interface {name}"),
            Self::VrfInterface(name, members) => match members[..] {
                [] => format!("{name} is a VRF without interfaces, and has no packets of its own"),
                _ => format!(
                    "{name} is a VRF, whose packets come in on its interfaces: {}",
                    members.join(", ")
                ),
            },
            Self::PortInterface(name, master) => {
                format!("{name} is a port of {master}, on which its packets are seen")
            }
            Self::FtraceOff => {
                "kernel.ftrace_enabled is 0, without which it does not run".to_owned()
            }
            Self::Silent(cause) => {
                format!("it attaches, but does not see conn-cli's own connection: {cause}")
            }
            Self::Earlier(hook, why) => format!("cannot use {hook}: {}", why.reason()),
            Self::Other(text) => text.clone(),
        }
    }

    /// What to do about it. None for errors with the system's text.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        use Remedy::{AnotherHook, Other};
        Some(match self {
            Self::NotPermitted => Other(
                "run it with sudo, or give it CAP_BPF and CAP_PERFMON (setcap \
                 cap_bpf,cap_perfmon+ep)",
            ),
            Self::NoPacketSockets => Other("run it with sudo, or give it CAP_NET_RAW, too"),
            Self::NoNetAdmin => Other("run it with sudo, or give it CAP_NET_ADMIN, too"),
            Self::NoRootCgroup => AnotherHook(
                "run it with CAP_SYS_ADMIN, and outside of a container, or use another --probe",
            ),
            Self::NoInterface(_) => Other("'ip link' lists them"),
            Self::VrfInterface(..) | Self::PortInterface(..) => Other("use that with --interface"),
            Self::UserNamespace => Other("run it outside of the container"),
            Self::Denied => Other(
                "see what the kernel's log says of it; security modules and seccomp filters can forbid it",
            ),
            Self::NoRingBuffer => Other("boot a newer kernel"),
            Self::MemoryLock(_) => {
                Other("raise it with 'ulimit -l unlimited', or run it with sudo")
            }
            Self::PerfParanoid(_) => Other(
                "run it with sudo, use --probe fentry, or set it with 'sysctl \
                 kernel.perf_event_paranoid=2'",
            ),
            Self::Lockdown => {
                AnotherHook("use another --probe, or leave it out, or boot with lockdown=integrity")
            }
            Self::NoSysfs => Other("mount it with 'mount -t sysfs sysfs /sys'"),
            Self::NoKprobes | Self::NoSymbol(_) => {
                AnotherHook("use another --probe, or leave it out")
            }
            Self::NoBtf
            | Self::NoPacketTypes
            | Self::NoTrampolines
            | Self::RootCgroupTaken
            | Self::NoTracepoint => AnotherHook("use another --probe, or leave it out"),
            Self::NoBpfLsm => AnotherHook(
                "use another --probe, or leave it out, or boot with bpf in the kernel's lsm=",
            ),
            Self::NoSecurityfs => AnotherHook(
                "use another --probe, or leave it out, or mount it with 'mount -t securityfs \
                 securityfs /sys/kernel/security'",
            ),
            Self::NoMemory => Other("choose a smaller --max-clients or --buffer-size"),
            Self::Rejected => AnotherHook("use another --probe, and please report what -v shows"),
            Self::FtraceOff | Self::Silent(SilentCause::FtraceOff) => {
                AnotherHook("use another --probe, or set it with 'sysctl kernel.ftrace_enabled=1'")
            }
            Self::Silent(SilentCause::KprobesOff) => {
                AnotherHook("use another --probe, or write 1 to that file")
            }
            Self::Silent(SilentCause::Unknown) => {
                AnotherHook("use another --probe, or leave it out")
            }
            Self::Earlier(_, why) => return why.remedy(),
            Self::Other(_) => return None,
        })
    }
}

/// What to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// First of all, to use another hook.
    AnotherHook(&'static str),
    /// Something else.
    Other(&'static str),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::AnotherHook(text) | Self::Other(text)) = self;
        f.write_str(text)
    }
}

/// The reason and the remedy, on one line.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        match self.remedy() {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}
