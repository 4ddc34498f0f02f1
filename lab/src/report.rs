//! Compares conn-cli's report with the server's count.

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::counts::{Counts, PortCounts};
use crate::tracer::Ended;

/// The output of `--json`.
#[derive(Debug)]
pub struct Report {
    /// The lines of connections, each at the last watched stage.
    pub live: Vec<Value>,
    /// The lines of stages before the last watched one.
    pub earlier: Vec<Value>,
    /// The rows of intervals.
    pub intervals: Vec<Value>,
    /// Those who made too many connections, or no longer did.
    pub overs: Vec<Value>,
    /// The totals so far, each time they were asked for.
    pub totals: Vec<Value>,
    /// The summary, which is the last line.
    pub summary: Value,
}

/// The figures of a summary beside the server's count.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The server's count.
    pub server: u64,
    /// conn-cli's count.
    pub connections: u64,
    /// The lines of connections.
    pub shown: u64,
    /// The connections without a line, as conn-cli counted them.
    pub not_shown: u64,
    /// The connections that only the second of two hooks saw.
    pub second_hook_only: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "server={} conn-cli={} shown={} not_shown={} second_hook_only={}",
            self.server, self.connections, self.shown, self.not_shown, self.second_hook_only
        )
    }
}

/// The error that conn-cli counted fewer connections than the server.
#[derive(Clone, Copy, Debug)]
pub struct MissingConnections {
    figures: Figures,
    /// How often conn-cli says that the kernel skipped the program.
    missed_runs: Option<u64>,
}

impl MissingConnections {
    /// Whether conn-cli itself says that so many, or more, may be missing.
    pub fn are_told(&self) -> bool {
        let missing = self.figures.server - self.figures.connections;
        self.missed_runs.is_some_and(|missed| missed >= missing)
    }
}

impl fmt::Display for MissingConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the server's count: {}", self.figures)
    }
}

impl std::error::Error for MissingConnections {}

impl Figures {
    /// Each connection must have a line or be counted as not shown.
    pub fn check_lines(&self) -> Result<()> {
        ensure!(
            self.shown + self.not_shown == self.connections,
            "shown and not shown are not the total: {self}"
        );
        Ok(())
    }
}

impl Report {
    /// Parses the output of a conn-cli that succeeded, or reported that its count is too low.
    pub fn new(ended: &Ended) -> Result<Self> {
        let report = Self::parse(ended)?;
        ended.check_code()?;
        let at_least = &report.summary["at_least"];
        ensure!(
            *at_least == !ended.status.success(),
            "conn-cli ended with {} and at_least: {at_least}",
            ended.status
        );
        Ok(report)
    }

    fn parse(ended: &Ended) -> Result<Self> {
        let (mut live, mut earlier, mut intervals) = (Vec::new(), Vec::new(), Vec::new());
        let (mut totals, mut overs) = (Vec::new(), Vec::new());
        let mut summary = None;
        for line in &ended.stdout {
            ensure!(summary.is_none(), "a line after the summary: {line}");
            let value: Value =
                serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            match value["type"].as_str() {
                Some("connection") => live.push(value),
                Some("stage") => earlier.push(value),
                Some("interval") => intervals.push(value),
                Some("over") => overs.push(value),
                Some("totals") => totals.push(value),
                Some("summary") => summary = Some(value),
                _ => bail!("unknown type: {line}"),
            }
        }
        let summary = summary.with_context(|| {
            let stderr = ended.stderr.join(" | ");
            format!(
                "conn-cli ended with {} and no summary: {stderr}",
                ended.status
            )
        })?;
        Ok(Self {
            live,
            earlier,
            intervals,
            overs,
            totals,
            summary,
        })
    }

    /// The figures beside the server's, which must be consistent among themselves.
    pub fn figures(&self, server: &Counts) -> Result<Figures> {
        let figures = Figures {
            server: server.values().sum(),
            connections: self.number("connections")?,
            shown: self.live.len() as u64,
            not_shown: self.number("lines_not_shown")?,
            second_hook_only: self.number("second_hook_only")?,
        };
        let by_address: u64 = self.counts()?.values().sum();
        ensure!(
            by_address + self.number("other_clients")? == figures.connections,
            "the sum of the addresses, {by_address}, is not the total: {figures}"
        );
        Ok(figures)
    }

    /// Every figure must equal the server's, and each connection must have a line or be counted as
    /// not shown.
    pub fn check(&self, server: &Counts) -> Result<Figures> {
        let figures = self.check_totals(server)?;
        figures.check_lines()?;
        if figures.not_shown == 0 {
            let shown = self.live_counts()?;
            ensure!(
                shown == *server,
                "the live lines do not match the server's addresses: {figures}; {shown:?}"
            );
        }
        Ok(figures)
    }

    /// The totals must equal the server's, without a discrepancy.
    pub fn check_totals(&self, server: &Counts) -> Result<Figures> {
        let figures = self.figures(server)?;
        if figures.connections < figures.server {
            bail!(MissingConnections {
                figures,
                missed_runs: self.summary["missed_runs"].as_u64(),
            });
        }
        ensure!(
            figures.connections == figures.server,
            "not the server's count: {figures}"
        );
        let counts = self.counts()?;
        ensure!(
            counts == *server,
            "not the server's addresses: {figures}; server {server:?}, conn-cli {counts:?}"
        );
        self.check_discrepancies(0)?;
        Ok(figures)
    }

    /// There must be no discrepancy except `unreadable` sockets that could not be read.
    pub fn check_discrepancies(&self, unreadable: u64) -> Result<()> {
        let missed_runs = &self.summary["missed_runs"];
        // An old kernel does not count missed runs. The tracepoint runs for every state change, in
        // interrupts too: a missed run need not be a connection.
        let may_miss = missed_runs.is_null() || self.summary["probe"] == "tracepoint";
        let none_missed = may_miss || *missed_runs == 0;
        ensure!(
            self.number("unreadable")? == unreadable
                && self.number("unaccounted")? == 0
                && none_missed,
            "the total has discrepancies: {}",
            self.summary
        );
        Ok(())
    }

    /// Every live line must have these values.
    pub fn check_live(&self, expected: &[(&str, Value)]) -> Result<()> {
        for line in &self.live {
            for (key, value) in expected {
                ensure!(line[*key] == *value, "{key} is not {value}: {line}");
            }
        }
        Ok(())
    }

    /// The summary's connections for each address.
    pub fn counts(&self) -> Result<Counts> {
        self.counts_for("connections")
    }

    /// The summary's counts of this name for each address that has any.
    pub fn counts_for(&self, name: &str) -> Result<Counts> {
        let clients = self.summary["clients"].as_array().context("no clients")?;
        let mut counts = Counts::new();
        for client in clients {
            let address = client["address"].as_str().context("no address")?;
            let count = client[name].as_u64();
            let count = count.with_context(|| format!("no {name}: {client}"))?;
            if count > 0 {
                counts.insert(address.parse()?, count);
            }
        }
        Ok(counts)
    }

    /// The summary's connections for each address and port.
    pub fn counts_by_port(&self) -> Result<PortCounts> {
        let clients = self.summary["clients"].as_array().context("no clients")?;
        let mut counts = PortCounts::new();
        for client in clients {
            let address: IpAddr = client["address"].as_str().context("no address")?.parse()?;
            let ports = client["ports"].as_object().context("no ports")?;
            for (port, connections) in ports {
                let connections = connections.as_u64().context("no number")?;
                counts.insert((address, port.parse()?), connections);
            }
        }
        Ok(counts)
    }

    /// The live lines for each address and port.
    pub fn live_by_port(&self) -> Result<PortCounts> {
        let mut counts = PortCounts::new();
        for line in &self.live {
            let address = line["remote_address"].as_str().context("no address")?;
            let port = line["local_port"].as_u64().context("no port")?;
            let key = (address.parse()?, u16::try_from(port)?);
            *counts.entry(key).or_default() += 1;
        }
        Ok(counts)
    }

    /// The live lines for each address.
    pub fn live_counts(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for line in &self.live {
            let address = line["remote_address"].as_str().context("no address")?;
            *counts.entry(address.parse()?).or_default() += 1;
        }
        Ok(counts)
    }

    /// A number of the summary.
    pub fn number(&self, key: &str) -> Result<u64> {
        self.summary[key]
            .as_u64()
            .with_context(|| format!("the summary has no number {key}: {}", self.summary))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;
    use crate::tracer::AT_LEAST;

    fn ended(not_shown: u64, unreadable: u64) -> Ended {
        let connection = r#"{"type":"connection","remote_address":"127.0.0.1"}"#;
        let summary = format!(
            r#"{{"type":"summary","connections":3,"lines_not_shown":{not_shown},"second_hook_only":1,"other_clients":0,"unreadable":{unreadable},"at_least":false,"missed_runs":null,"unaccounted":0,"clients":[{{"address":"127.0.0.1","connections":3}}]}}"#
        );
        Ended {
            status: exit(0),
            stdout: vec![connection.to_owned(), connection.to_owned(), summary],
            stderr: Vec::new(),
        }
    }

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn report(not_shown: u64, unreadable: u64) -> Report {
        Report::new(&ended(not_shown, unreadable)).unwrap()
    }

    #[test]
    fn exit_code_must_match_summary() {
        let report_with = |at_least: &str, code| {
            let mut ended = ended(1, 0);
            let summary = ended.stdout.last_mut().unwrap();
            *summary = summary.replace(r#""at_least":false"#, at_least);
            if code > 0 {
                ended.stderr.push(format!("{AT_LEAST}3"));
            }
            Report::new(&Ended {
                status: exit(code),
                ..ended
            })
        };
        assert!(report_with(r#""at_least":false"#, 0).is_ok());
        assert!(report_with(r#""at_least":true"#, 1).is_ok());
        for (at_least, code) in [
            (r#""at_least":false"#, 1),
            (r#""at_least":true"#, 0),
            (r#""at_least":true"#, 2),
            (r#""other":1"#, 0),
        ] {
            assert!(report_with(at_least, code).is_err(), "{at_least} {code}");
        }
    }

    fn counts(address: &str, connections: u64) -> Counts {
        Counts::from([(address.parse().unwrap(), connections)])
    }

    #[test]
    fn accepts_consistent_figures() {
        assert!(report(1, 0).check(&counts("127.0.0.1", 3)).is_ok());
    }

    #[test]
    fn rejects_missing_line() {
        assert!(report(0, 0).check(&counts("127.0.0.1", 3)).is_err());
    }

    #[test]
    fn rejects_other_total_or_address() {
        assert!(report(1, 0).check(&counts("127.0.0.1", 4)).is_err());
        assert!(report(1, 0).check(&counts("127.0.0.2", 3)).is_err());
    }

    #[test]
    fn rejects_discrepancies() {
        assert!(report(1, 2).check(&counts("127.0.0.1", 3)).is_err());
        assert!(report(1, 2).check_discrepancies(2).is_ok());
    }
}
