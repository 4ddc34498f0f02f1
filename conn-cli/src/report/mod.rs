//! The result of a run.

#[cfg(test)]
mod tests;

mod live;
mod names;
mod new_clients;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use jiff::Timestamp;

use self::names::Names;
pub(crate) use self::{
    live::{Live, MISSED_IN_CGROUP},
    new_clients::NewClients,
    rows::{Row, Rows},
};
use crate::{
    count::{
        known::Known,
        profile::Profiles,
        ranking::{Counts, Sums},
    },
    model::{
        connection::Host,
        discrepancies::Discrepancies,
        group::{GroupKey, Grouping},
        options::{Listing, Top},
        read_stats::ReadStats,
        scope::Scope,
        stage::Stage,
    },
};

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What connections are grouped by.
    pub by: Grouping,
    /// All connections that reached the last stage: the sum of all rows, of `left_off`, of
    /// `unknown_clients` and of `other_clients`.
    pub connections: u64,
    /// How many groups have a connection.
    pub groups: usize,
    /// The rows, most connections first.
    pub rows: Rows,
    /// The sum of the rows that `--top` or the screen leaves off.
    pub left_off: Option<LeftOff>,
    /// Connections whose client is unknown.
    pub unknown_clients: u64,
    /// Connections of clients for which there was no room.
    pub other_clients: u64,
    /// Whether the clients in the file of known ones are left out of all this.
    pub only_new: bool,
    /// If they are in, the others.
    pub new_clients: Option<NewClients>,
    /// What could make the total wrong.
    pub discrepancies: Discrepancies,
    /// Where connections were counted.
    pub origin: Origin,
    /// Which connections were counted.
    pub scope: Scope,
    /// The time in which they were counted or, of records, the first and the last time. None if it is not
    /// known of all of them.
    pub period: Option<(Timestamp, Timestamp)>,
}

/// How many lines there were, apart from the report: it is known only once they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    /// Connections that have a line of their own.
    pub shown: u64,
    /// Connections that have no line of their own though one was requested.
    pub not_shown: u64,
    /// If connections have lines at several stages, the lines at the last one.
    pub connections: Option<u64>,
}

/// Rows that are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOff {
    /// How many.
    pub rows: usize,
    /// Their connections.
    pub connections: u64,
    /// How many reached each earlier watched stage.
    pub earlier: BTreeMap<Stage, u64>,
    /// Their SYNs that were refused, as far as is known.
    pub refused: u64,
    /// Whether the screen has no room for them.
    pub lack_room: bool,
}

/// Where connections were counted, and further results from there.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a run")]
pub enum Origin {
    /// In the kernel.
    Kernel(Live),
    /// In the records of other programs.
    Records(ReadStats),
}

#[cfg(test)]
impl Report {
    /// A summary of only a tally.
    pub(crate) fn sample(tally: &crate::count::tally::Tally, origin: Origin) -> Self {
        let mut counts = Counts::new([Stage::Accepted]);
        counts.add_tally(Stage::Accepted, tally.clone());
        let (listing, discrepancies) = (Listing::default(), Discrepancies::default());
        Self::new(counts, None, listing, discrepancies, origin, None)
    }
}

/// Whether the count of a run can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can, as far as is known.
    Trusted,
    /// It is a lower bound, see [`crate::model::exactness::is_at_least`].
    AtLeast,
    /// It may, but what a filter selects ended before the run was stopped.
    TargetEnded,
    /// It is of what could be read: some of the inputs could not, or not to their end.
    Incomplete,
    /// The run was interrupted a second time, before everything was written.
    Interrupted,
}

impl Report {
    /// A summary of the counts at the last stage and at those before it, which must be grouped by
    /// `listing.by`. `known`: which clients are known, if the report says who is new. The scope and the
    /// period are those of all connections at an unknown time.
    #[must_use]
    pub fn new(
        counts: Counts,
        profiles: Option<Rc<Profiles>>,
        listing: Listing,
        discrepancies: Discrepancies,
        origin: Origin,
        known: Option<&Known>,
    ) -> Self {
        let counted = counts.counted();
        let connections = counts.connections(counted);
        let other_clients = counts.others().get(&counted).copied().unwrap_or(0);
        let mut ranking = match (listing.top, known) {
            // One more, since that of unknown clients has no row.
            (Top::First(top), None) => counts.first_ranked(top.saturating_add(1)),
            _ => counts.ranked(),
        };
        let unknown = ranking.remove(&UNKNOWN);
        let groups = ranking.connected();
        let new_clients = known.map(|known| NewClients::among(&ranking, known));
        let mut report = Self {
            by: listing.by,
            connections,
            groups,
            rows: Rows::new(ranking, Names::read(listing.by.what(), &origin), profiles),
            left_off: None,
            unknown_clients: unknown.map_or(0, |unknown| unknown.connections),
            other_clients,
            only_new: false,
            new_clients,
            discrepancies,
            origin,
            scope: Scope::default(),
            period: None,
        };
        if let Top::First(top) = listing.top {
            report.leave_off(top, false);
        }
        report
    }

    /// Lists only the first rows, since the screen has no room for more. With another number of rows than
    /// all, this is to be called once.
    pub(crate) fn fit(&mut self, rows: usize) {
        self.leave_off(rows, true);
    }

    fn leave_off(&mut self, rows: usize, lack_room: bool) {
        if rows < self.rows.len() {
            let Sums {
                clients,
                connections,
                earlier,
                refused,
            } = self.rows.split_off(rows);
            self.left_off = Some(LeftOff {
                rows: clients,
                connections,
                earlier,
                refused,
                lack_room,
            });
        }
    }

    /// The noun for what has a row, singular and plural.
    pub(crate) fn nouns(&self) -> (&'static str, &'static str) {
        if self.only_new {
            ("new address", "new addresses")
        } else {
            self.by.nouns()
        }
    }

    /// How many lines there could be: one for each connection at each watched stage.
    #[must_use]
    pub fn events(&self) -> u64 {
        match self.live() {
            Some(live) if live.stages.len() > 1 => live.stages.values().sum(),
            _ => self.connections,
        }
    }

    /// The further results of a live run.
    #[must_use]
    pub fn live(&self) -> Option<&Live> {
        match &self.origin {
            Origin::Kernel(live) => Some(live),
            Origin::Records(_) => None,
        }
    }

    /// The stage that is counted; records are of connections.
    pub(crate) fn counted(&self) -> Stage {
        self.live().map_or(Stage::Accepted, |live| live.counted)
    }

    /// Whether the count can be trusted.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.discrepancies.at_least {
            Verdict::AtLeast
        } else {
            Verdict::Trusted
        }
    }

    /// The stages at which connections are missing.
    #[must_use]
    pub fn stages_at_least(&self) -> BTreeSet<Stage> {
        let Some(live) = self.live() else {
            return BTreeSet::new();
        };
        let last = self.discrepancies.at_least.then_some(live.counted);
        let established =
            matches!(live.missed_established, Some(1..)).then_some(Stage::Established);
        last.into_iter().chain(established).collect()
    }

    /// Whether the screen has no room for all rows.
    pub(crate) fn lacks_room(&self) -> bool {
        let left_off = self.left_off.as_ref();
        left_off.is_some_and(|left_off| left_off.lack_room)
    }

    /// The connections that have no row: those that are left off first; what they are, and their [`Self::counts`]. The rows and these
    /// add up to all connections.
    pub(crate) fn without_row(&self) -> Vec<(String, Vec<u64>)> {
        let mut rest = Vec::new();
        if let Some(left_off) = &self.left_off {
            let earlier = Some(&left_off.earlier);
            let counts = self.counts(earlier, left_off.refused, left_off.connections);
            let (one, many) = self.by.nouns();
            let noun = if left_off.rows == 1 { one } else { many };
            rest.push((format!("{} other {noun}", left_off.rows), counts));
        }
        let others = self.live().map(|live| &live.others);
        let refused = self.live().map_or(0, |live| live.other_refused);
        for (label, counts) in [
            ("unknown", self.counts(None, 0, self.unknown_clients)),
            ("other", self.counts(others, refused, self.other_clients)),
        ] {
            if counts.iter().any(|count| *count > 0) {
                rest.push((label.to_owned(), counts));
            }
        }
        rest
    }

    /// The counts at the earlier watched stages, then that at the last one; after SYNs those that were
    /// refused, if that is known.
    pub(crate) fn counts(
        &self,
        earlier: Option<&BTreeMap<Stage, u64>>,
        refused: u64,
        last: u64,
    ) -> Vec<u64> {
        let at = |stage| earlier.and_then(|earlier| earlier.get(&stage)).copied();
        let refused = |stage| (stage == Stage::Syn && self.knows_refused()).then_some(refused);
        let earlier = self
            .earlier_stages()
            .flat_map(|stage| [Some(at(stage).unwrap_or(0)), refused(stage)]);
        earlier.flatten().chain([last]).collect()
    }

    /// What [`Self::counts`] are, without the last one.
    pub(crate) fn earlier_titles(&self) -> Vec<&'static str> {
        let refused = |stage| (stage == Stage::Syn && self.knows_refused()).then_some("refused");
        let titles = self
            .earlier_stages()
            .flat_map(|stage| [Some(stage.name()), refused(stage)]);
        titles.flatten().collect()
    }

    /// Whether it is known which SYNs were refused.
    pub(crate) fn knows_refused(&self) -> bool {
        self.live().is_some_and(|live| live.refused.is_some())
    }

    /// The watched stages before the last one.
    pub fn earlier_stages(&self) -> impl Iterator<Item = Stage> {
        self.live().into_iter().flat_map(|live| {
            let all = live.stages.keys().copied();
            all.filter(|stage| *stage != live.counted)
        })
    }
}

const UNKNOWN: GroupKey = GroupKey::Client(Host::Unknown);
