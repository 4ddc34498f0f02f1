//! The runs of conn-cli whose JSON Lines are read.
//!
//! The summary of a run has every connection of the run; its lines need not. But lines may be
//! there without a summary, if a run was killed, and then those of another run follow. Nor need
//! lines and summary be in the same file, if these are rotated.

use crate::{connection::Connection, read::batch::Run, tally::Tally};

/// The run that is being read.
#[derive(Debug, Default)]
pub struct Runs {
    /// The lines since the last summary.
    open: Tally,
}

impl Runs {
    /// A line.
    pub fn line(&mut self, connection: &Connection) {
        self.open.add(&connection.remote, connection.local_port, 1);
    }

    /// How many lines there are of which no summary has come.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.open.connections()
    }

    /// The end of a run: what there is from it, and before it from a run without a summary.
    pub fn summary(&mut self, run: &Run) -> Tally {
        let mut tally = run.tally.clone();
        let surplus = self.lines().saturating_sub(run.lines_shown);
        if surplus == 0 {
            self.open = Tally::default();
            return tally;
        }
        let open = std::mem::take(&mut self.open);
        // A run that showed nothing explains no line.
        let mut earlier = match run.lines_shown {
            0 => open,
            _ => open.beyond(&tally),
        };
        // Of clients of both runs it is not known whose they are if not all lines were shown.
        earlier.add_other(surplus.saturating_sub(earlier.connections()));
        tally.add_all(earlier);
        tally
    }

    /// What there is from a run without a summary, when nothing follows.
    pub fn end(&mut self) -> Tally {
        std::mem::take(&mut self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connection::{Hook, Host, Source, When},
        kernel::Discrepancies,
        read::ReadStats,
    };

    fn connection(client: u8) -> Connection {
        Connection {
            time: When::Unknown,
            remote: Host::at([192, 0, 2, client]),
            remote_port: None,
            local: Host::Unknown,
            local_port: Some(80),
            family: None,
            process: None,
            netns: None,
            wait: None,
            source: Source::Hook(Hook::Fentry),
        }
    }

    fn tally(clients: &[(u8, u64)]) -> Tally {
        let mut tally = Tally::default();
        for &(client, connections) in clients {
            tally.add(&Host::at([192, 0, 2, client]), Some(80), connections);
        }
        tally
    }

    /// What a summary gives after lines of these clients.
    fn summary(lines: &[u8], clients: &[(u8, u64)], lines_shown: u64) -> Tally {
        let mut runs = Runs::default();
        for client in lines {
            runs.line(&connection(*client));
        }
        let tally = runs.summary(&Run {
            tally: tally(clients),
            lines_shown,
            discrepancies: Discrepancies::default(),
            stats: ReadStats::default(),
        });
        assert_eq!(runs.end(), Tally::default());
        tally
    }

    #[test]
    fn the_summary_is_the_run() {
        assert_eq!(summary(&[1, 1], &[(1, 2)], 2), tally(&[(1, 2)]));
        // Not all lines were shown, or none.
        assert_eq!(
            summary(&[1], &[(1, 2), (2, 9)], 1),
            tally(&[(1, 2), (2, 9)])
        );
        assert_eq!(summary(&[], &[(1, 2)], 0), tally(&[(1, 2)]));
    }

    #[test]
    fn a_run_without_a_summary_is_not_lost() {
        assert_eq!(summary(&[1, 1, 2], &[(2, 1)], 1), tally(&[(1, 2), (2, 1)]));
        assert_eq!(summary(&[1, 2, 2], &[(2, 1)], 1), tally(&[(1, 1), (2, 2)]));
        assert_eq!(summary(&[1, 1], &[(1, 7)], 0), tally(&[(1, 9)]));
        let mut expected = tally(&[(1, 9)]);
        // Two were killed, one is shown of nine.
        expected.add_other(2);
        assert_eq!(summary(&[1, 1, 1], &[(1, 9)], 1), expected);
    }

    #[test]
    fn what_has_no_summary_is_its_lines() {
        let mut runs = Runs::default();
        runs.line(&connection(1));
        assert_eq!(runs.lines(), 1);
        assert_eq!(runs.end(), tally(&[(1, 1)]));
    }
}
