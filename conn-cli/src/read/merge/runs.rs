//! Counts the runs of conn-cli whose JSON Lines are read.
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
    pub(crate) fn finish_run(&mut self, run: &Run) -> Tally {
        if run.partial.is_some() && run.has_all_lines(self.lines()) {
            // They tell more than the summary.
            return self.finish();
        }
        let mut tally = run.tally.clone();
        let surplus = self.lines().saturating_sub(run.lines_shown);
        let open = self.open.take();
        if surplus == 0 {
            return tally;
        }
        // If the run has no lines, all lines are from earlier runs.
        let mut earlier = match run.lines_shown {
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
        let tally = runs.finish_run(&Run {
            period: None,
            tally: tally(clients),
            partial: None,
            lines_shown,
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
    fn lines_count_if_no_summary_follows() {
        let mut runs = Runs::default();
        runs.add_line(&connection(1));
        assert_eq!(runs.lines(), 1);
        assert_eq!(runs.finish(), tally(&[(1, 1)]));
    }
}
