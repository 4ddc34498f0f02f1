//! The summary as a table: with `--long`, and with several stages.

#[cfg(test)]
mod tests;

use std::iter::once;

use anstyle::Style;
use jiff::Timestamp;

use super::{
    Clock,
    brief::brief,
    look::Look,
    table::{Align, Table},
};
use crate::{
    count::profile::Profile,
    model::{
        connection::Host,
        group::{GroupBy, GroupKey},
        names::NetworkNames,
    },
    report::{Origin, Report, Row},
};

/// What to do if the screen has no room for all rows.
pub(super) const FOR_ALL: &str = "(--top 0 for all)";

/// The columns of a report.
pub(super) struct Columns<'a> {
    report: &'a Report,
    clock: &'a mut Clock,
    /// With `--long`, what is known of at least one client.
    details: Option<Details>,
    /// The names of networks, if there is a column for them.
    names: Option<&'static NetworkNames>,
}

/// Which details of clients are known.
#[derive(Clone, Copy, Debug)]
struct Details {
    /// Whether there is a time; and the first and the last one of the run.
    times: Option<(Timestamp, Timestamp)>,
    /// Whether there is a wait.
    waits: bool,
}

impl Details {
    fn new(report: &Report) -> Self {
        let seen = report.rows.profiles().filter_map(|profile| profile.seen);
        Self {
            times: seen.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1))),
            waits: (report.rows.profiles()).any(|profile| profile.mean_wait().is_some()),
        }
    }
}

impl<'a> Columns<'a> {
    /// The columns: with [`Look::long`] all that is known of a client.
    pub(super) fn new(report: &'a Report, clock: &'a mut Clock, look: &Look) -> Self {
        let details = look.long.then(|| Details::new(report));
        if let Some((first, last)) = details.and_then(|details| details.times) {
            // A live run ends now.
            let ends = look
                .started
                .map_or((first, last), |started| (started, Timestamp::now()));
            clock.set_span(first.min(ends.0), last.max(ends.1));
        }
        Self {
            report,
            clock,
            details,
            names: look.names.filter(|_| look.long && is_by_address(report)),
        }
    }

    /// The titles, in one style; a line for each client with its key in the other; what has no row, and
    /// the total.
    pub(super) fn lines(
        mut self,
        (title, key): (Style, Style),
    ) -> impl Iterator<Item = String> + use<'a> {
        let columns = self.titles();
        let titles: Vec<_> = columns
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect();
        let rest = self.rest();
        let mut table = Table::new(columns.into_iter().map(|(_, align)| align));
        for row in once(&titles).chain(&rest) {
            table.fit(row);
        }
        for row in self.report.rows.iter() {
            table.fit(&self.cells(&row));
        }
        let titles = table.line(&titles, Style::new());
        let titles = once(format!("{title}{}{title:#}\n", titles.trim_end()));
        let rest: Vec<_> = { rest.iter() }
            .map(|cells| table.line(cells, Style::new()))
            .collect();
        let clients = self.report.rows.iter();
        let clients = clients.map(move |row| table.line(&self.cells(&row), key));
        titles.chain(clients).chain(rest)
    }

    fn titles(&self) -> Vec<(&'static str, Align)> {
        let mut titles = self.report.earlier_titles();
        titles.push(match self.report.live() {
            Some(live) if !titles.is_empty() => live.counted.name(),
            _ => "count",
        });
        if let Some(details) = self.details {
            titles.push("share");
            titles.extend(details.times.map(|_| "peak/s"));
            if details.waits {
                titles.extend(["mean wait", "max wait"]);
            }
        }
        let mut titles: Vec<_> = titles
            .into_iter()
            .map(|title| (title, Align::Right))
            .collect();
        if self.details.is_some_and(|details| details.times.is_some()) {
            titles.extend(["first", "last"].map(|title| (title, Align::Left)));
        }
        titles.extend(self.names.map(|_| ("name", Align::Left)));
        let by = self.report.by;
        titles.extend(by.with_port().then_some(("port", Align::Right)));
        titles.push((by.what().nouns().0, Align::Left));
        titles
    }

    fn cells(&mut self, row: &Row) -> Vec<String> {
        let report = self.report;
        let counts = report.counts(Some(&row.earlier), row.refused, row.connections);
        let mut cells: Vec<_> = counts.iter().map(u64::to_string).collect();
        if let (Some(_), Some(last)) = (row.error, cells.last_mut()) {
            last.insert(0, '~');
        }
        if let Some(details) = self.details {
            let unknown = Profile::default();
            let profile = row.profile.as_ref().unwrap_or(&unknown);
            cells.push(share(row.connections, report.connections));
            let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let seen = profile.seen;
            if details.times.is_some() {
                cells.push(or_unknown(seen.map(|_| profile.peak.to_string())));
            }
            if details.waits {
                let mean = profile.mean_wait();
                let longest = mean.map(|_| profile.longest_wait);
                cells.extend([mean, longest].map(|wait| or_unknown(wait.map(brief))));
            }
            if details.times.is_some() {
                let mut text = |time: Option<Timestamp>| {
                    or_unknown(time.map(|time| self.clock.in_table(time)))
                };
                let (first, last) = seen.unzip();
                cells.extend([text(first), text(last)]);
            }
        }
        if self.names.is_some() {
            let name = client(&row.key).and_then(|host| NetworkNames::of(self.names, host));
            cells.push(name.unwrap_or("-").to_owned());
        }
        if let GroupKey::WithPort(key, port) = &row.key {
            let port = port.map_or_else(|| "-".to_owned(), |port| port.to_string());
            cells.extend([port, key.to_string()]);
        } else {
            cells.push(row.key.to_string());
        }
        cells
    }

    /// The rows for what has no row of its own, and for all of it.
    fn rest(&self) -> Vec<Vec<String>> {
        let report = self.report;
        let refused = report.live().and_then(|live| live.refused).unwrap_or(0);
        let total = report.live().map(|live| &live.stages);
        let total = report.counts(total, refused, report.connections);
        let is_counted = total.iter().any(|count| *count > 0);
        let total = is_counted.then(|| ("total".to_owned(), total, None));
        let mut rest = report.without_row();
        if let (true, Some((label, _))) = (report.lacks_room(), rest.first_mut()) {
            *label += &format!(" {FOR_ALL}");
        }
        let rest = rest.into_iter().map(|(key, counts)| {
            let connections = counts.last().copied().unwrap_or(0);
            (key, counts, Some(share(connections, report.connections)))
        });
        let columns = self.titles().len();
        let cells = |(key, counts, part): (String, Vec<u64>, Option<String>)| {
            let mut cells: Vec<_> = counts.iter().map(u64::to_string).collect();
            if self.details.is_some() {
                cells.extend(part);
            }
            cells.resize(columns - 1, String::new());
            cells.push(key);
            cells
        };
        rest.chain(total).map(cells).collect()
    }
}

fn is_by_address(report: &Report) -> bool {
    report.by.what() == GroupBy::Address
}

/// The client of a row.
fn client(key: &GroupKey) -> Option<&Host> {
    match key {
        GroupKey::Client(host) => Some(host),
        GroupKey::WithPort(key, _) => client(key),
        _ => None,
    }
}

/// A part in percent: neither 0 for a part that is something, nor 100 for one that is not all.
fn share(part: u64, all: u64) -> String {
    let percent = u128::from(part) * 100;
    match (part, u128::from(all)) {
        (_, 0) => "-".to_owned(),
        (1.., all) if percent < all => "< 1 %".to_owned(),
        (_, all) if percent == all * 100 => "100 %".to_owned(),
        (_, all) => format!("{} %", ((percent + all / 2) / all).min(99)),
    }
}

/// Which columns of `--long` the table of a report lacks, and why.
pub(super) fn missing_columns(report: &Report) -> Vec<String> {
    let Details { times, waits } = Details::new(report);
    if report.rows.len() == 0 {
        return Vec::new();
    }
    let mut notes = Vec::new();
    if times.is_none() {
        let why = match &report.origin {
            Origin::Kernel(_) => "no connection was reported one by one",
            Origin::Records(_) => "no record of a connection has a complete time",
        };
        notes.push(format!("note: first, last and peak/s are not known: {why}"));
    }
    if !waits {
        notes.push(match &report.origin {
            Origin::Kernel(live) if !live.hook.info().knows_task => {
                format!("note: waits are not known: {} does not see them", live.hook)
            }
            Origin::Kernel(_) => "note: waits are not known".to_owned(),
            Origin::Records(_) => "note: waits are not known: no record has one".to_owned(),
        });
    }
    notes
}
