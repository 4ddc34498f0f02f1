//! What the programs count of labels, which can be read while they run: series of each named port and named
//! network, and the first clients.

use std::{
    net::IpAddr,
    sync::atomic::{Ordering, fence},
};

use anyhow::Context as _;
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Queue},
};
use conn_common::{FirstClient, PORT_LABEL_WORDS, PortBits, Stages};

use super::{
    counters::{self, sum_of_stages},
    event::host,
    mapping::Mapping,
    names,
};
use crate::model::{
    connection::Host,
    group::{GroupBy, Grouping},
    metrics::Series,
    names::NetworkNames,
};

/// How many ports have a label of their own at most.
pub const MAX_PORT_LABELS: usize = 64;

/// How many clients are the first ones at most.
pub const MAX_FIRST_CLIENTS: u32 = 65_536;

/// The most bytes of the series, if they fit at all: with many, fewer processors have slots of their own.
const MAX_BYTES: usize = 4 << 20;

/// A slot begins on a cache line of its own.
const ALIGNED: usize = 8;
const _: () = assert!((ALIGNED * size_of::<Stages>()).is_multiple_of(64));

/// What is counted of labels.
#[derive(Clone, Debug, Default)]
pub struct SeriesSettings {
    /// The ports that have a label, at most [`MAX_PORT_LABELS`].
    pub ports: Vec<u16>,
    /// The names of networks.
    pub names: Option<&'static NetworkNames>,
    /// How many clients are counted one by one, at most [`MAX_FIRST_CLIENTS`].
    pub clients: u32,
    /// Whether series are counted.
    pub is_on: bool,
}

/// How many values the maps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Those of each slot of `SERIES`; 0 if there are no series.
    pub(super) series: u32,
    /// The number of slots, a power of two.
    pub(super) slots: u32,
    pub(super) names: u32,
    pub(super) clients: u32,
}

impl SeriesSettings {
    /// The bytes of the maps.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let layout = self.layout();
        u64::from(layout.series_values()) * size_of::<Stages>() as u64
            + u64::from(layout.client_values()) * size_of::<FirstClient>() as u64
            + u64::from(layout.clients) * INDEX_BYTES
    }

    /// Whether all these ports have labels.
    fn label_all(&self, ports: &PortBits) -> bool {
        let labelled = |port: u16| self.ports.contains(&port);
        let count: u32 = ports.iter().map(|word| word.count_ones()).sum();
        count as usize <= self.ports.len()
            && (0..=u16::MAX).all(|port| !is_watched(ports, port) || labelled(port))
    }

    /// Whether series have the connections of each group, so that no client need be counted.
    pub(super) fn have_groups(&self, by: Grouping, ports: &PortBits) -> bool {
        let is_by_name = matches!(by.what(), GroupBy::Name(_));
        self.is_on && is_by_name && (!by.with_port() || self.label_all(ports))
    }

    /// The names, if they are counted.
    pub(super) fn names(&self) -> Option<&'static NetworkNames> {
        self.names.filter(|_| self.is_on)
    }

    fn name_count(&self) -> usize {
        self.names().map_or(1, |names| names.names().len())
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout_for(counters::slots())
    }

    fn layout_for(&self, processors: u32) -> Layout {
        let names = self.name_count();
        let series = ((self.ports.len() + 1) * names).next_multiple_of(ALIGNED);
        let fit = (MAX_BYTES / (series * size_of::<Stages>())).max(1);
        Layout {
            series: if self.is_on { series as u32 } else { 0 },
            slots: processors.min(1 << fit.ilog2()),
            names: names as u32,
            clients: self.clients,
        }
    }
}

/// The bytes of a first client in `FIRST_INDICES` and `FREE_INDICES`: the entry of a hash map, its bucket, and
/// the index twice.
const INDEX_BYTES: u64 = 48 + 16 + 8 + 16 + 4;

fn is_watched(ports: &PortBits, port: u16) -> bool {
    ports[usize::from(port) / 64] >> (port % 64) & 1 == 1
}

impl Layout {
    fn series_values(self) -> u32 {
        (self.series * self.slots).max(1)
    }

    fn client_values(self) -> u32 {
        if self.clients == 0 {
            return 1;
        }
        2 * counters::slots() + self.clients
    }

    /// Sets the sizes of the maps.
    pub(super) fn size(self, loader: &mut EbpfLoader<'_>) {
        loader
            .map_max_entries(names::SERIES, self.series_values())
            .map_max_entries(names::FIRST_CLIENTS, self.client_values())
            .map_max_entries(names::FIRST_INDICES, self.clients.max(1))
            // One for each processor that takes one in vain.
            .map_max_entries(names::FREE_INDICES, self.clients + counters::slots());
        if self.series > 0 {
            loader.map_max_entries(names::PORT_LABELS, PORT_LABEL_WORDS);
        }
    }
}

/// Fills the maps that the programs read.
///
/// # Errors
/// An error of the kernel.
pub(super) fn fill(ebpf: &mut Ebpf, settings: &SeriesSettings) -> anyhow::Result<()> {
    let layout = settings.layout();
    if layout.series > 0 {
        let mut words = vec![0_u64; PORT_LABEL_WORDS as usize];
        for (label, port) in (1..).zip(&settings.ports) {
            words[usize::from(port / 8)] |= label << (port % 8 * 8);
        }
        let map = ebpf.map_mut(names::PORT_LABELS).context("no such map")?;
        let mut map = Array::<_, u64>::try_from(map)?;
        for (index, word) in (0..).zip(words) {
            if word != 0 {
                map.set(index, word, 0)?;
            }
        }
    }
    if layout.clients > 0 {
        let map = ebpf.map_mut(names::FREE_INDICES).context("no such map")?;
        let mut map = Queue::<_, u32>::try_from(map)?;
        for index in counters::slots()..layout.client_values() {
            map.push(index, 0)?;
        }
    }
    Ok(())
}

/// The maps, mapped into conn-cli's memory.
#[derive(Debug)]
pub(super) struct Live {
    settings: SeriesSettings,
    layout: Layout,
    series: Option<Mapping<Stages>>,
    clients: Option<Mapping<FirstClient>>,
}

impl Live {
    /// Maps those that are used.
    ///
    /// # Errors
    /// An error of the system.
    pub(super) fn new(ebpf: &Ebpf, settings: &SeriesSettings) -> anyhow::Result<Self> {
        let layout = settings.layout();
        let series = (layout.series > 0)
            .then(|| Mapping::new(ebpf, names::SERIES, layout.series_values() as usize));
        let clients = (layout.clients > 0)
            .then(|| Mapping::new(ebpf, names::FIRST_CLIENTS, layout.client_values() as usize));
        Ok(Self {
            settings: settings.clone(),
            layout,
            series: series.transpose()?,
            clients: clients.transpose()?,
        })
    }

    /// The series so far, of each label of a port and each name; none if they are not counted.
    pub(super) fn series(&self) -> Vec<Series> {
        let Some(mapping) = &self.series else {
            return Vec::new();
        };
        let names = self.layout.names as usize;
        let ports = [None]
            .into_iter()
            .chain(self.settings.ports.iter().copied().map(Some));
        let mut series: Vec<Series> = ports
            .flat_map(|port| {
                (0..names).map(move |name| Series {
                    port,
                    name,
                    stages: Stages::default(),
                })
            })
            .collect();
        let values = self.layout.series as usize;
        for (index, stages) in mapping.each(|stages| stages).enumerate() {
            if let Some(series) = series.get_mut(index % values) {
                series.stages = sum_of_stages(series.stages, stages);
            }
        }
        series
    }

    /// Each of the first clients that has connections.
    pub(super) fn first_clients(&self) -> Vec<(IpAddr, Stages)> {
        let Some(mapping) = &self.clients else {
            return Vec::new();
        };
        // A client gets its address before its first connection counts.
        let stages = mapping.each(|client| {
            // SAFETY: a pointer to a value, which is not read here.
            unsafe { &raw const (*client).stages }
        });
        let stages: Vec<Stages> = stages.collect();
        fence(Ordering::Acquire);
        let addresses = mapping.each(|client| {
            // SAFETY: as above.
            unsafe { &raw const (*client).address }
        });
        let of_clients = addresses.zip(stages).skip(counters::slots() as usize);
        of_clients
            .filter(|(address, stages)| *address != [0; 2] && *stages != Stages::default())
            .filter_map(|(address, stages)| match host(address) {
                Host::Address(address) => Some((address, stages)),
                _ => None,
            })
            .collect()
    }

    /// The connections of all other clients.
    pub(super) fn other_clients(&self) -> Stages {
        let Some(mapping) = &self.clients else {
            return Stages::default();
        };
        let stages = mapping.each(|client| {
            // SAFETY: as above.
            unsafe { &raw const (*client).stages }
        });
        let others = stages.take(counters::slots() as usize);
        others.fold(Stages::default(), sum_of_stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{names::NamedNetwork, ports::PortSet};

    fn names(count: usize) -> &'static NetworkNames {
        let named = (1..count).map(|number| format!("n{number}=10.0.{number}.0/24"));
        let named: Vec<NamedNetwork> = named.map(|text| text.parse().unwrap()).collect();
        Box::leak(Box::new(NetworkNames::new(&named).unwrap()))
    }

    fn settings(ports: u16, count: usize, clients: u32) -> SeriesSettings {
        SeriesSettings {
            ports: (1..=ports).collect(),
            names: Some(names(count)),
            clients,
            is_on: true,
        }
    }

    #[test]
    fn series_are_bounded_and_slots_do_not_share_a_cache_line() {
        for (ports, names, processors, expected) in [
            (0, 1, 4, (8, 4)),
            (1, 2, 1, (8, 1)),
            (64, 1, 64, (72, 64)),
            (64, 256, 1, (16_640, 1)),
            (64, 256, 1024, (16_640, 4)),
            (1, 256, 1024, (512, 128)),
        ] {
            let layout = settings(ports, names, 0).layout_for(processors);
            assert_eq!((layout.series, layout.slots), expected, "{ports} {names}");
            assert_eq!(layout.names as usize, names);
            let bytes = layout.series_values() as usize * size_of::<Stages>();
            assert!(bytes <= MAX_BYTES, "{bytes}");
        }
    }

    #[test]
    fn nothing_takes_no_memory() {
        let layout = SeriesSettings::default().layout();
        assert_eq!((layout.series, layout.series_values()), (0, 1));
        assert_eq!((layout.clients, layout.client_values()), (0, 1));
        assert!(SeriesSettings::default().bytes() < 200);
        // 65,536 first clients, and 64 ports.
        let slots = u64::from(counters::slots());
        let most = settings(64, 1, MAX_FIRST_CLIENTS).bytes();
        assert!(most < (10 << 20) + slots * 4096, "{most}");
    }

    #[test]
    fn groups_are_in_series_if_each_port_has_a_label() {
        let names = names(3);
        let by = |text: &str| text.parse::<Grouping>().unwrap();
        let have = |settings: &SeriesSettings, by: Grouping, ports: &str| {
            let by = match by.what() {
                GroupBy::Name(_) => by.named(names),
                _ => by,
            };
            settings.have_groups(by, &ports.parse::<PortSet>().unwrap().bits())
        };
        let on = settings(3, 3, 0);
        assert!(have(&on, by("name"), "1-65535"));
        assert!(have(&on, by("name,port"), "1-3"));
        assert!(have(&on, by("name,port"), "2"));
        assert!(!have(&on, by("name,port"), "3-4"));
        assert!(!have(&on, by("name,port"), "1-65535"));
        assert!(!have(&on, by("address"), "1"));
        let off = SeriesSettings { is_on: false, ..on };
        assert!(!have(&off, by("name"), "1"));
    }
}
