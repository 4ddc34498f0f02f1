//! What to count of the records.

use super::add;
use crate::{
    count::tally::Tally,
    model::{
        connection::Host, filter::EndsFilter, format::Format, group::GroupKey, names::NetworkNames,
        period::Period, ports::PortSet, read_stats::ReadStats,
    },
};

/// What to count.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// The server's ports.
    pub ports: PortSet,
    /// The connections to these ports.
    pub filter: EndsFilter,
    /// When the connections were made.
    pub period: Period,
    /// Whether a record that is not understood is an error.
    pub strict: bool,
    /// Whether a repeated SYN counts.
    pub every_packet: bool,
    /// Whether connections without a line of their own are an error.
    pub lines_only: bool,
    /// Whether connections whose client neither a line nor the summary names are an error.
    pub all_addresses: bool,
    /// The names of networks, if connections are counted by them: so few need no bound.
    pub names: Option<&'static NetworkNames>,
}

impl MergeOptions {
    /// Whether they want the connections to any port, between any ends, at any time.
    pub(crate) fn want_all(&self) -> bool {
        self.ports.is_all() && self.filter == EndsFilter::default() && self.period.is_unbounded()
    }

    /// Whether the options need lines: the summary of a run has no local addresses, and no times.
    pub(super) fn needs_lines(&self) -> bool {
        self.filter.local.is_some() || !self.period.is_unbounded()
    }

    /// Whether connections in this format are counted one by one: otherwise the summary of a run does it.
    pub(super) fn counts_each(&self, format: Format) -> bool {
        !format.is_own() || self.needs_lines()
    }

    /// The connections of a run that are wanted; `stats` gets those of which that is not known.
    pub(super) fn wanted(&self, run: Tally, stats: &mut ReadStats) -> Tally {
        if self.needs_lines() {
            return Tally::default();
        }
        let (mut tally, unknown_port) = run.to_ports(&self.ports);
        if self.filter != EndsFilter::default() {
            let unknown = tally.retain(|key| match key {
                GroupKey::Client(Host::Address(address)) => {
                    Some(self.filter.wants_client(&Host::Address(*address)))
                }
                _ => None,
            });
            add(&mut stats.unknown_client, unknown);
        }
        add(&mut stats.unknown_port, unknown_port);
        tally
    }
}
