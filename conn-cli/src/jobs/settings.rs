//! What the kernel is told, from the options.

use std::{collections::BTreeSet, rc::Rc};

use anyhow::bail;
use conn_common::{SocketOffsets, UNKNOWN_OFFSET};
use jiff::tz::TimeZone;

use super::target::Target;
use crate::{
    model::{
        demand::Demand,
        filter::Namespaces,
        group::GroupBy,
        options::TraceOptions,
        ports::PortSet,
        stage::{Stage, WatchedStages},
    },
    system::{machine, memory},
    trace::kernel::{
        self, MAX_PORT_LABELS, NamespaceFilter, OverClock, SelfTest, SeriesSettings, Settings,
        SynScope, Tables,
    },
    trace::listeners::Survey,
};

/// The settings for these options.
///
/// # Errors
/// Why they cannot be had on this machine.
pub(super) fn settings(options: &TraceOptions, target: &Target) -> anyhow::Result<Settings> {
    let types = kernel::read_types()?;
    let show = &options.show;
    if options.task.pid.is_some() && !types.knows_ids() {
        bail!(
            "--pid in a PID namespace, as containers have, needs the kernel's BTF, and a kernel that is not \
             locked down: leave out --pid, or run conn-cli outside"
        );
    }
    let by = show.listing.by;
    let series = series(options, target);
    let sizes = kernel::choose_sizes(
        (options.buffer_size, options.max_clients),
        Tables::new(&options.stages, (by, show.over.is_some()), &types, &series),
        machine::processors(),
        memory::size(),
    );
    let zone = if show.utc {
        TimeZone::UTC
    } else {
        TimeZone::system()
    };
    Ok(Settings {
        over: { show.over }.map(|limit| OverClock::begin(limit, &zone)),
        ports: show.ports.bits(),
        stages: options.stages.clone(),
        syn_scope: SynScope {
            interface: options.interface.clone(),
            netns: target.netns_path(),
        },
        ends: show.ends.clone(),
        task: target.task(&options.task),
        namespaces: namespaces(options, target, &types.offsets)?,
        types,
        by,
        demand: Demand::new(show),
        self_test: Rc::new(
            SelfTest::prepare().map_err(|error| {
                format!("conn-cli has no ports for a connection to itself: {error}")
            }),
        ),
        sizes,
        verbose: options.verbose,
        sums: false,
        series,
    })
}

/// What is counted by port and name. Ports have labels if all can, else those that have listeners here.
fn series(options: &TraceOptions, target: &Target) -> SeriesSettings {
    let show = &options.show;
    let metrics = options.metrics.as_ref();
    let named = show.ports.few(MAX_PORT_LABELS);
    let ports = named.or_else(|| metrics.map(|_| listened_on(&show.ports, target.netns())));
    SeriesSettings {
        ports: ports.unwrap_or_default(),
        names: show.names,
        clients: metrics.map_or(0, |metrics| metrics.clients),
        is_on: metrics.is_some() || matches!(show.listing.by.what(), GroupBy::Name(_)),
    }
}

/// The ports with listeners in conn-cli's own network namespace, as far as there are labels.
fn listened_on(ports: &PortSet, netns: Option<u32>) -> Vec<u16> {
    // What it cannot list is said when it searches for the others.
    let survey = Survey::begin(ports, netns).ok();
    let listeners = survey.iter().flat_map(|survey| survey.at_start());
    let ports: BTreeSet<u16> = listeners.map(|listener| listener.address.port()).collect();
    ports.into_iter().take(MAX_PORT_LABELS).collect()
}

/// The requested network namespaces, if the programs can find out that of a connection.
fn namespaces(
    options: &TraceOptions,
    target: &Target,
    offsets: &SocketOffsets,
) -> anyhow::Result<NamespaceFilter> {
    let Some(netns) = target.netns() else {
        return Ok(match options.netns {
            Namespaces::All => NamespaceFilter::All,
            _ => NamespaceFilter::Machine,
        });
    };
    let only_syns = options.stages == WatchedStages::only(Stage::Syn);
    if offsets.netns_inum == UNKNOWN_OFFSET && !only_syns {
        bail!("--netns needs the kernel's BTF (/sys/kernel/btf/vmlinux), which is not there");
    }
    Ok(NamespaceFilter::One(netns))
}
