//! Counts what the summary of a run of conn-cli says.

use anyhow::bail;

use super::{Merge, add};
use crate::{count::tally::Tally, model::period::Period, read::event::Run};

impl Merge {
    /// Checks that the port of some of a run's connections is known, if only some ports are wanted.
    pub(super) fn check_ports(&self, run: &Tally) -> anyhow::Result<()> {
        let is_known = run.each().any(|((_, port), _)| port.is_some());
        if !self.options.ports.is_all() && run.connections() > 0 && !is_known {
            bail!(
                "{}: --port and --not-port need the port of each connection, which neither a line nor the summary names",
                self.input.name
            );
        }
        Ok(())
    }

    pub(super) fn take_run(&mut self, run: &mut Run) -> anyhow::Result<()> {
        let needs_lines = self.options.lines_only || self.options.needs_lines();
        if needs_lines && run.tally.connections() > self.runs.lines() {
            let option = match self.options.period {
                _ if self.options.lines_only => "--count",
                _ if self.options.filter.local.is_some() => "--to",
                Period { since: Some(_), .. } => "--since",
                _ => "--until",
            };
            bail!(
                "{}: {option} needs a line for each connection, but some of {} are only in the \
                 summary",
                self.input.name,
                run.tally.connections()
            );
        }
        if let Some(option) = run.partial
            && self.options.all_addresses
            && !run.has_all_lines(self.runs.lines())
        {
            bail!(
                "{}: the summary does not name all addresses ({option})",
                self.input.name
            );
        }
        let lines = self.runs.lines();
        // Else the lines count, not the rows.
        if run.partial.is_none() || !run.has_all_lines(lines) {
            self.stats.lower_bounds |= run.stats.lower_bounds;
        }
        let tally = self.runs.finish_run(run);
        if run.lines_shown.is_none() {
            self.check_ports(&tally)?;
        }
        let (connections, unknown_port) = (tally.connections(), self.stats.unknown_port);
        self.add_run(tally);
        if run.lines_shown.is_none() {
            let unknown = self.stats.unknown_port - unknown_port;
            let without_line = connections.saturating_sub(lines).min(unknown);
            add(&mut self.stats.without_line, without_line);
        }
        self.discrepancies.add(&run.discrepancies);
        self.stats.machines.add(run.machine.as_ref());
        add(&mut self.stats.repeated, run.stats.repeated);
        add(
            &mut self.stats.repeated_by_ports,
            run.stats.repeated_by_ports,
        );
        add(&mut self.stats.duplicates, run.stats.duplicates);
        self.stats.forgot_syns |= run.stats.forgot_syns;
        add(&mut self.stats.inner, run.stats.inner);
        add(&mut self.stats.unknown_type, run.stats.unknown_type);
        add(&mut self.stats.unknown_port, run.stats.unknown_port);
        add(&mut self.stats.unknown_client, run.stats.unknown_client);
        add(&mut self.stats.unknown_time, run.stats.unknown_time);
        let (parse_errors, first) = (run.stats.not_understood, &run.stats.first_not_understood);
        if self.options.strict && parse_errors > 0 {
            let first = first.as_deref().unwrap_or("a record");
            bail!(
                "{}: this run of conn-cli did not understand {first}",
                self.input.name
            );
        }
        self.add_parse_errors(parse_errors, first.clone());
        Ok(())
    }

    /// Adds the connections of a run, filtered.
    pub(super) fn add_run(&mut self, tally: Tally) {
        let tally = self.options.wanted(tally, &mut self.stats);
        self.tally.add_all(tally);
    }
}
