//! Loading the programs of a hook and attaching them.

use std::{fs, io, os::fd::OwnedFd, path::Path};

use anyhow::Context as _;
use aya::{
    Btf, Ebpf,
    programs::{
        FEntry, KProbe, Lsm, SocketFilter, TracePoint, fentry::FEntryLink, kprobe::KProbeLink,
        lsm::LsmLink, trace_point::TracePointLink,
    },
};
use aya_obj::btf::{BtfType, Func, FuncLinkage};

use super::{
    KernelTypes, Refusal, Settings, cgroup, facts,
    object::{self, Object},
    sockets,
};
use crate::model::{
    hook::{AttachPoint, Hook, Program, candidates},
    stage::Stage,
};

/// An attached program. Dropping the link detaches it.
#[derive(Debug)]
#[expect(dead_code, reason = "the links are only held until they are dropped")]
pub(super) enum Link {
    KProbe(KProbeLink),
    Lsm(LsmLink),
    FEntry(FEntryLink),
    TracePoint(TracePointLink),
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
    let mut ebpf = object::open(Object::with(hook), settings, &stages)?;
    if let Some(directory) = &settings.task.cgroup {
        cgroup::set(&mut ebpf, directory)?;
    }
    let mut links = Vec::new();
    let mut earlier = Vec::new();
    for stage in stages.earlier() {
        let (hook, stage_links) = attach_earlier(stage, &mut ebpf, settings)?;
        earlier.push(hook);
        links.splice(0..0, stage_links);
    }
    links.splice(0..0, attach_hook(hook, &mut ebpf, settings)?);
    Ok(Attached {
        ebpf,
        links,
        earlier,
    })
}

/// Attaches the first hook that can be used for an earlier stage.
fn attach_earlier(
    stage: Stage,
    ebpf: &mut Ebpf,
    settings: &Settings,
) -> Result<(Hook, Vec<Link>), Refusal> {
    let mut refused = None;
    for &hook in candidates(stage) {
        match attach_hook(hook, ebpf, settings) {
            Ok(links) => return Ok((hook, links)),
            Err(error) => {
                let why = Refusal::explain(hook, &error, &facts::gather(hook));
                log::debug!("{hook}: {error:?}");
                refused = Some(Refusal::Earlier(hook, why.into()));
            }
        }
    }
    Err(refused.unwrap_or_else(|| Refusal::Other(format!("no hook sees {}", stage.name()))))
}

/// Loads and attaches the programs of a hook, the last one first.
fn attach_hook(hook: Hook, ebpf: &mut Ebpf, settings: &Settings) -> anyhow::Result<Vec<Link>> {
    let mut links = Vec::new();
    for program in hook.info().programs.iter().rev() {
        let program_links = attach_program(program, ebpf, settings)?;
        links.splice(0..0, program_links);
    }
    Ok(links)
}

fn attach_program(
    program: &Program,
    ebpf: &mut Ebpf,
    settings: &Settings,
) -> anyhow::Result<Vec<Link>> {
    let name = program.name;
    let types = &settings.types;
    Ok(match program.point {
        AttachPoint::Kprobe(function) | AttachPoint::Kretprobe(function) => {
            let program: &mut KProbe = find(ebpf, name)?;
            program.load().context(CANNOT_LOAD)?;
            let link = program.attach(function, 0);
            let link = link.with_context(|| format!("cannot attach to {function}"))?;
            vec![Link::KProbe(program.take_link(link)?)]
        }
        AttachPoint::Fentry(function) => {
            let btf = btf_with_function(function, types)?;
            let program: &mut FEntry = find(ebpf, name)?;
            program.load(function, &btf).context(CANNOT_LOAD)?;
            let link = program.attach();
            let link = link.with_context(|| format!("cannot attach to {function}"))?;
            vec![Link::FEntry(program.take_link(link)?)]
        }
        AttachPoint::Lsm { hook, function } => {
            check_bpf_lsm()?;
            let btf = btf_with_function(function, types)?;
            let program: &mut Lsm = find(ebpf, name)?;
            program.load(hook, &btf).context(CANNOT_LOAD)?;
            let link = program.attach();
            let link = link.with_context(|| format!("cannot attach to {hook}"))?;
            vec![Link::Lsm(program.take_link(link)?)]
        }
        AttachPoint::Tracepoint {
            category,
            name: tracepoint,
        } => {
            check_format()?;
            let program: &mut TracePoint = find(ebpf, name)?;
            program.load().context(CANNOT_LOAD)?;
            let link = program.attach(category, tracepoint);
            let link = link.with_context(|| format!("cannot attach to {category}:{tracepoint}"))?;
            vec![Link::TracePoint(program.take_link(link)?)]
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

/// BTF that contains only a function with this name and its id in the kernel's BTF. aya looks the
/// id up there, but parsing that takes longer than the rest of the startup.
fn btf_with_function(name: &str, types: &KernelTypes) -> anyhow::Result<Btf> {
    let id = types.function_id(name);
    let id = id.with_context(|| format!("cannot find {name} in the kernel's BTF"))?;
    Ok(btf_with(name, id))
}

fn btf_with(name: &str, id: u32) -> Btf {
    let mut btf = Btf::new();
    let name = btf.add_string(name);
    // Id 0, void, already exists.
    for _ in 1..id {
        btf.add_type(BtfType::Unknown);
    }
    btf.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Static)));
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

/// The usual mount points of tracefs.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The fields that the program reads: name, offset and size in the tracepoint's format.
const FIELDS: [(&str, u32, u32); 9] = [
    ("skaddr", 8, 8),
    ("oldstate", 16, 4),
    ("newstate", 20, 4),
    ("sport", 24, 2),
    ("dport", 26, 2),
    ("family", 28, 2),
    ("protocol", 30, 2),
    ("saddr_v6", 40, 16),
    ("daddr_v6", 56, 16),
];

/// Checks that the tracepoint's record has the format that the program expects.
fn check_format() -> anyhow::Result<()> {
    for tracefs in TRACEFS {
        let format = Path::new(tracefs).join("events/sock/inet_sock_set_state/format");
        return match fs::read_to_string(format) {
            Ok(format) if has_expected_fields(&format) => Ok(()),
            Ok(_) => Err(Refusal::ChangedTracepoint.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(Refusal::TracefsDenied.into())
            }
            Err(error) => Err(error).context("cannot read the tracepoint's format"),
        };
    }
    Err(Refusal::NoTracepoint.into())
}

fn has_expected_fields(format: &str) -> bool {
    FIELDS.iter().all(|(name, offset, size)| {
        format.lines().any(|line| {
            let mut parts = line.trim().split(';').map(str::trim);
            let declaration = parts.next().unwrap_or_default();
            let named = declaration
                .rsplit([' ', '*'])
                .next()
                .and_then(|last| last.split('[').next());
            named == Some(name)
                && parts.next() == Some(&format!("offset:{offset}"))
                && parts.next() == Some(&format!("size:{size}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;
    use crate::model::hook::GRAFT;

    /// As Linux 6.1 prints it.
    const FORMAT: &str = "name: inet_sock_set_state
ID: 1453
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;
\tfield:int oldstate;\toffset:16;\tsize:4;\tsigned:1;
\tfield:int newstate;\toffset:20;\tsize:4;\tsigned:1;
\tfield:__u16 sport;\toffset:24;\tsize:2;\tsigned:0;
\tfield:__u16 dport;\toffset:26;\tsize:2;\tsigned:0;
\tfield:__u16 family;\toffset:28;\tsize:2;\tsigned:0;
\tfield:__u16 protocol;\toffset:30;\tsize:2;\tsigned:0;
\tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;
\tfield:__u8 daddr[4];\toffset:36;\tsize:4;\tsigned:0;
\tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:__u8 daddr_v6[16];\toffset:56;\tsize:16;\tsigned:0;
";

    #[test]
    fn aya_finds_the_function_id() {
        for id in [1, 2, 30_000] {
            let btf = btf_with(GRAFT, id);
            let found = btf.id_by_type_name_kind(GRAFT, BtfKind::Func);
            assert_eq!(found.unwrap(), id);
        }
    }

    #[test]
    fn only_the_known_format_is_accepted() {
        assert!(has_expected_fields(FORMAT));
        assert!(!has_expected_fields(
            &FORMAT.replace("offset:24", "offset:26")
        ));
        // The field's size before Linux 5.6
        let narrow = "__u8 protocol;\toffset:30;\tsize:1";
        assert!(!has_expected_fields(
            &FORMAT.replace("__u16 protocol;\toffset:30;\tsize:2", narrow)
        ));
        assert!(!has_expected_fields(""));
    }
}
