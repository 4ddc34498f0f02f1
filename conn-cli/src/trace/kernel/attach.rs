//! Loading the programs of a hook and attaching them.

use std::{fs, os::fd::OwnedFd};

use anyhow::Context as _;
use aya::{
    Btf, Ebpf,
    programs::{
        FEntry, KProbe, Lsm, RawTracePoint, SockOps, SocketFilter, fentry::FEntryLink,
        lsm::LsmLink, raw_trace_point::RawTracePointLink,
    },
};
use aya_obj::btf::{BtfType, Func, FuncLinkage};
use conn_common::UNKNOWN_OFFSET;
use rustix::thread::{CapabilitySet, capabilities};

use super::{
    KernelTypes, Refusal, Settings, cgroup, counters, facts,
    kprobe::{self, At},
    object::{self, Object},
    root_cgroup,
    self_test::is_ftrace_off,
    sockets,
};
use crate::{
    model::{
        hook::{AttachPoint, Hook, Program, candidates},
        self_test::SelfTestResult,
        stage::Stage,
    },
    system::memory,
};

/// An attached program. Dropping the link detaches it.
#[derive(Debug)]
#[expect(dead_code, reason = "the links are only held until they are dropped")]
pub(super) enum Link {
    /// The event of a kprobe.
    Kprobe(OwnedFd),
    Lsm(LsmLink),
    FEntry(FEntryLink),
    RawTracepoint(RawTracePointLink),
    /// The link to the root cgroup.
    RootCgroup(OwnedFd),
    /// A packet socket, which keeps its filter until it is closed.
    Socket(OwnedFd),
}

/// Loaded programs and their links, which are detached in order.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) ebpf: Ebpf,
    pub(super) links: Vec<Link>,
    /// The hooks of the earlier stages, in the order of the stages.
    pub(super) earlier: Vec<Hook>,
    /// Why SYNs are not seen by the hook that sees them in TCP.
    pub(super) passed_over: Vec<(Hook, String)>,
    /// What the self-test found: if one hook was not tested, why.
    pub(super) self_test: SelfTestResult,
}

/// Loads and attaches `hook`, for the stage that is counted, and a hook for each earlier stage.
///
/// The stages are attached in order and detached in reverse order, so that no connection is seen
/// only at a later stage.
///
/// # Errors
/// An error of the system, or a [`Refusal`].
pub(super) fn attach(hook: Hook, settings: &Settings) -> anyhow::Result<Attached> {
    let stages = settings.stages.counting(hook.stage());
    let object = Object::with(hook, &stages, settings.types.has_btf());
    let mut ebpf = object::open(object, settings, &stages)?;
    if let Some(directory) = &settings.task.cgroup {
        cgroup::set(&mut ebpf, directory)?;
    }
    let mut links = Vec::new();
    let mut earlier = Vec::new();
    let mut passed_over = Vec::new();
    let mut self_test = SelfTestResult::Passed;
    for stage in stages.earlier() {
        let (hook, stage_links, result) =
            attach_earlier(stage, &mut ebpf, settings, &mut passed_over)?;
        earlier.push(hook);
        links.splice(0..0, stage_links);
        if result != SelfTestResult::Passed {
            self_test = result;
        }
    }
    let (hook_links, result) = attach_and_test(hook, &mut ebpf, settings)?;
    links.splice(0..0, hook_links);
    if result != SelfTestResult::Passed {
        self_test = result;
    }
    Ok(Attached {
        ebpf,
        links,
        earlier,
        passed_over,
        self_test,
    })
}

/// Attaches the first hook that can be used for an earlier stage. `passed_over`: where to say why the
/// one that sees SYNs in TCP cannot.
fn attach_earlier(
    stage: Stage,
    ebpf: &mut Ebpf,
    settings: &Settings,
    passed_over: &mut Vec<(Hook, String)>,
) -> Result<(Hook, Vec<Link>, SelfTestResult), Refusal> {
    let mut refused = None;
    let needs = settings.needs_earlier();
    let is_usable = |hook: &&Hook| needs.are_met_by(**hook);
    for &hook in candidates(stage).iter().filter(is_usable) {
        match attach_and_test(hook, ebpf, settings) {
            Ok((links, result)) => {
                log::debug!("{hook} counts {}", hook.info().counts);
                return Ok((hook, links, result));
            }
            Err(error) => {
                let why = Refusal::explain(hook, &error, &facts::gather(hook, &error));
                log::debug!("{hook}: {error:?}");
                if hook.info().sees_requests {
                    passed_over.push((hook, why.reason()));
                }
                refused = Some(Refusal::Earlier(hook, why.into()));
            }
        }
    }
    Err(refused.unwrap_or_else(|| Refusal::Other(format!("no hook sees {}", stage.name()))))
}

/// Attaches a hook, and sees that it runs.
fn attach_and_test(
    hook: Hook,
    ebpf: &mut Ebpf,
    settings: &Settings,
) -> anyhow::Result<(Vec<Link>, SelfTestResult)> {
    // Not to be tried: on Linux 6.1, ftrace fails for good once a probe that was attached while it was
    // off is removed.
    if hook.needs_ftrace() && is_ftrace_off() {
        return Err(Refusal::FtraceOff.into());
    }
    if hook.info().sees_requests {
        check_requests(settings)?;
    }
    let links = attach_hook(hook, ebpf, settings)?;
    let result = match settings.self_test.as_ref() {
        _ if !settings.is_testable(hook) => SelfTestResult::Passed,
        Ok(self_test) => self_test.run(&counters::Live::new(ebpf)?, &[hook.stage()]),
        Err(why) => SelfTestResult::NotTested(why.clone()),
    };
    match result {
        SelfTestResult::Silent(_, cause) => Err(Refusal::Silent(cause).into()),
        SelfTestResult::Passed | SelfTestResult::NotTested(_) => Ok((links, result)),
    }
}

/// Checks that the kernel's BTF has what the programs that see SYNs in TCP need.
fn check_requests(settings: &Settings) -> Result<(), Refusal> {
    let types = &settings.types;
    let knows_netns = settings.namespaces.one().is_none()
        || types.offsets.netns_inum != UNKNOWN_OFFSET && types.offsets.net != UNKNOWN_OFFSET;
    let is_known = knows_netns && types.request_offsets.is_some();
    if types.has_btf() && !is_known {
        return Err(Refusal::NoPacketTypes);
    }
    Ok(())
}

/// Loads and attaches the programs of a hook, the last one first.
fn attach_hook(hook: Hook, ebpf: &mut Ebpf, settings: &Settings) -> anyhow::Result<Vec<Link>> {
    let mut links = Vec::new();
    let btf = btf_with_functions(hook, &settings.types)?;
    for program in hook.info().programs.iter().rev() {
        let program_links = attach_program(program, ebpf, settings, &btf)?;
        links.splice(0..0, program_links);
    }
    Ok(links)
}

fn attach_program(
    program: &Program,
    ebpf: &mut Ebpf,
    settings: &Settings,
    btf: &Btf,
) -> anyhow::Result<Vec<Link>> {
    let name = program.name;
    Ok(match program.point {
        AttachPoint::Kprobe(function) => vec![attach_kprobe(ebpf, name, function, At::Entry)?],
        AttachPoint::Kretprobe(function) => vec![attach_kprobe(ebpf, name, function, At::Return)?],
        AttachPoint::Fentry(function) => {
            let program: &mut FEntry = find(ebpf, name)?;
            program.load(function, btf).context(CANNOT_LOAD)?;
            let link = program.attach();
            let link = link.with_context(|| format!("cannot attach to {function}"))?;
            vec![Link::FEntry(program.take_link(link)?)]
        }
        AttachPoint::Lsm { hook, .. } => {
            check_bpf_lsm()?;
            let program: &mut Lsm = find(ebpf, name)?;
            program.load(hook, btf).context(CANNOT_LOAD)?;
            let link = program.attach();
            let link = link.with_context(|| format!("cannot attach to {hook}"))?;
            vec![Link::Lsm(program.take_link(link)?)]
        }
        AttachPoint::RawTracepoint(tracepoint) => {
            let program: &mut RawTracePoint = find(ebpf, name)?;
            program.load().context(CANNOT_LOAD)?;
            let link = program.attach(tracepoint);
            let link = link.with_context(|| format!("cannot attach to {tracepoint}"))?;
            vec![Link::RawTracepoint(program.take_link(link)?)]
        }
        AttachPoint::RootCgroup => {
            require_net_admin()?;
            let root = root_cgroup::open()?;
            let program: &mut SockOps = find(ebpf, name)?;
            program.load().context(CANNOT_LOAD)?;
            vec![Link::RootCgroup(root_cgroup::attach(program.fd()?, &root)?)]
        }
        AttachPoint::PacketSockets => {
            let sockets = sockets::open(&settings.syn_scope)?;
            let program: &mut SocketFilter = find(ebpf, name)?;
            program.load().context(CANNOT_LOAD)?;
            let attach = |socket: sockets::Socket| {
                program
                    .attach(&socket.fd)
                    .context("cannot attach to a packet socket")?;
                socket.bind().context("cannot bind a packet socket")?;
                anyhow::Ok(Link::Socket(socket.fd))
            };
            sockets
                .into_iter()
                .map(attach)
                .collect::<anyhow::Result<_>>()?
        }
    })
}

fn attach_kprobe(ebpf: &mut Ebpf, name: &str, function: &str, at: At) -> anyhow::Result<Link> {
    let program: &mut KProbe = find(ebpf, name)?;
    program.load().context(CANNOT_LOAD)?;
    let event = kprobe::attach(program.fd()?, function, at);
    let event = event.with_context(|| format!("cannot attach to {function}"))?;
    Ok(Link::Kprobe(event))
}

/// The kernel loads a `sock_ops` program only for who has this (`kernel/bpf/syscall.c`,
/// `is_net_admin_prog_type`).
fn require_net_admin() -> Result<(), Refusal> {
    // If the capabilities cannot be read, the kernel decides.
    let wanted = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
    match capabilities(None) {
        Ok(sets) if !sets.effective.intersects(wanted) => Err(Refusal::NoNetAdmin),
        _ => Ok(()),
    }
}

const CANNOT_LOAD: &str = "cannot load the program";

/// The comma-separated list of active security modules.
const ACTIVE_MODULES: &str = "/sys/kernel/security/lsm";

/// Without the BPF LSM, an LSM program still attaches but never runs.
fn check_bpf_lsm() -> Result<(), Refusal> {
    let active = fs::read_to_string(ACTIVE_MODULES).map_err(|_| Refusal::NoSecurityfs)?;
    if active.trim_end().split(',').any(|module| module == "bpf") {
        Ok(())
    } else {
        Err(Refusal::NoBpfLsm)
    }
}

/// BTF that contains only the functions that the hook's programs are attached to, with their ids in the
/// kernel's BTF. aya looks these up there, but parsing that takes longer than the rest of the startup. A
/// function that the kernel does not have is missing here, too.
///
/// # Errors
/// There may not be the memory for it: then the kernel would end conn-cli.
fn btf_with_functions(hook: Hook, types: &KernelTypes) -> Result<Btf, Refusal> {
    let id = |function| Some((types.function_id(function)?, function));
    let mut functions: Vec<_> = hook.btf_functions().filter_map(id).collect();
    functions.sort_unstable();
    let last = functions.last().map_or(0, |(id, _)| *id);
    // While a list with spare entries gets twice as large, half of it is there twice.
    let bytes = u64::from(last.next_power_of_two()) * size_of::<BtfType>() as u64 * 3 / 2;
    if memory::size().is_some_and(|memory| bytes > memory / 2) {
        return Err(Refusal::Other(format!(
            "there is not enough memory for the list of the kernel's functions, {bytes} bytes"
        )));
    }
    Ok(btf_with(&functions))
}

/// `functions`: ids, ascending, and names.
fn btf_with(functions: &[(u32, &str)]) -> Btf {
    let mut btf = Btf::new();
    // Id 0, void, already exists.
    let mut next = 1;
    for &(id, name) in functions {
        for _ in next..id {
            btf.add_type(BtfType::Unknown);
        }
        let name = btf.add_string(name);
        btf.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Static)));
        next = id + 1;
    }
    btf
}

fn find<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
    <&'a mut P as TryFrom<&'a mut aya::programs::Program>>::Error:
        std::error::Error + Send + Sync + 'static,
{
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("the eBPF object has no program {name}"))?;
    Ok(program.try_into()?)
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;
    use crate::model::hook::GRAFT;

    #[test]
    fn aya_finds_the_functions_ids() {
        for id in [1, 2, 30_000] {
            let btf = btf_with(&[(id, GRAFT), (id + 1, "next"), (id + 9, "last")]);
            for (name, id) in [(GRAFT, id), ("next", id + 1), ("last", id + 9)] {
                let found = btf.id_by_type_name_kind(name, BtfKind::Func);
                assert_eq!(found.unwrap(), id);
            }
        }
    }
}
