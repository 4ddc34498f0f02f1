//! The metrics: their names, types, labels and meaning. docs/fleet.md has them as a table.

use std::{borrow::Cow, fmt::Error};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NativeHistogram,
        NativeHistogramBuckets, NoLabelSet,
    },
    metrics::MetricType,
    registry::Unit,
};

use super::wait;
use crate::model::{
    listener_gauges::ListenerGauges,
    metrics::{Reading, Series, Waits},
    names::OTHER,
    stage::Stage,
};

/// The metrics of these figures.
#[derive(Debug)]
pub(super) struct Families(pub(super) Reading);

type Label<'a> = (&'static str, Cow<'a, str>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut families = Encoder(&mut encoder);
        families.run(&self.0)?;
        families.connections(&self.0)?;
        families.clients(&self.0)?;
        if let Some(waits) = &self.0.waits {
            families.waits(waits)?;
        }
        families.listeners(&self.0.listeners)?;
        families.trouble(&self.0)
    }
}

struct Encoder<'e, 'w>(&'e mut DescriptorEncoder<'w>);

impl Encoder<'_, '_> {
    /// About the run itself.
    fn run(&mut self, reading: &Reading) -> Result<(), Error> {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        self.family("build", "The running conn-cli.", MetricType::Info)?
            .encode_info(&version)?;
        let started = seconds(reading.started);
        self.timestamp("start_time", "When the hooks were attached.", started)?;
        let mut hooks = self.family(
            "hook",
            "The hook that sees a stage of connections.",
            MetricType::Info,
        )?;
        for (stage, hook) in &reading.hooks {
            hooks.encode_info(&[("stage", stage.name()), ("hook", hook.name())])?;
        }
        self.gauge(
            "hook_exact",
            "Whether the hook of the last stage sees every connection on this machine.",
            u32::from(reading.is_exact),
        )?;
        self.gauge(
            "lower_bound",
            "Whether connections are known to be missing from the count.",
            u32::from(reading.discrepancies.at_least),
        )?;
        let Some((is_ok, last)) = reading.self_test else {
            return Ok(());
        };
        self.gauge(
            "self_test_ok",
            "Whether the hooks saw conn-cli's last connection to itself.",
            u32::from(is_ok),
        )?;
        self.timestamp(
            "self_test_last_success_timestamp",
            "When the hooks last saw a connection of conn-cli to itself.",
            seconds(last),
        )
    }

    /// What was counted, by port and name.
    fn connections(&mut self, reading: &Reading) -> Result<(), Error> {
        let stages = || reading.hooks.iter().map(|(stage, _)| *stage);
        let ends = |series: &Series| -> [Label<'_>; 2] {
            let port = series
                .port
                .map_or(OTHER.into(), |port| port.to_string().into());
            let name = reading.names.names().get(series.name);
            let name = name.map_or(OTHER, |name| name);
            [("port", port), ("network_name", name.into())]
        };
        let mut connections = self.counter("connections", "Connections that got to a stage.")?;
        for series in &reading.series {
            for stage in stages() {
                let [port, name] = ends(series);
                let labels = [port, name, ("stage", stage.name().into())];
                count(&mut connections, &labels, stage.of(&series.stages))?;
            }
        }
        if !stages().any(|stage| stage == Stage::Syn) {
            return Ok(());
        }
        let mut repeated = self.counter("syn_retransmissions", "SYNs that were sent again.")?;
        for series in &reading.series {
            count(&mut repeated, &ends(series), series.stages.repeated)?;
        }
        if reading.knows_refused {
            let mut refused = self.counter("refused", "SYNs that were answered with a reset.")?;
            for series in &reading.series {
                count(&mut refused, &ends(series), series.stages.refused)?;
            }
        }
        Ok(())
    }

    /// Who connects, as far as that is bounded.
    fn clients(&mut self, reading: &Reading) -> Result<(), Error> {
        if let Some(new) = reading.new_clients {
            self.counter(
                "new_clients",
                "Pairs of client address and port that were new in this run, of --max-clients.",
            )?
            .encode_counter::<NoLabelSet, _, f64>(&new, None)?;
        }
        let Some((first, others)) = &reading.clients else {
            return Ok(());
        };
        let mut clients = self.counter(
            "client_connections",
            "Connections of the first --metrics-clients addresses, and of all others.",
        )?;
        let first = first
            .iter()
            .map(|(address, stages)| (address.to_string().into(), stages));
        for (client, stages) in first.chain([(Cow::from(OTHER), others)]) {
            for (stage, _) in &reading.hooks {
                let labels = [("client", client.clone()), ("stage", stage.name().into())];
                count(&mut clients, &labels, stage.of(stages))?;
            }
        }
        Ok(())
    }

    /// How long they waited.
    fn waits(&mut self, waits: &Waits) -> Result<(), Error> {
        let (spans, deltas) = wait::native(waits);
        let no_buckets = NativeHistogramBuckets {
            spans: &[],
            deltas: &[],
        };
        let native = NativeHistogram {
            schema: wait::SCHEMA,
            zero_threshold: 0.0,
            zero_count: 0,
            negative: no_buckets,
            positive: NativeHistogramBuckets {
                spans: &spans,
                deltas: &deltas,
            },
            created: None,
        };
        let (sum, known) = (waits.sum_ns as f64 / 1e9, waits.steps.iter().sum());
        self.0
            .encode_descriptor(
                "accept_wait",
                "How long connections waited to be accepted.",
                Some(&Unit::Seconds),
                MetricType::Histogram,
            )?
            .encode_histogram_with_native::<NoLabelSet>(
                sum,
                known,
                &wait::classic(waits),
                None,
                native,
            )
    }

    /// Their queues.
    fn listeners(&mut self, gauges: &ListenerGauges) -> Result<(), Error> {
        let named = gauges.listeners.iter().map(|listener| {
            let netns = (!listener.is_own_netns).then(|| listener.netns.to_string());
            let address = listener.address.to_string();
            let labels: [Label<'_>; 2] = [
                ("listener", address.into()),
                ("netns", netns.unwrap_or_default().into()),
            ];
            (labels, &listener.queues)
        });
        let other = [("listener", OTHER.into()), ("netns", "".into())];
        let all: Vec<_> = named.chain([(other, &gauges.other)]).collect();
        let help = "Connections that wait to be accepted.";
        let mut length = self.family("accept_queue_length", help, MetricType::Gauge)?;
        for (labels, queues) in &all {
            length.encode_family(labels)?.encode_gauge(&queues.length)?;
        }
        let help = "Connections that may wait to be accepted; the kernel lets one more wait at each socket.";
        let mut limit = self.family("accept_queue_limit", help, MetricType::Gauge)?;
        for (labels, queues) in &all {
            limit.encode_family(labels)?.encode_gauge(&queues.limit)?;
        }
        let help = "Sockets that listen.";
        let mut sockets = self.family("listening_sockets", help, MetricType::Gauge)?;
        for (labels, queues) in &all {
            sockets
                .encode_family(labels)?
                .encode_gauge(&queues.sockets)?;
        }
        let help = "Packets that a listener dropped, such as SYNs that found its queue full.";
        let mut drops = self.counter("listener_drops", help)?;
        for (labels, queues) in &all {
            count(&mut drops, labels, queues.dropped)?;
        }
        let help = "Packets that all listeners dropped, also those that are gone, up to the last look at each.";
        self.counter("drops", help)?
            .encode_counter::<NoLabelSet, _, f64>(&gauges.dropped, None)?;
        let help = "Network namespaces whose listeners could not be listed.";
        self.gauge("unseen_namespaces", help, gauges.unseen.namespaces)
    }

    /// What may be wrong or incomplete.
    fn trouble(&mut self, reading: &Reading) -> Result<(), Error> {
        let discrepancies = &reading.discrepancies;
        let incomplete = &reading.incomplete;
        if let Some(missed) = discrepancies.missed_runs {
            self.counter(
                "missed_runs",
                "How often the kernel skipped the program that counts: connections may be missing.",
            )?
            .encode_counter::<NoLabelSet, _, f64>(&missed, None)?;
        }
        let help = "Sockets and packets that could not be read, whose connections are in no count.";
        let mut unreadable = self.counter("unreadable", help)?;
        for (what, number) in [
            ("socket", discrepancies.unreadable),
            ("packet", discrepancies.unreadable_packets),
        ] {
            count(&mut unreadable, &[("what", what.into())], number)?;
        }
        let help =
            "Connections without a line or an event, since the buffer was full; they are counted.";
        let mut not_shown = self.counter("not_shown", help)?;
        for (stage, _) in &reading.hooks {
            let labels = [("stage", stage.name().into())];
            count(&mut not_shown, &labels, stage.of(&incomplete.not_shown))?;
        }
        let help = "Connections without a row of their own in the summary; they are counted.";
        let mut without_row = self.counter("without_row", help)?;
        for (why, stages) in [
            ("max_clients", &incomplete.beyond_max_clients),
            ("out_of_memory", &incomplete.out_of_memory),
        ] {
            for (stage, _) in &reading.hooks {
                let labels = [("reason", why.into()), ("stage", stage.name().into())];
                count(&mut without_row, &labels, stage.of(stages))?;
            }
        }
        Ok(())
    }

    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        metric_type: MetricType,
    ) -> Result<MetricEncoder<'s>, Error> {
        self.0.encode_descriptor(name, help, None, metric_type)
    }

    fn counter<'s>(&'s mut self, name: &'s str, help: &str) -> Result<MetricEncoder<'s>, Error> {
        self.family(name, help, MetricType::Counter)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> Result<(), Error> {
        self.family(name, help, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    /// A time in seconds since 1970.
    fn timestamp(&mut self, name: &str, help: &str, time: f64) -> Result<(), Error> {
        let unit = Some(&Unit::Seconds);
        self.0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?
            .encode_gauge(&time)
    }
}

/// Writes one series of a family of counters.
fn count(family: &mut MetricEncoder<'_>, labels: &[Label<'_>], number: u64) -> Result<(), Error> {
    let mut series = family.encode_family(&labels)?;
    series.encode_counter::<NoLabelSet, _, f64>(&number, None)
}

fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}
