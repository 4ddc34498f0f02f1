//! The compiled eBPF programs and their configuration before loading.

use std::io::Read as _;

use anyhow::Context as _;
use aya::{Ebpf, EbpfLoader};
use conn_common::{
    AF_INET, AF_INET6, BY_ADDRESS, BY_CGROUP, BY_NAME, BY_PROCESS, BY_USER, Config, PortBits,
    RequestOffsets, WAIT_STEPS,
};
use lzma_rust2::XzReader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    OverClock, Settings, allocation, counters,
    event::{stage_number, words},
    heavy,
    lockdown::may_be_confidential,
    names, networks, over, series, sizes,
};
use crate::{
    model::{
        connection::Family,
        demand::Reported,
        group::GroupBy,
        hook::{Hook, candidates},
        stage::{Stage, WatchedStages},
    },
    system::machine,
};

/// An object as `build/main.rs` compressed it, and its length before that.
macro_rules! embedded {
    ($name:literal) => {
        (
            &include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".xz"))[..],
            include_bytes!(concat!(env!("EBPF_OBJECTS"), "/", $name)).len(),
        )
    };
}

/// One of the two eBPF objects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Object {
    /// The programs that need no BTF.
    Kprobe,
    /// All programs, since those of a run share their maps. The other one is there because aya loads no
    /// program of an object whose BTF the kernel rejects.
    Btf,
}

impl Object {
    /// The object with the programs of a hook, and of all candidates for these stages that are tried:
    /// those that need BTF only if `has_btf`.
    pub(super) fn with(hook: Hook, stages: &WatchedStages, has_btf: bool) -> Self {
        let needs_btf = |hook: &Hook| hook.info().needs_btf;
        let mut earlier = stages.earlier().flat_map(candidates);
        if needs_btf(&hook) || has_btf && earlier.any(needs_btf) {
            Self::Btf
        } else {
            Self::Kprobe
        }
    }

    /// The content, which is embedded compressed. Aligned as aya needs it, so there may be zeros behind it.
    pub(super) fn content(self) -> Vec<u64> {
        let (packed, len) = match self {
            Self::Kprobe => embedded!("kprobe.o"),
            Self::Btf => embedded!("btf.o"),
        };
        let mut aligned = vec![0_u64; len.div_ceil(size_of::<u64>())];
        let content: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
        XzReader::new(packed, false)
            .read_exact(&mut content[..len])
            .expect("the build has compressed it");
        aligned
    }
}

/// Creates the maps and prepares the programs without loading them. `stages`: those that are watched.
///
/// # Errors
/// An error of the kernel, such as a memory lock limit that is too low.
pub(super) fn open(
    object: Object,
    settings: &Settings,
    stages: &WatchedStages,
) -> anyhow::Result<Ebpf> {
    let networks = networks::ranges(&settings.ends.networks, settings.series.names());
    let config = config(settings, stages, networks::size(&networks));
    let slots = config.slot_mask + 1;
    let max_clients = match config.count_by {
        BY_NAME => 1,
        _ => settings.sizes.max_clients,
    };
    let mut ports = settings.ports.clone();
    if let Ok(self_test) = settings.self_test.as_ref() {
        let port = usize::from(self_test.ports().0);
        ports[port / 64] |= 1 << (port % 64);
    }
    let log_level = if settings.verbose {
        aya_log::Level::Debug as u8
    } else {
        0
    };
    let request_offsets = settings
        .types
        .request_offsets
        .unwrap_or(RequestOffsets::NONE);
    let over_config = OverClock::config(settings.over, settings.by, stages.counted());
    let mut loader = loader();
    loader
        .override_global(
            names::OFFSETS,
            bytemuck::bytes_of(&settings.types.offsets),
            true,
        )
        .override_global(
            names::TASK_OFFSETS,
            bytemuck::bytes_of(&settings.types.task_offsets),
            true,
        )
        .override_global(
            names::REQUEST_OFFSETS,
            bytemuck::bytes_of(&request_offsets),
            // The object without BTF has no such programs.
            false,
        )
        .override_global(names::CONFIG, bytemuck::bytes_of(&config), true)
        .override_global(names::OVER_CONFIG, bytemuck::bytes_of(&over_config), true)
        .override_global(names::PORTS, &ports[..], true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries(names::COUNTERS, slots)
        .map_max_entries(names::WAITS, slots * WAIT_STEPS as u32)
        .map_max_entries(names::HEAVY, (slots * config.heavy_sets).max(1))
        .map_max_entries(names::CLIENTS, max_clients)
        .map_max_entries(names::EVENTS, settings.sizes.buffer)
        .map_max_entries(names::NETWORKS, config.networks.max(1));
    settings.series.layout().size(&mut loader);
    let named = over::named(settings.by);
    if settings.over.is_some() {
        loader
            .map_max_entries(names::OVER, over::entries(settings))
            .map_max_entries(names::OVER_COUNTERS, slots)
            .map_max_entries(names::OVER_NAMES, named.len() as u32 + 1);
    }
    if settings.by.what() == GroupBy::Process {
        loader.map_max_entries(names::NAMES, settings.sizes.max_clients);
    }
    if settings.task.cgroup.is_some() {
        loader.map_max_entries(names::OTHER_CGROUPS, MAX_OTHER_CGROUPS);
    }
    if stages.contains(Stage::Syn) {
        loader
            .map_max_entries(names::SYN_CLIENTS, max_clients)
            .map_max_entries(names::SYNS, sizes::syns(settings.sizes.max_clients));
    }
    if !settings.verbose {
        loader.map_max_entries(names::LOGS, 4096);
    }
    let mut content = object.content();
    if !settings.types.allocates_on_demand {
        allocation::preallocate(bytemuck::cast_slice_mut(&mut content))
            .context("the eBPF object has no map of clients")?;
    }
    let loaded = loader.load(bytemuck::cast_slice(&content));
    let mut ebpf = loaded.context("cannot create the eBPF maps")?;
    if config.networks != 0 {
        networks::set(&mut ebpf, &networks).context("cannot set the networks")?;
    }
    series::fill(&mut ebpf, &settings.series).context("cannot set the labels")?;
    if settings.over.is_some() {
        over::set_names(&mut ebpf, named).context("cannot set the names of networks")?;
    }
    Ok(ebpf)
}

/// A loader without the kernel's BTF. [`EbpfLoader::new`] parses all of it, which takes longer than
/// the rest of the startup and is not needed: the offsets are passed as a constant, so nothing is
/// relocated. aya does without the BTF if it cannot open the file.
///
/// The limit applies to the process, in which no other thread opens files yet. aya probes the
/// kernel's features when it loads something, not here.
fn loader<'a>() -> EbpfLoader<'a> {
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    // A failure only costs time. Raising a limit up to its maximum never fails.
    let _ = setrlimit(Resource::Nofile, none);
    let loader = EbpfLoader::new();
    let _ = setrlimit(Resource::Nofile, limit);
    loader
}

/// The size of the map of other cgroups in which processes accept on the same ports.
const MAX_OTHER_CGROUPS: u32 = 4096;

/// The value of [`Config::emit`]: a bit for each stage whose connections are reported.
fn emit(reported: Reported, stages: &WatchedStages) -> u32 {
    let bit = |stage| 1 << stage_number(stage);
    reported.stages(stages).map(bit).sum()
}

fn config(settings: &Settings, stages: &WatchedStages, networks: u32) -> Config {
    let Settings { ends, task, .. } = settings;
    let layout = settings.series.layout();
    let has_names = settings.series.names().is_some();
    let looks_up = has_names || !ends.networks.is_empty();
    let apart = settings.apart();
    let self_test = settings.self_test.as_ref().as_ref().ok();
    let ports_have_self_test =
        self_test.is_some_and(|test| is_set(&settings.ports, test.ports().0));
    Config {
        emit: emit(settings.demand.reported, stages),
        details: settings.demand.details.into(),
        count_by: match settings.by.what() {
            _ if settings.counts_in_series() => BY_NAME,
            GroupBy::Address | GroupBy::Network(..) | GroupBy::Name(_) | GroupBy::Port => {
                BY_ADDRESS
            }
            GroupBy::Process => BY_PROCESS,
            GroupBy::Cgroup => BY_CGROUP,
            GroupBy::User => BY_USER,
        },
        filters: (settings.leaves_out() || has_names).into(),
        family: match ends.family {
            None => 0,
            Some(Family::Ipv4) => AF_INET.into(),
            Some(Family::Ipv6) => AF_INET6.into(),
        },
        networks: if looks_up { networks } else { 0 },
        by_local_address: ends.local.is_some().into(),
        local_address: ends.local.map_or([0; 2], words),
        netns: settings.namespaces.one().unwrap_or(0),
        without_users: apart.users.into(),
        own_netns: machine::own_netns().unwrap_or(0),
        pid_namespace: machine::inner_pid_namespace().unwrap_or(0),
        by_owner: apart.kernel_threads.into(),
        tgid: task.pid.unwrap_or(0),
        by_uid: task.uid.is_some().into(),
        uid: task.uid.unwrap_or(0),
        by_comm: task.comm.is_some().into(),
        comm: task.comm.map_or([0; 2], |comm| bytemuck::cast(comm.0)),
        by_cgroup: task.cgroup.is_some().into(),
        self_test_address: self_test.map_or([0; 2], |test| words(test.address().into())),
        self_test_tgid: settings.own_tgid().unwrap_or(0),
        self_test_port: self_test.map_or(0, |test| test.ports().0),
        self_test_remote_port: self_test.map_or(0, |test| test.ports().1),
        self_test_port_only: (!ports_have_self_test).into(),
        locked_down: may_be_confidential().into(),
        sums: settings.sums.into(),
        slot_mask: counters::slots() - 1,
        heavy_sets: heavy::sets(stages, counters::slots(), settings.sizes.heavy),
        heavy_seed: heavy::seed(),
        series: layout.series,
        series_slot_mask: layout.slots - 1,
        series_names: layout.names,
        first_clients: layout.clients,
        first_by_syn: (*stages == WatchedStages::only(Stage::Syn)).into(),
    }
}

fn is_set(ports: &PortBits, port: u16) -> bool {
    ports[usize::from(port) / 64] >> (port % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use ::object::ObjectSymbol as _;

    use super::*;

    #[test]
    fn objects_are_those_in_the_tree() {
        let tree = [
            (
                Object::Kprobe,
                &include_bytes!(concat!(env!("EBPF_OBJECTS"), "/kprobe.o"))[..],
            ),
            (
                Object::Btf,
                &include_bytes!(concat!(env!("EBPF_OBJECTS"), "/btf.o"))[..],
            ),
        ];
        for (object, bytes) in tree {
            let content = object.content();
            let content: &[u8] = bytemuck::cast_slice(&content);
            assert!(content.starts_with(bytes), "{object:?}");
        }
    }

    #[test]
    fn each_object_has_the_programs_of_its_hooks_and_of_earlier_stages() {
        for hook in Hook::ALL {
            let stages = WatchedStages::new(Stage::ALL).counting(hook.stage());
            for has_btf in [false, true] {
                let object = Object::with(hook, &stages, has_btf);
                let content = object.content();
                let file = ::object::File::parse(bytemuck::cast_slice(&content)).unwrap();
                let earlier = stages.earlier().flat_map(candidates).copied();
                let earlier = earlier.filter(|hook| has_btf || !hook.info().needs_btf);
                for program in earlier.chain([hook]).flat_map(|hook| hook.info().programs) {
                    let mut symbols = ::object::Object::symbols(&file);
                    let found = symbols.any(|symbol| symbol.name() == Ok(program.name));
                    assert!(found, "{hook}: {}", program.name);
                }
            }
        }
    }
}
