//! Counts the runs of conn-cli whose JSON Lines or text is read.
//!
//! The summary of a run counts every connection of the run; not all of them may have a line. A
//! killed run leaves lines without a summary, and the lines of another run may follow. With
//! rotated files, lines and summary can be in different files.

use crate::{
    count::tally::{Room, Tally},
    model::connection::Connection,
    read::event::Run,
};

/// The current run, and earlier ones without a summary.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// The lines since the last summary.
    open: Tally,
}

impl Runs {
    /// No lines yet, with this room for their clients.
    pub(crate) fn within(room: Option<Room>) -> Self {
        Self {
            open: Tally::within(room),
        }
    }

    /// Adds a line.
    pub(crate) fn add_line(&mut self, connection: &Connection) {
        self.open.add(&connection.remote, connection.local_port, 1);
    }

    /// Number of lines since the last summary.
    #[must_use]
    pub(crate) fn lines(&self) -> u64 {
        self.open.connections()
    }

    /// The lines since the last summary.
    pub(crate) fn open(&self) -> &Tally {
        &self.open
    }

    /// Ends a run. Returns its connections and those of earlier runs without a summary.
    pub(crate) fn finish_run(&mut self, run: &mut Run) -> Tally {
        let tells_less = run.partial.is_some() && run.has_all_lines(self.lines());
        let mut tally = std::mem::take(&mut run.tally);
        if run.lines_shown.is_none() && run.partial != Some("--by") {
            return united(tally, self.open.take());
        }
        if tells_less {
            return self.finish();
        }
        let lines_shown = run.lines_shown.unwrap_or(tally.connections());
        let surplus = self.lines().saturating_sub(lines_shown);
        let open = self.open.take();
        if surplus == 0 {
            return tally;
        }
        // If the run has no lines, all lines are from earlier runs.
        let mut earlier = match lines_shown {
            0 => open,
            _ => open.beyond(&tally),
        };
        // Unless all connections have a line, counts in the summary can hide lines of earlier
        // runs, whose clients are then unknown.
        earlier.add_other(surplus.saturating_sub(earlier.connections()));
        tally.add_all(earlier);
        tally
    }

    /// Returns the connections of a last run without a summary.
    pub(crate) fn finish(&mut self) -> Tally {
        self.open.take()
    }
}

/// The connections of a summary and of the lines before it, if it is not known which lines are of its run.
/// Of each client there are as many as the summary counts, or as there are lines, if that is more: then some are
/// of a run without a summary, or of a client that this one has no row for. Rows can have the ports, or lines.
fn united(mut rows: Tally, mut lines: Tally) -> Tally {
    if lines.connections() == 0 {
        return rows;
    }
    let other = rows.take_other();
    let of_rows = rows.without_ports();
    let (mut tally, without_row) = if rows.each().any(|((_, port), _)| port.is_some()) {
        let surplus = lines.without_ports().beyond(&of_rows);
        let without_row = surplus.connections();
        rows.add_all(surplus);
        (rows, without_row)
    } else {
        drop(rows);
        let (of_lines, in_rows) = (lines.without_ports(), of_rows.connections());
        let rest = of_rows.beyond(&of_lines);
        let in_both = in_rows.saturating_sub(rest.connections());
        let without_row = of_lines.connections().saturating_sub(in_both);
        lines.add_all(rest);
        (lines, without_row)
    };
    tally.add_other(other.saturating_sub(without_row));
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        connection::{Host, Source, When},
        discrepancies::Discrepancies,
        hook::Hook,
        read_stats::ReadStats,
    };

    fn connection(client: u8) -> Connection {
        Connection {
            time: When::Unknown,
            remote: Host::at([192, 0, 2, client]),
            remote_port: None,
            local: Host::Unknown,
            local_port: Some(80),
            ..Connection::unknown(Source::Hook(Hook::Fentry))
        }
    }

    fn tally(clients: &[(u8, u64)]) -> Tally {
        let mut tally = Tally::default();
        for &(client, connections) in clients {
            tally.add(&Host::at([192, 0, 2, client]), Some(80), connections);
        }
        tally
    }

    /// The connections of runs with lines of these clients and then a summary.
    fn counted(lines: &[u8], clients: &[(u8, u64)], lines_shown: u64) -> Tally {
        let mut runs = Runs::default();
        for client in lines {
            runs.add_line(&connection(*client));
        }
        let tally = runs.finish_run(&mut Run {
            machine: None,
            period: None,
            tally: tally(clients),
            partial: None,
            lines_shown: Some(lines_shown),
            discrepancies: Discrepancies::default(),
            stats: ReadStats::default(),
        });
        assert_eq!(runs.finish(), Tally::default());
        tally
    }

    #[test]
    fn the_summary_replaces_the_lines_of_a_run() {
        assert_eq!(counted(&[1, 1], &[(1, 2)], 2), tally(&[(1, 2)]));
        // Not all connections have a line, or none has.
        assert_eq!(
            counted(&[1], &[(1, 2), (2, 9)], 1),
            tally(&[(1, 2), (2, 9)])
        );
        assert_eq!(counted(&[], &[(1, 2)], 0), tally(&[(1, 2)]));
    }

    #[test]
    fn lines_of_a_run_without_a_summary_count() {
        assert_eq!(counted(&[1, 1, 2], &[(2, 1)], 1), tally(&[(1, 2), (2, 1)]));
        assert_eq!(counted(&[1, 2, 2], &[(2, 1)], 1), tally(&[(1, 1), (2, 2)]));
        assert_eq!(counted(&[1, 1], &[(1, 7)], 0), tally(&[(1, 9)]));
        let mut expected = tally(&[(1, 9)]);
        // Two lines are from a killed run, one is from the run with nine connections.
        expected.add_other(2);
        assert_eq!(counted(&[1, 1, 1], &[(1, 9)], 1), expected);
    }

    #[test]
    fn a_summary_of_text_and_its_lines_are_united() {
        let of = |pairs: &[(u8, Option<u16>, u64)], other| {
            let mut tally = Tally::default();
            for &(client, port, connections) in pairs {
                tally.add(&Host::at([192, 0, 2, client]), port, connections);
            }
            tally.add_other(other);
            tally
        };
        // Lines tell the port of some connections.
        let lines = || of(&[(1, Some(443), 1), (2, Some(22), 1)], 0);
        assert_eq!(
            united(of(&[(1, None, 5), (2, None, 1)], 0), lines()),
            of(&[(1, Some(443), 1), (1, None, 4), (2, Some(22), 1)], 0)
        );
        assert_eq!(united(Tally::default(), lines()), lines());
        assert_eq!(united(lines(), Tally::default()), lines());
        // Rows do.
        let rows = || of(&[(1, Some(80), 3), (1, Some(443), 2)], 0);
        assert_eq!(united(rows(), of(&[(1, Some(80), 1)], 0)), rows());
        // More lines than the summary counts are of earlier runs, or of clients without a row.
        let more = of(
            &[
                (1, Some(80), 3),
                (1, Some(443), 2),
                (1, None, 1),
                (3, None, 7),
            ],
            0,
        );
        assert_eq!(united(rows(), of(&[(1, None, 6), (3, None, 7)], 0)), more);
        assert_eq!(
            united(of(&[(1, None, 5)], 9), of(&[(1, None, 5), (3, None, 7)], 0)),
            of(&[(1, None, 5), (3, None, 7)], 2)
        );
    }

    #[test]
    fn lines_count_if_no_summary_follows() {
        let mut runs = Runs::default();
        runs.add_line(&connection(1));
        assert_eq!(runs.lines(), 1);
        assert_eq!(runs.finish(), tally(&[(1, 1)]));
    }
}
